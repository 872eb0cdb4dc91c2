//! A block device made of a file, where that is permitted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device. The kernel ends it when nobody has it open any more, also when the test is killed.
pub struct LoopDevice {
    pub path: PathBuf,
    /// Keeps it for as long as the test wants it.
    _open: File,
    backing: tempfile::NamedTempFile,
}

impl LoopDevice {
    /// One of `bytes` zeros over a file in `directory`, or why there is none here.
    pub fn new(directory: &Path, bytes: u64) -> Result<Self, String> {
        Self::with(directory, bytes, &[])
    }

    /// With further options of `losetup`.
    pub fn with(directory: &Path, bytes: u64, options: &[&str]) -> Result<Self, String> {
        let file = tempfile::NamedTempFile::new_in(directory).map_err(|error| error.to_string())?;
        file.as_file().set_len(bytes).map_err(|error| error.to_string())?;
        let attached = losetup(&[&["--find", "--show"], options, &[file.path().to_str().unwrap()]].concat())?;
        let path = PathBuf::from(attached.trim());
        let open = File::open(&path).map_err(|error| format!("{}: {error}", path.display()));
        // While it is open this only notes that its last user shall end it.
        losetup(&["--detach", path.to_str().unwrap()])?;
        Ok(Self { path, _open: open?, backing: file })
    }

    /// The bytes behind it, for reading them, or changing them while nobody uses the device.
    pub fn file(&self) -> &Path {
        self.backing.path()
    }
}

fn losetup(arguments: &[&str]) -> Result<String, String> {
    match Command::new("losetup").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("losetup: {error}")),
    }
}
