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

/// A temporary directory, removed when dropped unless it shall be kept.
pub(super) struct Scratch {
    directory: TempDir,
    /// Whether it is in memory.
    pub(super) volatile: bool,
}

impl Scratch {
    pub(super) fn create(place: &Place) -> anyhow::Result<Self> {
        let parent = match &place.dir {
            Some(directory) => directory.clone(),
            None => default_parent()?,
        };
        let volatile = prepare(&parent, place.allow_volatile)?;
        let mut directory = tempfile::Builder::new()
            .prefix("naxos-bench-")
            .tempdir_in(&parent)
            .map_err(|error| exit::coded(exit::USAGE, format!("cannot write to {}: {error}", parent.display())))?;
        directory.disable_cleanup(place.keep);
        Ok(Self { directory, volatile })
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
