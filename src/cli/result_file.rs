//! Files that results are written to.

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
