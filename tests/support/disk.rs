//! A file system that is small enough to be filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small ext4 file system in a file, mounted for the test.
pub struct TinyDisk {
    pub mounted: PathBuf,
    _directory: tempfile::TempDir,
}

impl TinyDisk {
    /// Or why there is none here.
    pub fn mount(bytes: u64) -> Result<Self, String> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (image, mounted) = (directory.path().join("image"), directory.path().join("mounted"));
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        fs::create_dir(&mounted).unwrap();
        let run = |program: &str, arguments: &[&str], paths: &[&Path]| match Command::new(program)
            .args(arguments)
            .args(paths)
            .output()
        {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => Err(format!("{program}: {error}")),
        };
        run("mkfs.ext4", &["-q", "-m", "0", "-O", "^has_journal"], &[&image])?;
        run("mount", &["-o", "loop"], &[&image, &mounted])?;
        Ok(Self { mounted, _directory: directory })
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // Whoever had files open there is gone by now, or goes with the test.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}
