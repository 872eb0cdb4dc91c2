//! What a result was measured on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};

/// The parts of a machine that decide a result. What the kernel does not tell is `"unknown"` or null.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Model name of the processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Block device, its model where it has one, and the file system on it.
    pub disk: String,
    /// `write back` when the device has a volatile cache, so that durability costs a flush.
    pub write_cache: String,
    /// Whether the device takes writes with forced unit access, which make the flush unnecessary.
    pub fua: Option<bool>,
}

impl Machine {
    /// Describes this machine and the disk under `directory`.
    pub fn describe(directory: &Path) -> Self {
        let device = BlockDevice::of(directory).ok();
        let queue = |name| device.as_ref().and_then(|device| device.attribute(&format!("queue/{name}")));
        let model = device.as_ref().and_then(|device| device.attribute("device/model"));
        let name = device.as_ref().map_or("unknown", |device| &device.name);
        let disk = [Some(name.to_owned()), model, file_system(directory)].into_iter().flatten().collect::<Vec<_>>();
        Self {
            cpu: cpu_model().unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            disk: disk.join(" "),
            write_cache: queue("write_cache").unwrap_or_else(unknown),
            fua: queue("fua").map(|value| value == "1"),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    // Arm kernels have no model name; the implementer and part are the next best thing.
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    field("model name")
        .or_else(|| Some(format!("implementer {} part {}", field("CPU implementer")?, field("CPU part")?)))
}

fn file_system(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory).ok()?.dev();
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Some(mount_of(&table, device)?.0.to_owned())
}

/// File-system type and source of the mount with this device number.
fn mount_of(mountinfo: &str, device: u64) -> Option<(&str, &str)> {
    let number = format!("{}:{}", major(device), minor(device));
    let line = mountinfo.lines().rev().find(|line| line.split(' ').nth(2) == Some(&number))?;
    let mut fields = line.split_once(" - ")?.1.split(' ');
    Some((fields.next()?, fields.next()?))
}

/// The block device that holds a directory: the whole disk, where the file system is on a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockDevice {
    /// As in /proc/diskstats.
    pub name: String,
    sys: PathBuf,
}

impl BlockDevice {
    /// Finds the device through the directory's device number.
    ///
    /// # Errors
    /// The directory does not exist, or lies on no block device (tmpfs, overlay, network).
    pub fn of(directory: &Path) -> io::Result<Self> {
        let number = fs::metadata(directory)?.dev();
        Self::by_number(number).or_else(|error| {
            // Some file systems (btrfs) have device numbers of their own; their mount names the device.
            let table = fs::read_to_string("/proc/self/mountinfo")?;
            let (_, source) = mount_of(&table, number).ok_or(error)?;
            Self::by_number(fs::metadata(source)?.rdev())
        })
    }

    /// Its directory under /sys/devices.
    pub fn sys(&self) -> &Path {
        &self.sys
    }

    fn by_number(number: u64) -> io::Result<Self> {
        let link = PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)));
        let mut sys = fs::canonicalize(link)?;
        if sys.join("partition").exists() {
            sys.pop();
        }
        let name = sys.file_name().ok_or(io::ErrorKind::NotFound)?.to_string_lossy().into_owned();
        Ok(Self { name, sys })
    }

    fn attribute(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.sys.join(path)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

/// The commit of the checkout that the program lies in, marked when the checkout differs from it.
pub fn commit() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--match="])
        .current_dir(program.parent()?)
        .output()
        .ok()?;
    let text = String::from_utf8(git.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| git.status.success() && !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                          25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw,size=1k\n";

    #[test]
    fn a_mount_is_found_by_its_device_number() {
        assert_eq!(mount_of(MOUNTS, rustix::fs::makedev(254, 0)), Some(("ext4", "/dev/vda")));
        assert_eq!(mount_of(MOUNTS, rustix::fs::makedev(0, 23)), Some(("tmpfs", "tmpfs")));
        assert_eq!(mount_of(MOUNTS, rustix::fs::makedev(9, 9)), None);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::describe(Path::new("/"));
        assert!(machine.cores > 0);
        assert!(!machine.kernel.is_empty());
    }
}
