use std::io;

use crate::base::Buf;

/// Pieces in which much is read or written: large enough for the full bandwidth of a disk.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// What is needed of a device. Offsets and lengths are whole blocks, and memory is that of a [`Buf`].
pub(super) trait Blocks {
    /// Its size.
    fn bytes(&self) -> u64;

    /// Fills `buf`.
    fn read(&self, offset: u64, buf: &mut Buf) -> io::Result<()>;

    /// Writes; the bytes survive a power loss once a later flush has ended.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Brings all that was written to stable storage.
    fn flush(&self) -> io::Result<()>;
}

/// Reads a range that may be long.
pub(super) fn read_range(blocks: &impl Blocks, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut range = Vec::with_capacity(bytes as usize);
    while (range.len() as u64) < bytes {
        let rest = bytes - range.len() as u64;
        let mut buf = Buf::zeroed(rest.min(PIECE_BYTES as u64) as usize);
        buf.set_len(rest.min(PIECE_BYTES as u64) as usize);
        blocks.read(offset + range.len() as u64, &mut buf)?;
        range.extend_from_slice(&buf);
    }
    Ok(range)
}

/// Writes zeros over a range that may be long.
pub(super) fn write_zeros(blocks: &impl Blocks, offset: u64, bytes: u64) -> io::Result<()> {
    let zeros = Buf::zeroed(PIECE_BYTES);
    let mut written = 0;
    while written < bytes {
        let piece = (bytes - written).min(PIECE_BYTES as u64);
        blocks.write(offset + written, &zeros[..piece as usize])?;
        written += piece;
    }
    Ok(())
}
