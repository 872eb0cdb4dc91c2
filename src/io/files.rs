//! The slow file operations, as plain blocking functions: they belong on a background thread.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, SeekFrom};

use crate::base::Buf;

/// Zeros are written in pieces of this size: large enough for the full bandwidth of a disk.
const ZEROS_BYTES: usize = 1 << 20;

/// See [`super::op::Op::List`].
pub(super) fn list(directory: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// See [`super::op::Op::Open`].
pub(super) fn open(path: &Path) -> io::Result<(OwnedFd, u64)> {
    let file = direct(path, false)?;
    file.sync_all()?;
    sync_directory_of(path)?;
    // A block device has no length, but it has an end.
    let bytes = rustix::fs::seek(&file, SeekFrom::End(0))?;
    Ok((file.into(), bytes))
}

/// See [`super::op::Op::Prepare`].
pub(super) fn prepare(path: &Path, bytes: u64) -> io::Result<(OwnedFd, u64)> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let temporary = temporary_name(path);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = direct(&temporary, true)?;
    let prepared = fill_with_zeros(&file, bytes).and_then(|()| rename_to_free_name(&temporary, path));
    if let Err(error) = prepared {
        // The first failure is the one to report; what is left under a temporary name is removed by the next attempt.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory_of(path)?;
    Ok((file.into(), bytes))
}

/// See [`super::op::Op::Remove`].
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_directory_of(path)
}

fn direct(path: &Path, create_new: bool) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(create_new);
    options.custom_flags(libc::O_DIRECT).open(path)
}

fn fill_with_zeros(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // The zeros allocate as well, only less contiguously.
        Err(rustix::io::Errno::OPNOTSUPP) => {}
        result => result?,
    }
    let zeros = Buf::zeroed(ZEROS_BYTES);
    let mut offset = 0;
    while offset < bytes {
        let piece = usize::try_from(bytes - offset).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        let written = file.write_at(&zeros[..piece], offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
    }
    file.sync_all()
}

fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without this flag have hard links, which do not replace either.
        Err(rustix::io::Errno::INVAL) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
