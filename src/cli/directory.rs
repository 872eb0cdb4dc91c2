//! Directories that can keep what is put into them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use super::args::Place;
use super::exit;

/// File-system types without a disk, from the kernel's `include/uapi/linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Whether a directory loses its content with the power. Direct I/O cannot tell: it succeeds on tmpfs.
pub(super) fn is_volatile(directory: &Path) -> anyhow::Result<bool> {
    let kind = rustix::fs::statfs(directory).with_context(|| format!("{}", directory.display()))?.f_type;
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&(kind as u64 & 0xffff_ffff)))
}

/// Makes a directory for data, if need be, and refuses one in memory. Says whether it is in memory.
pub(super) fn prepare(directory: &Path, allow_volatile: bool) -> anyhow::Result<bool> {
    fs::create_dir_all(directory)
        .map_err(|error| exit::coded(exit::USAGE, format!("cannot make {}: {error}", directory.display())))?;
    let volatile = is_volatile(directory)?;
    if volatile && !allow_volatile {
        return Err(exit::coded(
            exit::USAGE,
            format!(
                "{} is in memory (tmpfs): nothing there survives a power loss; name a directory on a disk with --dir, or \
                 accept the loss with --allow-volatile",
                directory.display()
            ),
        ));
    }
    Ok(volatile)
}

/// Directories that were made on the way to one, the deepest first. When dropped they go again, but for those that hold something.
struct Made(Vec<PathBuf>);

impl Made {
    /// Those that will have to be made for this one to be there.
    fn towards(directory: &Path) -> Self {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        Self(directory.ancestors().take_while(missing).map(Path::to_owned).collect())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Refused where something is in one, which is as it should be, for those above it too.
        let _ = self.0.iter().try_for_each(fs::remove_dir);
    }
}

/// A temporary directory, removed when dropped unless it shall be kept, and with it those that were made for it.
pub(super) struct Scratch {
    directory: TempDir,
    /// Whether it is in memory.
    pub(super) volatile: bool,
    /// Behind the one that is in them, so that they go after it.
    _made: Made,
}

impl Scratch {
    pub(super) fn create(place: &Place) -> anyhow::Result<Self> {
        let parent = match &place.dir {
            Some(directory) => directory.clone(),
            None => default_parent()?,
        };
        let made = Made::towards(&parent);
        let volatile = prepare(&parent, place.allow_volatile)?;
        let mut directory = tempfile::Builder::new()
            .prefix("naxos-bench-")
            .tempdir_in(&parent)
            .map_err(|error| exit::coded(exit::USAGE, format!("cannot write to {}: {error}", parent.display())))?;
        directory.disable_cleanup(place.keep);
        Ok(Self { directory, volatile, _made: made })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Bytes that an ordinary user may still put on this file system.
    pub(super) fn free_bytes(&self) -> anyhow::Result<u64> {
        let space = rustix::fs::statvfs(self.path())?;
        Ok(space.f_bavail * space.f_frsize)
    }
}

fn default_parent() -> anyhow::Result<PathBuf> {
    let temporary = std::env::temp_dir();
    match is_volatile(&temporary) {
        Ok(false) => Ok(temporary),
        _ => std::env::current_dir().context("the current directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_takes_with_it_what_was_made_for_it() {
        let there = tempfile::tempdir().unwrap();
        let place = |keep| Place { dir: Some(there.path().join("a/b")), keep, allow_volatile: true };
        let scratch = Scratch::create(&place(false)).unwrap();
        assert!(scratch.path().starts_with(there.path().join("a/b")));
        drop(scratch);
        assert!(there.path().exists() && !there.path().join("a").exists());
        fs::create_dir(there.path().join("a")).unwrap();
        drop(Scratch::create(&place(false)).unwrap());
        assert!(!there.path().join("a/b").exists() && there.path().join("a").exists(), "it was there before");
        let kept = Scratch::create(&place(true)).unwrap().path().to_owned();
        assert!(kept.exists());
    }

    #[test]
    fn what_is_refused_leaves_no_directory() {
        // Machines without it, or with a disk there, have nothing to refuse.
        let Ok(there) = tempfile::tempdir_in("/dev/shm") else { return };
        let place = Place { dir: Some(there.path().join("a/b")), keep: true, allow_volatile: false };
        if is_volatile(there.path()).unwrap() {
            assert!(Scratch::create(&place).is_err());
            assert!(!there.path().join("a").exists());
        }
    }
}
