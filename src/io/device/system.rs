//! What the kernel says about a block device, beside its bytes.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Dev, major, minor, statfs};

/// `f_type` of tmpfs and ramfs (linux/magic.h): file systems that a power loss empties.
const VOLATILE_FILE_SYSTEMS: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// Major number of the kernel's RAM disks (Documentation/admin-guide/devices.txt).
const RAM_DISK: u32 = 1;

fn attributes(device: Dev) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)))
}

/// Whether the kernel refuses writes to it, which it does only when they come.
pub(super) fn is_read_only(device: Dev) -> bool {
    fs::read_to_string(attributes(device).join("ro")).is_ok_and(|ro| ro.trim() == "1")
}

/// Whether a power loss empties it: a RAM disk, compressed memory, or a file in memory behind a loop device.
pub(super) fn is_volatile(device: Dev) -> bool {
    let attributes = attributes(device);
    let is_compressed_memory = fs::canonicalize(&attributes)
        .ok()
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().starts_with("zram")))
        .unwrap_or(false);
    let backing = fs::read_to_string(attributes.join("loop/backing_file"));
    let is_file_in_memory = backing.is_ok_and(|file| {
        statfs(Path::new(file.trim_end())).is_ok_and(|system| VOLATILE_FILE_SYSTEMS.contains(&system.f_type))
    });
    major(device) == RAM_DISK || is_compressed_memory || is_file_in_memory
}

/// Where it is mounted, as this process sees it.
pub(super) fn mount_point(device: Dev) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    find_mount_point(&mounts, &format!("{}:{}", major(device), minor(device)))
}

/// Lines are `id parent major:minor root mount-point ...`.
fn find_mount_point(mounts: &str, number: &str) -> Option<String> {
    let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines.find(|fields| fields.get(2) == Some(&number)).and_then(|fields| Some((*fields.get(4)?).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::find_mount_point;

    #[test]
    fn a_mount_is_found_by_its_device() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                      30 22 7:3 / /mnt/a\\040b rw - xfs /dev/loop3 rw\n";
        assert_eq!(find_mount_point(mounts, "7:3").as_deref(), Some("/mnt/a\\040b"));
        assert_eq!(find_mount_point(mounts, "7:30"), None);
    }
}
