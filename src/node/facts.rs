//! What a data directory says about itself, for who reads it without being its node.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::data_dir::{DataDirError, LOCK_FILE, block_bytes, io_error, journal, read_identity};
use crate::base::{ClusterId, DeviceId, NodeId};
use crate::io::device::{Binding, DeviceView};

/// The identity file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeFacts {
    /// The format of the directory.
    pub format: u32,
    /// The cluster that the node belongs to.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// How many journals it was born with (P13).
    pub shards: usize,
    /// The device that they are on; none when they are in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

impl NodeFacts {
    /// Reads them; none when there is no identity file.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn read(directory: &Path) -> Result<Option<Self>, DataDirError> {
        let facts = read_identity(directory)?;
        Ok(facts.map(|id| Self {
            format: id.format,
            cluster: id.cluster,
            node: id.node,
            shards: id.shards,
            device: id.device,
        }))
    }
}

/// Opens the device that a node has its journals on, to look at it.
///
/// # Errors
/// The node has none, or it is another one, or cannot be read.
pub fn device_of(directory: &Path, facts: &NodeFacts, path: &Path) -> Result<DeviceView, DataDirError> {
    let &NodeFacts { cluster, node, shards, device, .. } = facts;
    let device = device.ok_or_else(|| DataDirError::NotOnDevice(directory.to_owned()))?;
    Ok(DeviceView::open(path, &Binding { cluster, node, device, shards: shards as u32 })?)
}

/// Where the journal of one shard is.
pub fn journal_directory(directory: &Path, shard: usize) -> PathBuf {
    journal(directory, shard)
}

/// Keeps every node away from a data directory while somebody reads it; several readers may have it at once. Nothing is
/// written for it: a directory without a lock file, a copy for instance, has no node.
#[derive(Debug)]
pub struct SharedLock {
    /// The lock lasts as long as its descriptor.
    _file: Option<OwnedFd>,
}

impl SharedLock {
    /// Takes the lock, without waiting.
    ///
    /// # Errors
    /// A node runs on the directory, or the lock file cannot be read.
    pub fn take(directory: &Path) -> Result<Self, DataDirError> {
        let path = directory.join(LOCK_FILE);
        let file = match File::open(&path) {
            Ok(file) => OwnedFd::from(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self { _file: None }),
            Err(error) => return Err(io_error("cannot read", &path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(directory.to_owned())),
            Err(error) => Err(io_error("cannot lock", &path)(error.into())),
        }
    }

    /// The block size that a node would use here.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn block_bytes(directory: &Path) -> Result<u32, DataDirError> {
        let open = fs::File::open(directory).map_err(io_error("cannot open", directory))?;
        Ok(block_bytes(&open.into()))
    }
}
