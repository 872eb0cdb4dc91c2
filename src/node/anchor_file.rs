//! The birth of a journal's anchor; from then on the journal writes it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::base::NodeId;
use crate::storage::{ANCHOR_FILE, anchor_is_unused, first_anchor};

/// Makes the anchor of a journal that is being born in `directory`, so that a journal without one has lost it. Durable when
/// this returns, except for the directory's own entry in its parent. An anchor that says nothing yet is made anew.
///
/// # Errors
/// The system refused, or the directory has an anchor that is in use, or anything else ([`io::ErrorKind::DirectoryNotEmpty`]).
pub(super) fn create_anchor(directory: &Path, node: NodeId, journal: u32) -> io::Result<()> {
    let path = anchor_path(directory);
    let temporary = temporary_path(directory);
    for entry in fs::read_dir(directory)? {
        let found = entry?.path();
        let unused = found == temporary || (found == path && anchor_is_unused(&fs::read(&path)?));
        if !unused {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
    }
    add_anchor(directory, node, journal)
}

/// Gives a journal of the time before anchors one that says nothing yet. Durable when this returns.
///
/// # Errors
/// The system refused.
pub(super) fn add_anchor(directory: &Path, node: NodeId, journal: u32) -> io::Result<()> {
    let temporary = temporary_path(directory);
    let mut file = File::create(&temporary)?;
    file.write_all(&first_anchor(node, journal))?;
    file.sync_all()?;
    fs::rename(&temporary, anchor_path(directory))?;
    File::open(directory)?.sync_all()
}

/// Where the anchor of the journal in `directory` is.
pub(super) fn anchor_path(directory: &Path) -> PathBuf {
    directory.join(ANCHOR_FILE)
}

fn temporary_path(directory: &Path) -> PathBuf {
    directory.join(format!("{ANCHOR_FILE}.tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_has_anything_is_not_born_again() {
        let scratch = tempfile::tempdir().unwrap();
        create_anchor(scratch.path(), NodeId(1), 0).unwrap();
        create_anchor(scratch.path(), NodeId(2), 0).unwrap();
        assert_eq!(fs::read(anchor_path(scratch.path())).unwrap(), first_anchor(NodeId(2), 0));
        fs::write(scratch.path().join("0000000100000000.seg"), "").unwrap();
        let refused = create_anchor(scratch.path(), NodeId(3), 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::DirectoryNotEmpty);
    }
}
