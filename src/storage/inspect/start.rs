//! The production recovery, run over bytes in memory. Nothing is removed, and nothing is written.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::inspect::JournalFile;
use crate::base::Buf;
use crate::io::op::{FileId, Op, Outcome};
use crate::storage::format::{Owner, SECTOR};
use crate::storage::journal::Tag;
use crate::storage::recovery::{Recovery, Restored};
use crate::storage::types::Failure;

/// How a recovery ends.
pub(super) enum Ended {
    Restored(Box<Restored>),
    Refused(Failure),
    /// An assertion has failed, as it will when the node starts.
    Aborted,
}

/// Runs it. Slots of the result are files of `files`, by their place.
pub(super) fn run(
    block_bytes: u32,
    owner: Owner,
    files: &[&JournalFile<'_>],
    anchor: Option<&JournalFile<'_>>,
) -> Ended {
    // Behind them, so that places stay as they are.
    let files: Vec<&JournalFile<'_>> = files.iter().copied().chain(anchor).collect();
    // What the machine holds is gone with it, so nobody sees what an unwinding may have left half done.
    catch_unwind(AssertUnwindSafe(|| recover(block_bytes, owner, &files))).unwrap_or(Ended::Aborted)
}

fn recover(block_bytes: u32, owner: Owner, files: &[&JournalFile<'_>]) -> Ended {
    let directory = PathBuf::from("journal");
    // Files of every size count, as whoever looks does not know the limits that the node runs with.
    let mut recovery = Recovery::new(directory, owner, block_bytes, 0);
    let mut queue = VecDeque::new();
    loop {
        while let Some((tag, value, op)) = recovery.poll() {
            queue.push_back((tag, value, op));
        }
        let (tag, value, op): (Tag, u64, Op) = queue.pop_front().expect("a recovery ends with its last operation");
        match recovery.handle(tag, value, execute(op, files)) {
            Ok(None) => {}
            Ok(Some(mut restored)) => {
                // Slots are in the order in which the names were listed; the caller's order is that of names, too.
                assert!(restored.slots.iter().all(|slot| (slot.file.0 as usize) < files.len()));
                let place = |slot: usize| restored.slots[slot].file.0 as usize;
                restored.free = restored.free.iter().map(|slot| place(*slot)).collect();
                for segment in restored.live.values_mut() {
                    segment.slot = restored.slots[segment.slot].file.0 as usize;
                }
                return Ended::Restored(Box::new(restored));
            }
            Err(failure) => return Ended::Refused(failure),
        }
    }
}

fn execute(op: Op, files: &[&JournalFile<'_>]) -> Outcome {
    match op {
        Op::List { .. } => {
            let mut names: Vec<_> = files.iter().map(|file| (file.name.clone(), file.bytes.len() as u64)).collect();
            names.sort();
            Outcome::Listed(names)
        }
        Op::Open { path } => {
            let name = path.file_name().and_then(|name| name.to_str());
            let at = files.iter().position(|file| Some(file.name.as_str()) == name).expect("listed before");
            Outcome::Opened { file: FileId(at as u32), bytes: files[at].bytes.len() as u64 }
        }
        Op::Remove { .. } => Outcome::Done,
        Op::Read { file, offset, buf } => read(files[file.0 as usize], offset, buf),
        op => unreachable!("a recovery has no use for {op:?}"),
    }
}

/// As direct I/O would: whole sectors, or not at all.
fn read(file: &JournalFile<'_>, offset: u64, mut buf: Buf) -> Outcome {
    let end = offset + buf.len() as u64;
    if !offset.is_multiple_of(SECTOR) || !end.is_multiple_of(SECTOR) {
        return Outcome::Read { buf, result: Err(io::ErrorKind::InvalidInput.into()) };
    }
    if file.unreadable.iter().any(|range| range.start < end && offset < range.end) {
        return Outcome::Read { buf, result: Err(io::ErrorKind::InvalidData.into()) };
    }
    let from = usize::try_from(offset).map_or(file.bytes.len(), |from| from.min(file.bytes.len()));
    let part = &file.bytes[from..file.bytes.len().min(from + buf.len())];
    let read = part.len();
    buf[..read].copy_from_slice(part);
    Outcome::Read { buf, result: Ok(read) }
}
