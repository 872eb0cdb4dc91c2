//! Records that can be made, and recognised, from three numbers.

use std::ops::Range;

/// Bytes of the three numbers at the start of a record: seed, client and sequence, 8 bytes each, little-endian. A shorter
/// record cannot say whose it is, so a verified run refuses it.
pub const NUMBERS_BYTES: usize = 24;

/// The three numbers that decide every byte of a record. Two different ones give different records, as long as there is
/// room for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordKey {
    /// Of the run, so that a leftover of another run is recognised.
    pub seed: u64,
    /// Who appends.
    pub client: u64,
    /// The client's own count, from 0.
    pub sequence: u64,
}

impl RecordKey {
    /// Makes the record of `len` bytes in `out`, replacing what is there. Below [`NUMBERS_BYTES`] the record is filler only:
    /// deterministic, and not parseable.
    pub fn write(self, len: usize, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(len);
        if len >= NUMBERS_BYTES {
            out.extend_from_slice(&self.seed.to_le_bytes());
            out.extend_from_slice(&self.client.to_le_bytes());
            out.extend_from_slice(&self.sequence.to_le_bytes());
        }
        let mut filler = Filler::new(self);
        while out.len() + 8 <= len {
            out.extend_from_slice(&filler.next().to_le_bytes());
        }
        let rest = len - out.len();
        out.extend_from_slice(&filler.next().to_le_bytes()[..rest]);
    }

    /// The numbers that a record begins with; `None` when it is too short to have them.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let number =
            |range: Range<usize>| record.get(range).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8")));
        Some(Self { seed: number(0..8)?, client: number(8..16)?, sequence: number(16..24)? })
    }

    /// Whether `record` is, byte for byte, the one of `len` bytes made from these numbers. `scratch` saves an allocation.
    pub fn matches(self, record: &[u8], len: usize, scratch: &mut Vec<u8>) -> bool {
        self.write(len, scratch);
        record == &scratch[..]
    }
}

/// SplitMix64: two multiplications for 8 bytes, so that making records is not what a benchmark measures.
struct Filler(u64);

impl Filler {
    fn new(key: RecordKey) -> Self {
        Self(mix(key.seed ^ mix(key.client ^ mix(key.sequence))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: RecordKey, len: usize) -> Vec<u8> {
        let mut out = vec![7; 3];
        key.write(len, &mut out);
        out
    }

    #[test]
    fn a_record_tells_its_numbers_at_every_length_that_has_room() {
        let key = RecordKey { seed: 1, client: 2, sequence: 3 };
        for len in 0..200 {
            let made = record(key, len);
            assert_eq!(made.len(), len);
            assert_eq!(RecordKey::parse(&made), (len >= NUMBERS_BYTES).then_some(key));
            assert!(key.matches(&made, len, &mut Vec::new()));
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let key = RecordKey { seed: 1, client: 2, sequence: 3 };
        let made = record(key, 61);
        for at in 0..made.len() {
            let mut damaged = made.clone();
            damaged[at] ^= 1;
            assert!(!key.matches(&damaged, 61, &mut Vec::new()));
        }
        assert!(!key.matches(&made[..60], 61, &mut Vec::new()), "a cut record");
    }

    #[test]
    fn neighbours_differ_in_their_filler() {
        let base = RecordKey { seed: 1, client: 2, sequence: 3 };
        for other in [RecordKey { seed: 2, ..base }, RecordKey { client: 3, ..base }, RecordKey { sequence: 4, ..base }]
        {
            assert_ne!(record(base, 64)[NUMBERS_BYTES..], record(other, 64)[NUMBERS_BYTES..]);
        }
    }
}
