//! What the disk gives a reader who wants nothing but the bytes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use rustix::fs::OFlags;

use crate::base::Buf;

/// Of one read.
const READ_BYTES: usize = 512 << 10;
/// Reads at once, so that the disk's queue is never empty.
const READERS: usize = 4;
/// Enough for a steady rate.
const TOTAL_BYTES: u64 = 1 << 30;

/// Bytes a second of sequential direct reads from the largest files under `directory`, about a gibibyte of them.
///
/// # Errors
/// The files cannot be read directly, or there are none.
pub fn measure(directory: &Path) -> io::Result<f64> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort_by_key(|(path, bytes)| (std::cmp::Reverse(*bytes), path.clone()));
    let mut budget = TOTAL_BYTES;
    files.retain(|(_, bytes)| {
        let take = budget > 0 && *bytes >= READ_BYTES as u64;
        budget = budget.saturating_sub(if take { *bytes } else { 0 });
        take
    });
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there are no files to read"));
    }
    let start = Instant::now();
    let read = thread::scope(|scope| {
        let part = |reader: usize| files.iter().skip(reader).step_by(READERS);
        let readers: Vec<_> = (0..READERS)
            .map(|reader| scope.spawn(move || part(reader).map(|(path, _)| read_whole(path)).sum::<io::Result<u64>>()))
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).sum::<io::Result<u64>>()
    })?;
    Ok(read as f64 / start.elapsed().as_secs_f64())
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push((entry.path(), metadata.len()));
        }
    }
    Ok(())
}

fn read_whole(path: &Path) -> io::Result<u64> {
    let file: File = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
    let mut buf = Buf::zeroed(READ_BYTES);
    let mut at = 0;
    loop {
        match rustix::io::pread(&file, &mut buf[..], at)? {
            0 => return Ok(at),
            bytes => at += bytes as u64,
        }
    }
}
