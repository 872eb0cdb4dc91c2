use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::failed;
use super::{FileMetaStore, FileMetaStoreError, MetaStore};
use crate::base::{ClusterId, Limits, RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::wire::{Decision, Member};

/// The registers of a cluster of one node, in a directory of its machine, which says whose they are. The cluster's root register, which the
/// node keeps itself, names the directory; the registers in it begin with a root register of their own.
///
/// Nothing is opened before it is needed: a directory that has gone, or is on another machine, is what an operation ends with.
#[derive(Debug, Clone)]
pub struct RegisterFiles {
    directory: PathBuf,
    cluster: ClusterId,
    limits: Limits,
}

/// What says whose the registers are.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    cluster: ClusterId,
}

const OWNER: &str = "cluster.json";
const NEW_OWNER: &str = "cluster.json.new";

impl RegisterFiles {
    /// The registers of this cluster in this directory.
    pub(in crate::client) fn at(directory: &Path, cluster: ClusterId, limits: &Limits) -> Self {
        Self { directory: directory.to_owned(), cluster, limits: limits.clone() }
    }

    /// Whether a cluster may have its registers in this directory, which is made if it does not exist: the one that has them there, or,
    /// while nobody has, any. Returns the directory's full name.
    ///
    /// # Errors
    /// It cannot be written, or holds something else.
    pub fn check(directory: &Path, cluster: Option<ClusterId>) -> Result<PathBuf, FileMetaStoreError> {
        FileMetaStore::open(directory, &Limits::default())?;
        let directory = directory.canonicalize().map_err(|error| failed(directory, error))?;
        match owner(&directory)? {
            Some(found) if cluster != Some(found) => Err(FileMetaStoreError::OtherCluster { directory, found }),
            Some(_) => Ok(directory),
            None => check_empty(&directory).map(|()| directory),
        }
    }

    /// Makes the directory that of this cluster, with a root register of this value. Again, it stays as it is.
    pub(in crate::client) fn begin(&self, members: Vec<Member>, root: Vec<u8>) -> Result<(), FileMetaStoreError> {
        Self::check(&self.directory, owner(&self.directory)?.map(|_| self.cluster))?;
        let store = FileMetaStore::open(&self.directory, &self.limits)?;
        // First: a directory without it is not looked into, so that whatever is there besides is complete.
        store.create(RegisterId::ROOT, members, root)?;
        self.own().map_err(|error| failed(&self.directory.join(OWNER), error))
    }

    fn own(&self) -> io::Result<()> {
        let (new, path) = (self.directory.join(NEW_OWNER), self.directory.join(OWNER));
        let json = serde_json::to_vec(&Owner { cluster: self.cluster }).expect("a name is always serialisable");
        fs::write(&new, json)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()
    }

    /// Where they are.
    pub(in crate::client) fn directory(&self) -> &Path {
        &self.directory
    }

    fn lost(&self) -> FileMetaStoreError {
        FileMetaStoreError::NoRegisters { directory: self.directory.clone(), cluster: self.cluster }
    }

    fn open(&self) -> Result<FileMetaStore, FileMetaStoreError> {
        let directory = self.directory.clone();
        match owner(&directory)? {
            Some(found) if found == self.cluster => FileMetaStore::open(directory, &self.limits),
            Some(found) => Err(FileMetaStoreError::OtherCluster { directory, found }),
            None => Err(self.lost()),
        }
    }

    /// Carries out an operation on a register, of which `decided` is any decided version, and blocks until it is over. A register that has no
    /// file yet begins with its birth, which is the same for everybody; the root register was made with the directory.
    pub(in crate::client) fn carry_out(&self, decided: &Decision, op: MetaStoreOp) -> MetaStoreResult {
        let store = match self.open() {
            Ok(store) => store,
            Err(error) => return MetaStoreResult::Unavailable { reason: error.to_string() },
        };
        let register = op.register();
        let end = store.carry_out(op.clone());
        if end != MetaStoreResult::UnknownRegister || decided.version != Version::BIRTH {
            return end;
        }
        let created = match register {
            RegisterId::ROOT => Err(self.lost()),
            _ => store.create(register, decided.members.clone(), decided.value.clone()),
        };
        match created {
            Ok(()) => store.carry_out(op),
            Err(error) => MetaStoreResult::Unavailable { reason: error.to_string() },
        }
    }
}

/// Whose registers are in a directory; nobody's if nothing says so.
fn owner(directory: &Path) -> Result<Option<ClusterId>, FileMetaStoreError> {
    let path = directory.join(OWNER);
    match fs::read(&path) {
        Ok(json) => match serde_json::from_slice(&json) {
            Ok(Owner { cluster }) => Ok(Some(cluster)),
            Err(_) => Err(FileMetaStoreError::Damaged(path)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&path, error)),
    }
}

