//! Files in memory, without the risk that a bad disk block ends the process.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use crate::storage::inspect::JournalFile;

/// Bytes read at once; a piece that fails is read again in blocks.
const PIECE_BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = 4096;

/// A file's content.
pub(super) struct Mapped {
    name: String,
    memory: Memory,
    unreadable: Vec<Range<u64>>,
}

enum Memory {
    Map(Mmap),
    /// A copy with zeros where the disk could not be read, or an empty file.
    Copy(Vec<u8>),
}

impl Mapped {
    /// Maps a file. Touching a mapped page that the disk cannot read ends a process with SIGBUS, so the file is read once
    /// beforehand, with errors that can be handled; one with errors is copied instead. Its length is taken once.
    ///
    /// A file that somebody truncates while it is mapped ends the process as well. No node does that to its files, and the
    /// caller holds the directory's lock unless it was told to look at a running node's.
    pub(super) fn open(path: &Path, name: String, bytes_max: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Self::of(&file, name, 0, bytes, bytes_max)
    }

    /// As [`Mapped::open`], of a part of a device.
    pub(super) fn of(file: &File, name: String, offset: u64, bytes: u64, bytes_max: u64) -> io::Result<Self> {
        if bytes > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{bytes} bytes are more than any segment"),
            ));
        }
        let bytes = usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let unreadable = probe(file, offset, bytes)?;
        let memory = if bytes == 0 || !unreadable.is_empty() {
            Memory::Copy(copy(file, offset, bytes, &unreadable)?)
        } else {
            // SAFETY: the mapping is read-only and private to this value. Its bytes may change only if another process
            // writes to the file, which the directory's lock prevents; under `--live` a node may change them. They are plain
            // bytes, and every number taken from them is checked against its copy's bounds, so that a change can give a wrong
            // report and no more.
            #[expect(unsafe_code, reason = "a mapping's bytes belong to a file")]
            Memory::Map(unsafe { MmapOptions::new().offset(offset).len(bytes).map(file)? })
        };
        Ok(Self { name, memory, unreadable })
    }

    pub(super) fn as_file(&self) -> JournalFile<'_> {
        let bytes: &[u8] = match &self.memory {
            Memory::Map(map) => map,
            Memory::Copy(copy) => copy,
        };
        JournalFile { name: self.name.clone(), bytes: Cow::Borrowed(bytes), unreadable: self.unreadable.clone() }
    }
}

/// Reads all of a file, and says which blocks cannot be read.
fn probe(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<Range<u64>>> {
    let mut scratch = vec![0; PIECE_BYTES.min(bytes)];
    let mut bad: Vec<Range<u64>> = Vec::new();
    for from in (0..bytes).step_by(PIECE_BYTES) {
        let len = PIECE_BYTES.min(bytes - from);
        if is_readable(file, &mut scratch[..len], offset + from as u64)? {
            continue;
        }
        for at in (from..from + len).step_by(BLOCK_BYTES) {
            let len = BLOCK_BYTES.min(bytes - at);
            if !is_readable(file, &mut scratch[..len], offset + at as u64)? {
                let (start, end) = (at as u64, (at + len) as u64);
                match bad.last_mut().filter(|last| last.end == start) {
                    Some(last) => last.end = end,
                    None => bad.push(start..end),
                }
            }
        }
    }
    Ok(bad)
}

/// A file that has become shorter is an error of the whole; a block that cannot be read is not.
fn is_readable(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(error),
        Err(_) => Ok(false),
    }
}

fn copy(file: &File, offset: u64, bytes: usize, unreadable: &[Range<u64>]) -> io::Result<Vec<u8>> {
    let mut copy = vec![0; bytes];
    let mut from = 0;
    for range in unreadable {
        file.read_exact_at(&mut copy[from..range.start as usize], offset + from as u64)?;
        from = range.end as usize;
    }
    file.read_exact_at(&mut copy[from..], offset + from as u64)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_as_it_is_and_an_overlong_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for bytes in [0, 1, 4096, PIECE_BYTES + 5] {
            let content: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            std::fs::write(&path, &content).unwrap();
            let mapped = Mapped::open(&path, "a".to_owned(), 1 << 30).unwrap();
            assert_eq!(*mapped.as_file().bytes, content);
            assert!(mapped.unreadable.is_empty());
        }
        let error = Mapped::open(&path, "a".to_owned(), 100).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn unreadable_parts_are_zeros_in_the_copy() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[7; 10]).unwrap();
        assert_eq!(copy(&file, 0, 10, &[2..4, 9..10]).unwrap(), [7, 7, 0, 0, 7, 7, 7, 7, 7, 0]);
    }
}
