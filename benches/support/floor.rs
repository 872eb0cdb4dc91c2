//! How fast the disk gives the same files to somebody who does nothing else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use naxos::base::Buf;

const PIECE_BYTES: usize = 1 << 20;
/// Reads at once. Threads and blocking calls, so that the floor shares no code with what is compared to it.
const DEPTH: usize = 8;

/// Bytes per second of direct reads of `bytes_max` bytes of the directory's files, one after the other.
pub(crate) fn read_bytes_per_s(directory: &Path, bytes_max: u64) -> io::Result<f64> {
    let mut pieces = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let bytes = fs::metadata(&path)?.len();
        let file = std::sync::Arc::new(OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path)?);
        pieces.extend((0..bytes / PIECE_BYTES as u64).map(|piece| (file.clone(), piece * PIECE_BYTES as u64)));
    }
    pieces.truncate((bytes_max / PIECE_BYTES as u64) as usize);
    let next = AtomicUsize::new(0);
    let read_all = || -> io::Result<()> {
        let mut buf = Buf::zeroed(PIECE_BYTES);
        while let Some((file, offset)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            File::read_exact_at(file, &mut buf, *offset)?;
        }
        Ok(())
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..DEPTH).map(|_| scope.spawn(read_all)).collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("a floor reader does not panic"))
    })?;
    Ok((pieces.len() * PIECE_BYTES) as f64 / start.elapsed().as_secs_f64())
}
