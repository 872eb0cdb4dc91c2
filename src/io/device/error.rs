use std::io;
use std::path::PathBuf;

use crate::base::{ClusterId, DeviceId, NodeId};

/// A device cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("device {path}: {reason}")]
pub struct DeviceError {
    /// What was named.
    pub path: PathBuf,
    /// Why it cannot.
    pub reason: DeviceReason,
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceReason {
    /// The operating system refused.
    #[error("{action}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What came of it.
        error: io::Error,
    },
    /// It is a file, a directory or something else.
    #[error("it is no block device; name a disk or a partition, or leave --device out to keep the journals in files")]
    NotABlockDevice,
    /// It is mounted.
    #[error("it is mounted on {0}; unmount it first")]
    Mounted(String),
    /// Somebody has claimed it.
    #[error(
        "it is in use: by another process, as swap, as part of a RAID, LVM or device-mapper volume, or a part of it is mounted; \
         end that first"
    )]
    InUse,
    /// Nothing can be written to it.
    #[error("it is read-only")]
    ReadOnly,
    /// A power loss would empty it.
    #[error(
        "it is in memory, where nothing survives a power loss; choose a real disk, or pass --allow-volatile to give up durability"
    )]
    Volatile,
    /// It has no room for the fewest segments that a node needs.
    #[error(
        "it has {bytes} bytes, and {shards} shards with {slots_min} segments of {segment_bytes} bytes each need {needed}; choose a \
         larger one, fewer shards, or a smaller segment_bytes"
    )]
    TooSmall {
        /// Its size.
        bytes: u64,
        /// What is needed.
        needed: u64,
        /// Shards to be served.
        shards: u32,
        /// Segments for each.
        slots_min: u32,
        /// Size of one.
        segment_bytes: u64,
    },
    /// A journal could not name all of its segments.
    #[error(
        "it would have {slots} segments for each shard, more than a journal can keep account of; raise segment_bytes"
    )]
    TooManySlots {
        /// How many it would have.
        slots: u64,
    },
    /// There is something on it.
    #[error("it carries {0}; nothing has been changed. Pass --destroy to lose all that is on it")]
    Carries(String),
    /// A node's journals are on it.
    #[error(
        "it carries the journals of node {node} of cluster {cluster}; nothing has been changed. Pass --destroy to lose them, which \
         ends that node"
    )]
    CarriesNode {
        /// Whose it is.
        node: NodeId,
        /// And of which cluster.
        cluster: ClusterId,
    },
    /// It is not the device that the data directory belongs to.
    #[error("the data directory's journals are on device {wanted}, and this is {found}; name the right one")]
    NotThisOne {
        /// The device that the directory was made with.
        wanted: DeviceId,
        /// What was found instead.
        found: String,
    },
    /// Of a format that this program does not know.
    #[error("it has format version {0}, which this program does not know")]
    Version(u16),
    /// Both superblocks are destroyed.
    #[error("neither copy of its superblock can be read, and the data directory's journals should be on it")]
    SuperblockLost,
    /// It has become smaller.
    #[error("it has {bytes} bytes and was formatted with {formatted}; bring back what is missing")]
    Shrunk {
        /// Its size now.
        bytes: u64,
        /// Its size when it was formatted.
        formatted: u64,
    },
    /// Its blocks have become larger than those that it was formatted with.
    #[error(
        "its blocks have {block_bytes} bytes and it was formatted for {formatted}; it has to be attached as it was"
    )]
    LargerBlocks {
        /// Bytes of a block now.
        block_bytes: u32,
        /// And then.
        formatted: u32,
    },
    /// Segments are to be larger than the slots.
    #[error(
        "it was formatted for segments of {slot_bytes} bytes; segment_bytes may not be larger than that, and is {segment_bytes}"
    )]
    SegmentsTooLarge {
        /// What fits.
        slot_bytes: u64,
        /// What was asked for.
        segment_bytes: u64,
    },
    /// More is to be prepared than there is.
    #[error(
        "{wanted} bytes of segments are to be prepared (--prepare-bytes), and it has room for {room}; ask for less"
    )]
    NoSpace {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes of all segments.
        room: u64,
    },
}

impl DeviceReason {
    /// Whether what was named, or asked for, is at fault, and not the operating system or the disk.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Io { error, .. } => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            }
            _ => true,
        }
    }

    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, error }
    }
}
