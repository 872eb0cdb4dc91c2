//! The two checksums: CRC-32C on records and frames, CRC-64/NVME on units at rest.

use crc_fast::{CrcAlgorithm, checksum};

/// CRC-32C (Castagnoli), computed by the client over each record and kept unchanged to the reader.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // The algorithm is 32 bits wide, so the upper half of the result is zero.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-64/NVME, over units in the journal.
pub fn crc64(bytes: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

#[cfg(test)]
mod tests {
    use super::{crc32c, crc64};

    /// Check values of the CRC catalogue for the input "123456789".
    #[test]
    fn checksums_match_their_published_check_values() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc64(b"123456789"), 0xAE8B_1486_0A79_9888);
    }
}
