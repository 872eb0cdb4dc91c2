use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::MetaStore;
use crate::base::checksum::crc32c;
use crate::base::{ClusterId, Limits, RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, Versioned};
use crate::wire::{Decision, Member};

/// A MetaStore in a directory of one machine, for tests and for a single node: it is lost with its disk.
///
/// Each register is a file: on its first line the checksum of what follows and, as JSON, version and members; then the value. A write makes
/// a new file, flushes it, renames it over the old one and flushes the directory, under a lock that processes share: whenever the process
/// or the machine stops, the register holds the old version or the new one.
#[derive(Debug)]
pub struct FileMetaStore {
    directory: PathBuf,
    value_bytes_max: u32,
}

/// Why a register's file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileMetaStoreError {
    /// The system refuses it.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file is not what was written.
    #[error("{0} is damaged: its checksum does not fit")]
    Damaged(PathBuf),
    /// A register needs members, none twice, not too many.
    #[error("a register needs 1 to {} members, none of them twice", Decision::MEMBERS_MAX)]
    Members,
    /// The directory is another cluster's.
    #[error("{directory} holds the registers of cluster {found}")]
    OtherCluster {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        found: ClusterId,
    },
    /// Something that is no register is where registers were to be.
    #[error("registers need a directory of their own, and there is {0}")]
    Occupied(PathBuf),
    /// The directory is empty, or not there.
    #[error(
        "{directory} does not hold the registers of cluster {cluster}: they are on the machine of the cluster's node, or lost"
    )]
    NoRegisters {
        /// The directory.
        directory: PathBuf,
        /// Whose registers were to be there.
        cluster: ClusterId,
    },
}

/// The first line of a register's file, behind the checksum.
#[derive(Serialize, Deserialize)]
struct Head {
    version: Version,
    members: Vec<Member>,
}

/// What a write has done so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    /// The new file is there, in part or whole.
    Written,
    Flushed,
    /// From here on the new version is the one that is read.
    Renamed,
    DirectoryFlushed,
}

/// Hexadecimal digits of the checksum, and a space.
const CHECKSUM_BYTES: usize = 9;

impl FileMetaStore {
    pub(super) const LOCK: &'static str = "lock";

