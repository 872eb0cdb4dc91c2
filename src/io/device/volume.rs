//! The slots of one journal in the place of the files of its directory.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claim::Device;
use super::part::Part;
use super::slots::Slots;

/// The files of one directory, on a device.
pub struct Volume {
    slots: Slots<Arc<Device>>,
    directory: PathBuf,
    /// Names that stay in the directory itself, also with `.tmp` behind them.
    beside: &'static [&'static str],
}

impl Volume {
    pub(super) fn new(slots: Slots<Arc<Device>>, directory: PathBuf, beside: &'static [&'static str]) -> Self {
        Self { slots, directory, beside }
    }

    /// The device.
    pub(in crate::io) fn descriptor(&self) -> &Arc<OwnedFd> {
        self.slots.blocks.descriptor()
    }

    /// Whether the files of this directory are on the device, all but [`Volume::is_beside`].
    pub(in crate::io) fn is_of(&self, directory: &Path) -> bool {
        self.directory == directory
    }

    /// Whether a file of this name stays in the directory.
    pub(in crate::io) fn is_beside(&self, name: &str) -> bool {
        self.beside.contains(&name.strip_suffix(".tmp").unwrap_or(name))
    }

    /// The name of a file, if it is on the device.
    pub(in crate::io) fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let name = path.file_name()?.to_str()?;
        (path.parent()? == self.directory && !self.is_beside(name)).then_some(name)
    }

    pub(in crate::io) fn list(&self) -> impl Iterator<Item = (String, u64)> {
        self.slots.list()
    }

    pub(in crate::io) fn open(&self, name: &str) -> io::Result<Part> {
        self.slots.open(name)
    }

    pub(in crate::io) fn prepare(&mut self, name: &str, bytes: u64) -> io::Result<Part> {
        // What an interrupted preparation leaves of a file has this name.
        match self.slots.remove(&format!("{name}.tmp")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.slots.prepare(name, bytes)
    }

    pub(in crate::io) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.slots.remove(name)
    }
}
