//! A real block device, opened for this process alone.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};

use super::blocks::Blocks;
use super::error::{DeviceError, DeviceReason};
use super::system;
use crate::base::Buf;

/// How long a device that is in use is waited for: the ring of a process that was killed a moment ago still holds it until its last
/// write is done, and whoever restarts a node at once shall not be turned away.
const CLAIM_WAIT: Duration = Duration::from_secs(2);
const CLAIM_TURN: Duration = Duration::from_millis(10);
/// Every disk accepts it; entries and superblocks are written in such blocks at least.
pub(super) const BLOCK_BYTES_MIN: u32 = 4096;

/// A block device that nobody else uses while this value, or a descriptor of it, exists.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
    bytes: u64,
    block_bytes: u32,
    is_volatile: bool,
}

impl Device {
    /// Opens a device exclusively, which the kernel refuses when it, or a part of it, is mounted or claimed in another way, and flushes
    /// it: nothing may be read that a power loss could still take back (P9). Nothing is changed.
    ///
    /// # Errors
    /// It is none, is in use, is read-only, or cannot be opened; or it is in memory and that is not allowed.
    pub fn claim(path: &Path, allow_volatile: bool) -> Result<Arc<Self>, DeviceError> {
        let at = |reason| DeviceError { path: path.to_owned(), reason };
        let device = Self::open(path).map_err(at)?;
        if device.is_volatile && !allow_volatile {
            return Err(at(DeviceReason::Volatile));
        }
        Ok(Arc::new(device))
    }

    fn open(path: &Path) -> Result<Self, DeviceReason> {
        let kind = fs::metadata(path).map_err(DeviceReason::io("cannot open it"))?.file_type();
        if !kind.is_block_device() {
            return Err(DeviceReason::NotABlockDevice);
        }
        let descriptor = open_exclusively(path)?;
        let status = rustix::fs::fstat(&descriptor).map_err(|error| inspecting(error.into()))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::BlockDevice {
            return Err(DeviceReason::NotABlockDevice);
        }
        if system::is_read_only(status.st_rdev) {
            return Err(DeviceReason::ReadOnly);
        }
        let bytes = rustix::fs::seek(&descriptor, SeekFrom::End(0)).map_err(|error| inspecting(error.into()))?;
        let logical = rustix::fs::ioctl_blksszget(&descriptor).map_err(|error| inspecting(error.into()))?;
        let device = Self {
            path: path.to_owned(),
            descriptor: Arc::new(descriptor),
            bytes,
            block_bytes: logical.max(BLOCK_BYTES_MIN),
            is_volatile: system::is_volatile(status.st_rdev),
        };
        device.flush().map_err(DeviceReason::io("cannot flush it"))?;
        Ok(device)
    }

    /// What it was named as.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The smallest unit of direct writes.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Whether a power loss empties it.
    pub fn is_volatile(&self) -> bool {
        self.is_volatile
    }

    /// For drivers: the device stays claimed until the last copy of it is gone.
    pub(in crate::io) fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.descriptor
    }

    /// Says that it cannot be used.
    pub fn error(&self, reason: DeviceReason) -> DeviceError {
        DeviceError { path: self.path.clone(), reason }
    }
}

fn inspecting(error: io::Error) -> DeviceReason {
    DeviceReason::Io { action: "cannot inspect it", error }
}

fn open_exclusively(path: &Path) -> Result<OwnedFd, DeviceReason> {
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC;
    let number = rustix::fs::stat(path).map_err(|error| inspecting(error.into()))?.st_rdev;
    let begun = Instant::now();
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(descriptor) => return Ok(descriptor),
            Err(rustix::io::Errno::BUSY) => match system::mount_point(number) {
                Some(place) => return Err(DeviceReason::Mounted(place)),
                None if begun.elapsed() < CLAIM_WAIT => thread::sleep(CLAIM_TURN),
                None => return Err(DeviceReason::InUse),
            },
            Err(rustix::io::Errno::ROFS) => return Err(DeviceReason::ReadOnly),
            Err(_) if system::is_read_only(number) => return Err(DeviceReason::ReadOnly),
            Err(error) => return Err(DeviceReason::Io { action: "cannot open it", error: error.into() }),
        }
    }
}

impl Blocks for Device {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, buf: &mut Buf) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match rustix::io::pread(&*self.descriptor, &mut buf[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pwrite(&*self.descriptor, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&*self.descriptor)?)
    }
}

impl<B: Blocks> Blocks for Arc<B> {
    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn read(&self, offset: u64, buf: &mut Buf) -> io::Result<()> {
        (**self).read(offset, buf)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write(offset, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        (**self).flush()
    }
}
