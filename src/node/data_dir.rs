use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, StatxFlags, flock, fstatfs, statx};
use serde::{Deserialize, Serialize};

use super::anchor_file::{add_anchor, anchor_path, create_anchor};
use super::device::{DeviceOptions, NodeDevice};
use crate::base::{ClusterId, DeviceId, Limits, NodeId};
use crate::io::device::{Binding, DeviceError, Volume};

/// `f_type` of tmpfs and ramfs (linux/magic.h): file systems that a power loss empties.
const VOLATILE_FILE_SYSTEMS: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// The format of the identity file.
const FORMAT: u32 = 2;
/// The format of directories whose journals have no anchors yet; they get them when they are opened.
const FORMAT_WITHOUT_ANCHORS: u32 = 1;
const IDENTITY_FILE: &str = "node.json";
pub(super) const LOCK_FILE: &str = "LOCK";
/// How long a lock is waited for: the ring of a process that was killed a moment ago still holds it until its last write is
/// done, and whoever restarts a node at once shall not be turned away.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_TURN: Duration = Duration::from_millis(10);
/// Used where the file system does not tell its direct-I/O alignment; every disk in use accepts it.
const BLOCK_BYTES_DEFAULT: u32 = 4096;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What came of it.
        #[source]
        error: io::Error,
    },
    /// Another process has it.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// A power loss would empty it.
    #[error(
        "{0} is on a file system in memory (tmpfs), where nothing survives a power loss; choose a directory on a disk, or \
         pass --allow-volatile to give up durability"
    )]
    Volatile(PathBuf),
    /// It belongs to another cluster.
    #[error("{path} belongs to cluster {found}, not to {wanted}")]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Its cluster.
        found: ClusterId,
        /// The cluster asked for.
        wanted: ClusterId,
    },
    /// The identity file cannot be understood.
    #[error("{path} is damaged or of another version: {detail}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A journal of the directory is gone (P13): started without it, the node would have forgotten what it had promised.
    #[error("{0} is missing; bring it back, or start the node anew in an empty directory")]
    JournalMissing(PathBuf),
    /// There is less space than was asked to be prepared.
    #[error(
        "{wanted} bytes of segments are to be prepared (--prepare-bytes) in {path}, whose file system has {free} bytes free beside the \
         {present} bytes of segments there; ask for less, or make room"
    )]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes asked for, in whole segments.
        wanted: u64,
        /// Bytes that the file system has left.
        free: u64,
        /// Bytes of the segments that are there.
        present: u64,
    },
    /// A journal's directory has lost all that was in it (P10, P13).
    #[error("{0} has been emptied; bring its files back, or start the node anew in an empty directory")]
    JournalEmptied(PathBuf),
    /// There are journals, and no identity file that says whose.
    #[error("{0} has journals but no node.json; bring it back, or start the node anew in an empty directory")]
    IdentityMissing(PathBuf),
    /// The device for the journals cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Its journals are on a device that was not named.
    #[error("{path} has its journals on device {device}; name it with --device")]
    DeviceMissing {
        /// The directory.
        path: PathBuf,
        /// The name that was drawn for the device.
        device: DeviceId,
    },
    /// A device was named, and its journals are in files.
    #[error("{0} was created with its journals in files; leave --device out, or make a new node in an empty directory")]
    NotOnDevice(PathBuf),
    /// The number of shards was fixed at birth (P13).
    #[error("{path} was created with {found} shards and cannot be used with {wanted}")]
    OtherShards {
        /// The directory.
        path: PathBuf,
        /// Its number.
        found: usize,
        /// The number asked for.
        wanted: usize,
    },
}

/// What an acknowledgement of this node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage on a majority.
    QuorumDsync,
    /// In the memory of a majority: asked for with `--allow-volatile`.
    Volatile,
}

impl Durability {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuorumDsync => "quorum-dsync",
            Self::Volatile => "volatile",
        }
    }
}

/// The identity file: who this directory is, for its whole life.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) format: u32,
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) shards: usize,
    /// The device that its journals are on, for ever; none when they are in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<DeviceId>,
}

/// A data directory, locked for this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: OwnedFd,
    identity: Identity,
    durability: Durability,
    block_bytes: u32,
    device: Option<NodeDevice>,
}

pub(super) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |error| DataDirError::Io { action, path: path.to_owned(), error }
}

impl DataDir {
    /// Opens the directory, or makes it: a new one gets a new node identity, and `shards` journals for ever.
    ///
    /// # Errors
    /// It cannot be used; nothing in it has been changed then.
    pub fn open(
        path: &Path,
        cluster: ClusterId,
        shards: Option<usize>,
        allow_volatile: bool,
    ) -> Result<Self, DataDirError> {
        Self::open_with(path, cluster, shards, allow_volatile, None)
    }

