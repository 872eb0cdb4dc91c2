//! Files whose blocks are written, so that overwriting them changes no metadata: what a prepared journal segment is.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;

use crate::base::Buf;

/// Bytes of one write while the zeros are laid down.
const FILL_BYTES: usize = 1 << 20;

/// A file of written zeros, open for direct I/O.
pub(super) struct Prewritten {
    file: File,
    bytes: u64,
    at: u64,
}

impl Prewritten {
    /// Makes the file and flushes it. `bytes` is rounded up to whole mebibytes.
    pub(super) fn create(path: &Path, bytes: u64) -> io::Result<Self> {
        let bytes = bytes.next_multiple_of(FILL_BYTES as u64);
        let file =
            OpenOptions::new().write(true).create_new(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        let zeros = Buf::zeroed(FILL_BYTES);
        for at in (0..bytes).step_by(FILL_BYTES) {
            write(&file, &zeros, at, ReadWriteFlags::empty())?;
        }
        file.sync_all()?;
        Ok(Self { file, bytes, at: 0 })
    }

    /// Overwrites the next `buf.len()` bytes durably, going round at the end of the file.
    pub(super) fn overwrite_next(&mut self, buf: &Buf) -> io::Result<()> {
        if self.at + buf.len() as u64 > self.bytes {
            self.at = 0;
        }
        write(&self.file, buf, self.at, ReadWriteFlags::DSYNC)?;
        self.at += buf.len() as u64;
        Ok(())
    }
}

fn write(file: &File, buf: &Buf, at: u64, flags: ReadWriteFlags) -> io::Result<()> {
    let written = rustix::io::pwritev2(file, &[IoSlice::new(buf)], at, flags)?;
    if written == buf.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}
