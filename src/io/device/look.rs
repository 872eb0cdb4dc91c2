//! The files on a device, for people, while no node runs on it. Nothing is changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use super::blocks::Blocks;
use super::error::{DeviceError, DeviceReason};
use super::formatting::{Binding, judge};
use super::slots::Slots;
use super::superblock::Superblock;
use crate::base::Buf;

/// A device that somebody looks at.
#[derive(Debug)]
pub struct DeviceView {
    file: File,
    bytes: u64,
    superblock: Option<Superblock>,
    damaged: Vec<String>,
}

/// One file on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOnDevice {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

impl DeviceView {
    /// Opens the device of a node. The caller keeps the node away, if anybody does.
    ///
    /// # Errors
    /// It is none, is another one, or cannot be read.
    pub fn open(path: &Path, binding: &Binding) -> Result<Self, DeviceError> {
        Self::try_open(path, binding).map_err(|reason| DeviceError { path: path.to_owned(), reason })
    }

    fn try_open(path: &Path, binding: &Binding) -> Result<Self, DeviceReason> {
        let file = File::open(path).map_err(DeviceReason::io("cannot open it"))?;
        let inspecting = || DeviceReason::io("cannot inspect it");
        if !file.metadata().map_err(inspecting())?.file_type().is_block_device() {
            return Err(DeviceReason::NotABlockDevice);
        }
        let bytes =
            rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).map_err(|error| inspecting()(error.into()))?;
        let logical = rustix::fs::ioctl_blksszget(&file).map_err(|error| inspecting()(error.into()))?;
        let mut view = Self { file, bytes, superblock: None, damaged: Vec::new() };
        let (superblock, damaged) = judge(&&view, logical.max(super::claim::BLOCK_BYTES_MIN), binding)?;
        view.superblock = Some(superblock);
        view.damaged.extend(damaged.iter().map(|at| format!("the copy of the superblock at byte {at}")));
        Ok(view)
    }

    /// The files of one journal, by name. Adds to [`DeviceView::damaged`].
    pub fn files(&mut self, shard: u32) -> Vec<FileOnDevice> {
        let superblock = self.superblock.expect("read when it was opened");
        let (slots, damaged) = Slots::read(&*self, superblock, shard);
        let file = |(name, bytes): (String, u64)| {
            let part = slots.open(&name).expect("it is listed");
            FileOnDevice { name, offset: part.offset, bytes }
        };
        let mut files: Vec<_> = slots.list().map(file).collect();
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let first = u64::from(shard) * u64::from(superblock.slots_per_shard);
        let damaged = damaged.iter().map(|damaged| format!("the entry of slot {}", first + damaged.index as u64));
        let damaged: Vec<_> = damaged.collect();
        self.damaged.extend(damaged);
        files
    }

    /// What the next start will write anew.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// Its bytes.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The unit of direct writes to it.
    pub fn block_bytes(&self) -> u32 {
        self.superblock.expect("read when it was opened").block_bytes
    }
}

impl Blocks for &DeviceView {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, buf: &mut Buf) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
