//! Whether the file system has space for what is to be prepared.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::data_dir::DataDirError;

/// Fails when `wanted` bytes of segments cannot be prepared in the data directory `path`, whose journals are `journals`. Segments that
/// are there already may be prepared ones, so they count as space.
///
/// # Errors
/// There is not enough, or the file system does not tell.
pub(super) fn check_prepared(path: &Path, journals: &[PathBuf], wanted: u64) -> Result<(), DataDirError> {
    let failed =
        |error: io::Error| DataDirError::Io { action: "find out the free space of", path: path.to_owned(), error };
    let system = rustix::fs::statvfs(path).map_err(|error| failed(error.into()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let mut present = 0;
    for journal in journals {
        match segment_bytes(journal) {
            Ok(bytes) => present += bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if wanted > free.saturating_add(present) {
        return Err(DataDirError::NoSpace { path: path.to_owned(), wanted, free, present });
    }
    Ok(())
}

fn segment_bytes(journal: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(journal)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "seg") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_free_counts_and_more_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let journals = [directory.path().join("journal-0")];
        check_prepared(directory.path(), &journals, 1).unwrap();
        fs::create_dir(&journals[0]).unwrap();
        // Sparse, and larger than any disk's free space.
        fs::File::create(journals[0].join("0.seg")).unwrap().set_len(1 << 43).unwrap();
        check_prepared(directory.path(), &journals, 1 << 43).unwrap();
        let error = check_prepared(directory.path(), &journals, 1 << 62).unwrap_err();
        assert!(
            matches!(error, DataDirError::NoSpace { present, wanted, .. } if present == 1 << 43 && wanted == 1 << 62)
        );
        assert!(error.to_string().contains("prepare"), "{error}");
    }
}