    /// Opens a store in this directory, which is made if it does not exist.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(directory: impl Into<PathBuf>, limits: &Limits) -> Result<Self, FileMetaStoreError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(|error| failed(&directory, error))?;
        let store = Self { directory, value_bytes_max: limits.register_bytes_max };
        store.lock()?;
        Ok(store)
    }

    /// Makes a register, with this for its birth; one that is there stays as it is.
    ///
    /// # Errors
    /// It cannot be written, or these are no members of a register.
    pub fn create(&self, register: RegisterId, members: Vec<Member>, value: Vec<u8>) -> Result<(), FileMetaStoreError> {
        if !Decision::are_members(&members) {
            return Err(FileMetaStoreError::Members);
        }
        let _lock = self.lock()?;
        match self.read(register)? {
            Some(_) => Ok(()),
            None => self
                .replace(register, &Versioned { version: Version::BIRTH, members, value }, &mut |_| true)
                .map_err(|(_, error)| error),
        }
    }

    fn path(&self, register: RegisterId) -> PathBuf {
        self.directory.join(Self::file_name(register))
    }

    pub(super) fn file_name(register: RegisterId) -> String {
        format!("register-{:016x}", register.0)
    }

    /// Waits until nobody else writes; ends when the file is closed, by whoever and however.
    fn lock(&self) -> Result<File, FileMetaStoreError> {
        let path = self.directory.join(Self::LOCK);
        let failed = |error| failed(&path, error);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(file)
    }

    fn read(&self, register: RegisterId) -> Result<Option<Versioned>, FileMetaStoreError> {
        let path = self.path(register);
        match fs::read(&path) {
            Ok(bytes) => decode(&bytes).map(Some).ok_or(FileMetaStoreError::Damaged(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Puts this in the place of what the register holds. `goes_on` is told each step that has been done, and ends the process, as far as this
    /// function can tell, by saying no. A failure comes with the last step that was done.
    fn replace(
        &self,
        register: RegisterId,
        versioned: &Versioned,
        goes_on: &mut dyn FnMut(Step) -> bool,
    ) -> Result<(), (Option<Step>, FileMetaStoreError)> {
        let (path, new) = (self.path(register), self.path(register).with_extension("new"));
        let mut done = None;
        let mut steps = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&encode(versioned))?;
            done = Some(Step::Written);
            if !goes_on(Step::Written) {
                return Ok(());
            }
            file.sync_all()?;
            done = Some(Step::Flushed);
            if !goes_on(Step::Flushed) {
                return Ok(());
            }
            fs::rename(&new, &path)?;
            done = Some(Step::Renamed);
            if !goes_on(Step::Renamed) {
                return Ok(());
            }
            File::open(&self.directory)?.sync_all()?;
            done = Some(Step::DirectoryFlushed);
            goes_on(Step::DirectoryFlushed);
            Ok(())
        };
        let end = steps();
        end.map_err(|error| (done, failed(&new, error)))
    }

    fn write(
        &self,
        register: RegisterId,
        expected: Version,
        members: Vec<Member>,
        value: Vec<u8>,
    ) -> Result<MetaStoreResult, FileMetaStoreError> {
        let _lock = self.lock()?;
        let Some(current) = self.read(register)? else { return Ok(MetaStoreResult::UnknownRegister) };
        if current.version != expected {
            return Ok(MetaStoreResult::Conflict(current));
        }
        let version = expected.next();
        match self.replace(register, &Versioned { version, members, value }, &mut |_| true) {
            Ok(()) => Ok(MetaStoreResult::Written { version, handed_over: true }),
            // A rename that was refused may be found to be done, once the file system has been repaired.
            Err((Some(done), error)) if done >= Step::Flushed => {
                tracing::warn!(%error, ?register, "whether a write of the MetaStore was done is not known");
                Ok(MetaStoreResult::Unknown)
            }
            Err((_, error)) => Err(error),
        }
    }
}

impl MetaStore for FileMetaStore {
    fn carry_out(&self, op: MetaStoreOp) -> MetaStoreResult {
        let end = match op {
            MetaStoreOp::Read { register } => {
                self.read(register).map(|found| found.map_or(MetaStoreResult::UnknownRegister, MetaStoreResult::Value))
            }
            // Nobody else has to be asked.
            MetaStoreOp::Prepare { .. } => return MetaStoreResult::Prepared,
            MetaStoreOp::Write { value, .. } if value.len() > self.value_bytes_max as usize => {
                return MetaStoreResult::TooLarge { limit: self.value_bytes_max, value };
            }
            MetaStoreOp::Write { members, .. } if !Decision::are_members(&members) => {
                return MetaStoreResult::InvalidMembers;
            }
            MetaStoreOp::Write { register, expected, value, members } => self.write(register, expected, members, value),
        };
        end.unwrap_or_else(|error| MetaStoreResult::Unavailable { reason: error.to_string() })
    }
}

pub(super) fn failed(path: &Path, error: io::Error) -> FileMetaStoreError {
    FileMetaStoreError::Io { path: path.to_owned(), error }
}

fn encode(versioned: &Versioned) -> Vec<u8> {
    let Versioned { version, members, value } = versioned;
    let head = Head { version: *version, members: members.clone() };
    let mut checked = serde_json::to_vec(&head).expect("a head is always serialisable");
    checked.push(b'\n');
    checked.extend_from_slice(value);
    let mut bytes = format!("{:08x} ", crc32c(&checked)).into_bytes();
    bytes.extend_from_slice(&checked);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Versioned> {
    let (checksum, checked) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    if checksum != format!("{:08x} ", crc32c(checked)).as_bytes() {
        return None;
    }
    let end = checked.iter().position(|byte| *byte == b'\n')?;
    let Head { version, members } = serde_json::from_slice(&checked[..end]).ok()?;
    Some(Versioned { version, members, value: checked[end + 1..].to_vec() })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::base::{NodeId, Rng};

    const REGISTER: RegisterId = RegisterId(7);
    const CHILD_DIRECTORY: &str = "NAXOS_FILE_METASTORE";

    fn members() -> Vec<Member> {
        vec![Member { node: NodeId(1), address: "10.0.0.1:4100".parse().unwrap() }]
    }

    fn store(directory: &Path) -> FileMetaStore {
        let store = FileMetaStore::open(directory, &Limits::default()).unwrap();
        store.create(REGISTER, members(), b"birth".to_vec()).unwrap();
        store
    }

    fn value_of(version: u64) -> Vec<u8> {
        format!("value {version} ").repeat(1 + version as usize % 700).into_bytes()
    }

    fn versioned(version: u64) -> Versioned {
        Versioned { version: Version(version), members: members(), value: value_of(version) }
    }

    fn write(store: &FileMetaStore, version: u64) -> MetaStoreResult {
        let (register, expected, value) = (REGISTER, Version(version - 1), value_of(version));
        store.carry_out(MetaStoreOp::Write { register, expected, value, members: members() })
    }

    #[test]
    fn a_process_that_ends_after_any_step_leaves_the_old_version_or_the_new() {
        let steps = [Step::Written, Step::Flushed, Step::Renamed, Step::DirectoryFlushed];
        for last in steps {
            let directory = tempfile::tempdir().unwrap();
            let before = store(directory.path());
            before.replace(REGISTER, &versioned(1), &mut |done| done != last).unwrap();
            // A new file may have been cut anywhere.
            let new = before.path(REGISTER).with_extension("new");
            let lengths: Vec<u64> = match fs::metadata(&new) {
                Ok(found) => vec![found.len(), found.len() / 2, 0],
                Err(_) => vec![0],
            };
            for length in lengths {
                if new.exists() {
                    File::options().write(true).open(&new).unwrap().set_len(length).unwrap();
                }
                let after = store(directory.path());
                let found = after.read(REGISTER).unwrap().unwrap();
                assert_eq!(found.version.0, u64::from(last >= Step::Renamed), "after {last:?}");
            }
            let after = store(directory.path());
            let next = after.read(REGISTER).unwrap().unwrap().version.0 + 1;
            assert!(matches!(write(&after, next), MetaStoreResult::Written { .. }));
            assert_eq!(after.read(REGISTER).unwrap(), Some(versioned(next)));
        }
    }

    #[test]
    fn a_damaged_register_is_not_served() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        write(&store, 1);
        let (path, whole) = (store.path(REGISTER), fs::read(store.path(REGISTER)).unwrap());
        for at in [0, 8, 20, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let result = store.carry_out(MetaStoreOp::Read { register: REGISTER });
            assert!(matches!(result, MetaStoreResult::Unavailable { .. }), "byte {at}: {result:?}");
            assert!(matches!(write(&store, 2), MetaStoreResult::Unavailable { .. }));
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(store.read(REGISTER).is_err());
    }

    #[test]
    fn a_register_that_nobody_made_is_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let other = MetaStoreOp::Read { register: RegisterId(8) };
        assert_eq!(store.carry_out(other), MetaStoreResult::UnknownRegister);
        assert!(store.create(RegisterId(8), Vec::new(), Vec::new()).is_err());
    }

    /// The process that [`a_killed_writer_leaves_what_it_said_or_one_more`] kills; by itself it does nothing.
    #[test]
    fn writes_until_it_is_killed() {
        let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
        let store = store(Path::new(&directory));
        let mut version = store.read(REGISTER).unwrap().unwrap().version.0;
        loop {
            version += 1;
            assert!(matches!(write(&store, version), MetaStoreResult::Written { .. }));
            println!("written {version}");
        }
    }

    #[test]
    fn a_killed_writer_leaves_what_it_said_or_one_more() {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Rng::with_seed(1);
        let mut before = 0;
        for _ in 0..12 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "client::metastore::file::tests::writes_until_it_is_killed", "--nocapture"])
                .env(CHILD_DIRECTORY, directory.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let mut written = lines.filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok());
            let mut said = written.nth(random.usize(..20)).unwrap();
            child.kill().unwrap();
            // What it had said before the kill, and nobody had read yet.
            said = written.last().unwrap_or(said);
            child.wait().unwrap();
            let found = store(directory.path()).read(REGISTER).unwrap().unwrap();
            assert!(found.version.0 == said || found.version.0 == said + 1, "{} after {said}", found.version);
            assert_eq!(found, versioned(found.version.0));
            assert!(found.version.0 > before);
            before = found.version.0;
        }
    }
}