    /// As [`DataDir::open`], with the journals on a device. A new directory has it formatted with segments as the limits say.
    ///
    /// # Errors
    /// Directory or device cannot be used; nothing in either has been changed then, unless the device failed while it was being
    /// formatted.
    pub fn open_with(
        path: &Path,
        cluster: ClusterId,
        shards: Option<usize>,
        allow_volatile: bool,
        on: Option<(&DeviceOptions, &Limits)>,
    ) -> Result<Self, DataDirError> {
        fs::create_dir_all(path).map_err(io_error("cannot create", path))?;
        let path = &path.canonicalize().map_err(io_error("cannot open", path))?;
        let lock = lock(path)?;
        let file_system = fstatfs(&lock).map_err(|error| io_error("cannot inspect", path)(error.into()))?;
        let volatile = VOLATILE_FILE_SYSTEMS.contains(&(file_system.f_type as i64));
        if volatile && !allow_volatile {
            return Err(DataDirError::Volatile(path.clone()));
        }
        let mut device = None;
        let mut identity = match read_identity(path)? {
            Some(identity) => identity,
            None => {
                let (node, shards) = (NodeId::random(), shards.unwrap_or_else(cores));
                if let Some((options, limits)) = on {
                    device = Some(NodeDevice::plan(options, (cluster, node, shards), limits, allow_volatile)?);
                }
                let id = device.as_ref().map(NodeDevice::id);
                let identity = Identity { format: FORMAT, cluster, node, shards, device: id };
                make_journals(path, &identity)?;
                if let Some(device) = &device {
                    device.format()?;
                }
                write_identity(path, &identity)?;
                identity
            }
        };
        if identity.cluster != cluster {
            let (found, wanted) = (identity.cluster, cluster);
            return Err(DataDirError::OtherCluster { path: path.clone(), found, wanted });
        }
        if let Some(wanted) = shards.filter(|&wanted| wanted != identity.shards) {
            return Err(DataDirError::OtherShards { path: path.clone(), found: identity.shards, wanted });
        }
        let journals = (0..identity.shards).map(|shard| journal(path, shard)).collect::<Vec<_>>().into_iter();
        if let Some(missing) = journals.clone().find(|journal| !journal.is_dir()) {
            return Err(DataDirError::JournalMissing(missing));
        }
        if identity.format == FORMAT_WITHOUT_ANCHORS {
            add_anchors(path, &mut identity)?;
        }
        // On a device the segments are elsewhere; a journal that has lost its anchor alone finds that out by itself.
        if identity.device.is_none()
            && let Some(emptied) = journals.clone().find(|journal| is_emptied(journal))
        {
            return Err(DataDirError::JournalEmptied(emptied));
        }
        let device = match device {
            Some(device) => Some(device),
            None => open_device(path, &identity, on.map(|(options, _)| options), allow_volatile)?,
        };
        let volatile = volatile || device.as_ref().is_some_and(NodeDevice::is_volatile);
        let durability = if volatile { Durability::Volatile } else { Durability::QuorumDsync };
        let block_bytes = block_bytes(&lock).max(device.as_ref().map_or(0, NodeDevice::block_bytes));
        Ok(Self { path: path.clone(), lock, identity, durability, block_bytes, device })
    }

    /// The device that the journals are on.
    pub(super) fn device(&self) -> Option<&NodeDevice> {
        self.device.as_ref()
    }

    /// The slots of one journal, when it is on a device.
    ///
    /// # Errors
    /// What is damaged of its table cannot be mended.
    pub fn volume(&self, shard: usize) -> Result<Option<Volume>, DataDirError> {
        self.device.as_ref().map(|device| device.volume(shard, self.journal(shard))).transpose()
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// The node that it is.
    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    /// How many journals it has.
    pub fn shards(&self) -> usize {
        self.identity.shards
    }

    /// What an acknowledgement means here.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The smallest unit of direct writes.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// The directory of one journal.
    pub fn journal(&self, shard: usize) -> PathBuf {
        journal(&self.path, shard)
    }

    /// Another descriptor of the lock, for a ring to hold: the lock lasts until the last of them is gone, and the ring's lasts
    /// until the kernel has finished the ring's last write (P9 b).
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn lock_for_ring(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone()
    }
}

pub(super) fn journal(path: &Path, shard: usize) -> PathBuf {
    path.join(format!("journal-{shard}"))
}

/// The journals of a new directory. They are made, and durable, before the identity file, so that one that is missing later
/// has been lost. So with each journal's anchor: a directory without one is no new journal, but one that was emptied.
fn make_journals(path: &Path, identity: &Identity) -> Result<(), DataDirError> {
    for shard in 0..identity.shards {
        let journal = journal(path, shard);
        fs::create_dir_all(&journal).map_err(io_error("cannot create", &journal))?;
        match create_anchor(&journal, identity.node, shard as u32) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                return Err(DataDirError::IdentityMissing(path.to_owned()));
            }
            result => result.map_err(io_error("cannot write", &anchor_path(&journal)))?,
        }
    }
    sync_directory(path)
}