/// Whether there is nothing but what a beginning that was cut short leaves.
fn check_empty(directory: &Path) -> Result<(), FileMetaStoreError> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| failed(directory, error))?;
    let ours = [FileMetaStore::LOCK.to_owned(), NEW_OWNER.to_owned()];
    let root = FileMetaStore::file_name(RegisterId::ROOT);
    let is_ours = |name: &str| ours.iter().any(|our| our == name) || name.split('.').next() == Some(root.as_str());
    match entries.iter().find(|entry| !entry.file_name().to_str().is_some_and(is_ours)) {
        Some(other) => Err(FileMetaStoreError::Occupied(other.path())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{NodeId, Nonce};

    const CLUSTER: ClusterId = ClusterId(5);
    const REGISTER: RegisterId = RegisterId(1);

    fn members() -> Vec<Member> {
        vec![Member { node: NodeId(1), address: "10.0.0.1:4100".parse().unwrap() }]
    }

    fn birth() -> Decision {
        Decision { version: Version::BIRTH, nonce: Nonce(1), members: members(), value: b"birth".to_vec() }
    }

    fn begun(directory: &Path) -> RegisterFiles {
        let files = RegisterFiles::at(directory, CLUSTER, &Limits::default());
        files.begin(members(), b"root".to_vec()).unwrap();
        files
    }

    fn read(files: &RegisterFiles, register: RegisterId) -> MetaStoreResult {
        files.carry_out(&birth(), MetaStoreOp::Read { register })
    }

    fn value(result: MetaStoreResult) -> Vec<u8> {
        match result {
            MetaStoreResult::Value(found) => found.value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_directory_is_of_the_cluster_that_began_there() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("new");
        let full = RegisterFiles::check(&directory, None).unwrap();
        let files = begun(&directory);
        assert_eq!(RegisterFiles::check(&directory, Some(CLUSTER)).unwrap(), full);
        for other in [None, Some(ClusterId(6))] {
            let error = RegisterFiles::check(&directory, other).unwrap_err();
            assert!(matches!(error, FileMetaStoreError::OtherCluster { found: CLUSTER, .. }), "{error}");
        }
        let other = RegisterFiles::at(&directory, ClusterId(6), &Limits::default());
        assert!(other.begin(members(), b"other".to_vec()).is_err());
        assert!(matches!(read(&other, RegisterId::ROOT), MetaStoreResult::Unavailable { .. }));
        files.begin(members(), b"again".to_vec()).unwrap();
        assert_eq!(value(read(&files, RegisterId::ROOT)), b"root");
    }

    #[test]
    fn a_beginning_that_was_cut_short_is_gone_on_with_and_other_files_are_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        begun(scratch.path());
        fs::rename(scratch.path().join(OWNER), scratch.path().join(NEW_OWNER)).unwrap();
        RegisterFiles::check(scratch.path(), None).unwrap();
        assert_eq!(value(read(&begun(scratch.path()), RegisterId::ROOT)), b"root");

        let used = tempfile::tempdir().unwrap();
        fs::write(used.path().join("letter"), b"x").unwrap();
        let error = RegisterFiles::check(used.path(), None).unwrap_err();
        assert!(matches!(error, FileMetaStoreError::Occupied(_)), "{error}");
    }

    #[test]
    fn registers_begin_with_their_birth_and_the_root_register_never_again() {
        let scratch = tempfile::tempdir().unwrap();
        let files = begun(scratch.path());
        assert_eq!(value(read(&files, REGISTER)), b"birth");
        let write = |expected| MetaStoreOp::Write {
            register: REGISTER,
            expected: Version(expected),
            value: b"next".to_vec(),
            members: members(),
        };
        assert!(matches!(files.carry_out(&birth(), write(0)), MetaStoreResult::Written { .. }));
        assert!(matches!(files.carry_out(&birth(), write(0)), MetaStoreResult::Conflict(_)));
        assert_eq!(value(read(&files, REGISTER)), b"next");
        fs::remove_file(scratch.path().join(FileMetaStore::file_name(RegisterId::ROOT))).unwrap();
        assert!(matches!(read(&files, RegisterId::ROOT), MetaStoreResult::Unavailable { .. }));
        fs::remove_file(scratch.path().join(OWNER)).unwrap();
        assert!(matches!(read(&files, REGISTER), MetaStoreResult::Unavailable { .. }));
        let elsewhere = RegisterFiles::at(&scratch.path().join("elsewhere"), CLUSTER, &Limits::default());
        let MetaStoreResult::Unavailable { reason } = read(&elsewhere, REGISTER) else { panic!() };
        assert!(reason.contains("on the machine of the cluster's node"), "{reason}");
        assert!(!scratch.path().join("elsewhere").exists(), "asking makes nothing");
    }
}
