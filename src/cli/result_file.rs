//! Files that results are written to.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

use super::exit;

/// A file that takes its place when it is written, so that one that was there stays until then.
pub(super) struct ResultFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl ResultFile {
    /// Fails for a place that cannot be written to, before anything is measured.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // As any other file: what is left of it by the umask.
        let mode = std::fs::Permissions::from_mode(0o666);
        let cannot = |why: &str| exit::coded(exit::USAGE, format!("cannot write {}: {why}", path.display()));
        if path.is_dir() {
            return Err(cannot("it is a directory"));
        }
        let file = tempfile::Builder::new().permissions(mode).tempfile_in(directory);
        Ok(Self { path: path.to_owned(), file: file.map_err(|error| cannot(&error.to_string()))? })
    }

    pub(super) fn write(
        self,
        content: impl FnOnce(&mut BufWriter<&NamedTempFile>) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = BufWriter::new(&self.file);
        content(&mut out)
            .and_then(|()| out.flush())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        drop(out);
        self.file.persist(&self.path).with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }
}

/// A file that a result is put at the end of. If there was none, and nothing is written, there is none either.
pub(super) struct HistoryFile {
    path: PathBuf,
    file: File,
    made: bool,
}

impl HistoryFile {
    /// Fails for a place that cannot be written to, before anything is measured.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let made = !path.exists();
        let file = OpenOptions::new().create(true).append(true).open(path);
        let cannot = |error| exit::coded(exit::USAGE, format!("cannot write {}: {error}", path.display()));
        Ok(Self { path: path.to_owned(), file: file.map_err(cannot)?, made })
    }

    /// One line, in one piece: other programs may write to the file at the same time.
    pub(super) fn append(mut self, line: &[u8]) -> anyhow::Result<()> {
        self.made = false;
        self.file.write_all(line).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for HistoryFile {
    fn drop(&mut self) {
        // Somebody else may have found it and written to it.
        if self.made && self.file.metadata().is_ok_and(|file| file.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_grows_by_a_line_and_is_none_without_a_result() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("history");
        drop(HistoryFile::prepare(&path).unwrap());
        assert!(!path.exists());
        for line in ["one\n", "two\n"] {
            HistoryFile::prepare(&path).unwrap().append(line.as_bytes()).unwrap();
        }
        drop(HistoryFile::prepare(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let nowhere = [place.path().to_owned(), path.join("below"), place.path().join("no/such")];
        assert!(nowhere.iter().all(|path| HistoryFile::prepare(path).is_err()));
        assert!(HistoryFile::prepare(Path::new("/dev/full")).unwrap().append(b"line\n").is_err());
    }
}