/// The device of a directory that is there, which has to be the one that it was made with.
fn open_device(
    path: &Path,
    identity: &Identity,
    options: Option<&DeviceOptions>,
    allow_volatile: bool,
) -> Result<Option<NodeDevice>, DataDirError> {
    let &Identity { cluster, node, shards, .. } = identity;
    match (identity.device, options) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(DataDirError::NotOnDevice(path.to_owned())),
        (Some(device), None) => Err(DataDirError::DeviceMissing { path: path.to_owned(), device }),
        (Some(device), Some(options)) => {
            let binding = Binding { cluster, node, device, shards: shards as u32 };
            Ok(Some(NodeDevice::open(options, &binding, allow_volatile)?))
        }
    }
}

/// Brings a directory of the format before to this one.
fn add_anchors(path: &Path, identity: &mut Identity) -> Result<(), DataDirError> {
    for shard in 0..identity.shards {
        let journal = journal(path, shard);
        if !anchor_path(&journal).exists() {
            add_anchor(&journal, identity.node, shard as u32)
                .map_err(io_error("cannot write", &anchor_path(&journal)))?;
        }
    }
    identity.format = FORMAT;
    write_identity(path, identity)
}

fn is_emptied(journal: &Path) -> bool {
    !anchor_path(journal).exists() && fs::read_dir(journal).is_ok_and(|mut entries| entries.next().is_none())
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn lock(path: &Path) -> Result<OwnedFd, DataDirError> {
    let file_path = path.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&file_path);
    let file = OwnedFd::from(file.map_err(io_error("cannot write", &file_path))?);
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WAIT => thread::sleep(LOCK_TURN),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DataDirError::InUse(path.to_owned())),
            Err(error) => return Err(io_error("cannot lock", &file_path)(error.into())),
        }
    }
}

pub(super) fn read_identity(path: &Path) -> Result<Option<Identity>, DataDirError> {
    let file_path = path.join(IDENTITY_FILE);
    let json = match fs::read(&file_path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("cannot read", &file_path)(error)),
    };
    let damaged = |detail: String| DataDirError::Identity { path: file_path.clone(), detail };
    let identity: Identity = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    if ![FORMAT, FORMAT_WITHOUT_ANCHORS].contains(&identity.format) {
        return Err(damaged(format!("format {} is not {FORMAT}", identity.format)));
    }
    if identity.shards == 0 {
        return Err(damaged("a node has at least one shard".to_owned()));
    }
    Ok(Some(identity))
}

fn write_identity(path: &Path, identity: &Identity) -> Result<(), DataDirError> {
    let json = serde_json::to_vec_pretty(identity).expect("an identity is always serialisable");
    let temporary = path.join("node.json.tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&json)?;
        file.sync_all()?;
        fs::rename(&temporary, path.join(IDENTITY_FILE))
    };
    write().map_err(io_error("cannot write", &temporary))?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), DataDirError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io_error("cannot flush", path))
}

/// The larger of the file system's alignment for direct I/O, as far as it tells, and what every disk accepts.
pub(super) fn block_bytes(file: &OwnedFd) -> u32 {
    let told = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        .ok()
        .filter(|told| told.stx_mask & StatxFlags::DIOALIGN.bits() != 0)
        .map_or(0, |told| told.stx_dio_offset_align);
    told.max(BLOCK_BYTES_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory under the build directory, which is on a disk.
    fn scratch() -> tempfile::TempDir {
        let parent = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        tempfile::tempdir_in(parent).unwrap()
    }

    #[test]
    fn a_directory_keeps_its_identity_and_its_number_of_shards() {
        let scratch = scratch();
        let node = {
            let directory = DataDir::open(scratch.path(), ClusterId(1), Some(3), false).unwrap();
            assert_eq!(directory.shards(), 3);
            directory.node()
        };
        let again = DataDir::open(scratch.path(), ClusterId(1), None, false).unwrap();
        assert_eq!((again.node(), again.shards()), (node, 3));
        drop(again);
        let error = DataDir::open(scratch.path(), ClusterId(1), Some(2), false).unwrap_err();
        assert!(matches!(error, DataDirError::OtherShards { found: 3, wanted: 2, .. }));
    }

    #[test]
    fn a_second_user_and_another_cluster_are_refused() {
        let scratch = scratch();
        let first = DataDir::open(scratch.path(), ClusterId(1), Some(1), false).unwrap();
        let second = DataDir::open(scratch.path(), ClusterId(1), Some(1), false);
        assert!(matches!(second, Err(DataDirError::InUse(_))));
        let held = first.lock_for_ring().unwrap();
        drop(first);
        let third = DataDir::open(scratch.path(), ClusterId(1), Some(1), false);
        assert!(matches!(third, Err(DataDirError::InUse(_))), "the ring's descriptor still holds the lock");
        drop(held);
        let other = DataDir::open(scratch.path(), ClusterId(2), Some(1), false);
        assert!(matches!(other, Err(DataDirError::OtherCluster { .. })));
    }

    #[test]
    fn a_file_system_in_memory_is_refused_unless_allowed() {
        let Ok(scratch) = tempfile::tempdir_in("/dev/shm") else { return };
        let refused = DataDir::open(scratch.path(), ClusterId(1), Some(1), false);
        assert!(matches!(refused, Err(DataDirError::Volatile(_))));
        let allowed = DataDir::open(scratch.path(), ClusterId(1), Some(1), true).unwrap();
        assert_eq!(allowed.durability().name(), "volatile");
    }

    #[test]
    fn a_directory_that_has_lost_a_part_of_itself_is_refused() {
        let scratch = scratch();
        let open = || DataDir::open(scratch.path(), ClusterId(1), None, false);
        drop(DataDir::open(scratch.path(), ClusterId(1), Some(2), false).unwrap());
        let anchor = scratch.path().join("journal-1/anchor");
        let bytes = fs::read(&anchor).unwrap();
        fs::remove_file(&anchor).unwrap();
        assert!(matches!(open(), Err(DataDirError::JournalEmptied(path)) if path.ends_with("journal-1")));
        fs::remove_dir(scratch.path().join("journal-1")).unwrap();
        assert!(matches!(open(), Err(DataDirError::JournalMissing(path)) if path.ends_with("journal-1")));
        fs::create_dir(scratch.path().join("journal-1")).unwrap();
        fs::write(&anchor, bytes).unwrap();
        fs::write(scratch.path().join("journal-0").join("some"), "records").unwrap();
        drop(open().unwrap());
        fs::remove_file(scratch.path().join(IDENTITY_FILE)).unwrap();
        assert!(matches!(open(), Err(DataDirError::IdentityMissing(_))));
        assert!(!scratch.path().join(IDENTITY_FILE).exists(), "no new identity over old journals");
    }

    #[test]
    fn a_birth_that_was_cut_short_is_begun_again() {
        let scratch = scratch();
        drop(DataDir::open(scratch.path(), ClusterId(1), Some(2), false).unwrap());
        fs::remove_file(scratch.path().join(IDENTITY_FILE)).unwrap();
        fs::write(scratch.path().join("journal-1/anchor.tmp"), "half").unwrap();
        let directory = DataDir::open(scratch.path(), ClusterId(1), Some(2), false).unwrap();
        assert_eq!(directory.shards(), 2);
    }

    #[test]
    fn a_directory_of_the_format_before_gets_its_anchors_once() {
        let scratch = scratch();
        drop(DataDir::open(scratch.path(), ClusterId(1), Some(1), false).unwrap());
        let (identity, anchor) = (scratch.path().join(IDENTITY_FILE), scratch.path().join("journal-0/anchor"));
        let json = fs::read_to_string(&identity).unwrap();
        fs::write(&identity, json.replace("\"format\": 2", "\"format\": 1")).unwrap();
        fs::remove_file(&anchor).unwrap();
        fs::write(scratch.path().join("journal-0").join("some"), "records").unwrap();
        drop(DataDir::open(scratch.path(), ClusterId(1), None, false).unwrap());
        assert!(anchor.exists());
        assert_eq!(fs::read_to_string(&identity).unwrap(), json);
    }

    #[test]
    fn a_damaged_identity_is_named_and_left_alone() {
        let scratch = scratch();
        fs::write(scratch.path().join(IDENTITY_FILE), "{}").unwrap();
        let error = DataDir::open(scratch.path(), ClusterId(1), Some(1), false).unwrap_err();
        assert!(matches!(error, DataDirError::Identity { .. }), "{error}");
        assert_eq!(fs::read(scratch.path().join(IDENTITY_FILE)).unwrap(), b"{}");
    }
}
