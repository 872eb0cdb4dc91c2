//! What of a machine can move a result without anybody noticing: frequencies, memory, interrupts, and who is near whom.
//!
//! Everything is read from /sys and /proc; what is not there is `"unknown"` or absent.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::loadgen::cores::{CoreList, Cores};
use crate::loadgen::machine::BlockDevice;

const UNKNOWN: &str = "unknown";

/// Settings of the machine and its kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Of the frequencies, over all cores: `performance`, or more than one joined by `+`.
    pub governor: String,
    /// Whether cores may go beyond their nominal frequency: `on` or `off`.
    pub boost: String,
    /// Whether cores share execution units: `on`, `off` and what else the kernel says.
    pub smt: String,
    /// What the clock is read from.
    pub clock_source: String,
    /// `always`, `madvise` or `never`.
    pub transparent_hugepages: String,
    /// Pages that are set aside, and those of them that are free.
    pub hugepages: Option<[u64; 2]>,
    /// Cores that the scheduler leaves alone.
    pub isolated_cores: String,
    /// Memory nodes and their cores.
    pub numa_nodes: Vec<NumaNode>,
    /// Memory node of the disk; absent where there is only one, or it is not known.
    pub disk_numa_node: Option<u32>,
    /// Interrupts of the disk and the cores that take them.
    pub disk_irqs: Vec<Irq>,
    /// I/O scheduler of the disk.
    pub disk_scheduler: String,
}

/// A memory node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NumaNode {
    /// Its number.
    pub node: u32,
    /// Its cores.
    pub cores: String,
}

/// An interrupt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Irq {
    /// Its number.
    pub irq: u32,
    /// The cores that take it.
    pub cores: String,
}

impl Host {
    /// This machine, with the disk under a directory.
    pub fn describe(directory: &Path) -> Self {
        let device = BlockDevice::of(directory).ok();
        Self::read(Path::new("/"), device.as_ref().map(BlockDevice::sys))
    }

    /// As [`Host::describe`], of files under `root`, which is `/` unless this is tested.
    fn read(root: &Path, disk: Option<&Path>) -> Self {
        let cpu = root.join("sys/devices/system/cpu");
        // The disk's block device lies below its controller, which has the interrupts and the memory node.
        let ancestor = |file: &str| disk?.ancestors().map(|directory| directory.join(file)).find(|path| path.exists());
        Self {
            governor: governor(&cpu),
            boost: boost(&cpu),
            smt: text(&cpu.join("smt/control")),
            clock_source: text(&root.join("sys/devices/system/clocksource/clocksource0/current_clocksource")),
            transparent_hugepages: chosen(&root.join("sys/kernel/mm/transparent_hugepage/enabled")),
            hugepages: hugepages(&root.join("proc/meminfo")),
            isolated_cores: line(&cpu.join("isolated")).unwrap_or_else(|| UNKNOWN.to_owned()),
            numa_nodes: numa_nodes(&root.join("sys/devices/system/node")),
            disk_numa_node: ancestor("numa_node").and_then(|path| line(&path)?.parse().ok()),
            disk_irqs: ancestor("msi_irqs").map(|path| irqs(&path, &root.join("proc/irq"))).unwrap_or_default(),
            disk_scheduler: disk.map_or_else(|| UNKNOWN.to_owned(), |disk| chosen(&disk.join("queue/scheduler"))),
        }
    }

    /// What of it makes results worse, or less certain, than they have to be.
    pub fn hints(&self, cores: Option<&Cores>) -> Vec<String> {
        let mut hints = Vec::new();
        if self.governor != "performance" && self.governor != UNKNOWN {
            hints.push(format!(
                "the frequency governor is {}: frequencies change while it is measured; set it to performance",
                self.governor
            ));
        }
        if !["tsc", "kvm-clock", "arch_sys_counter", UNKNOWN].contains(&self.clock_source.as_str()) {
            hints.push(format!("the clock is read from {}, which is slow", self.clock_source));
        }
        if self.transparent_hugepages == "always" {
            hints.push("transparent huge pages are `always`: the kernel may stop a process to make them".to_owned());
        }
        let Some(cores) = cores else { return hints };
        let nodes_of = |list: &CoreList| -> Vec<u32> {
            let on = |node: &&NumaNode| node.cores.parse::<CoreList>().is_ok_and(|cores| cores.meets(list));
            self.numa_nodes.iter().filter(on).map(|node| node.node).collect()
        };
        let used = nodes_of(&cores.nodes);
        if used.len() > 1 {
            hints.push(format!("the cores of the nodes, {}, are on several NUMA nodes: {used:?}", cores.nodes));
        }
        if let Some(disk) = self.disk_numa_node
            && !used.is_empty()
            && !used.contains(&disk)
        {
            hints.push(format!("the disk is on NUMA node {disk}, and the cores of the nodes are on {used:?}"));
        }
        if cores.load != cores.nodes {
            let taken = |irq: &&Irq| irq.cores.parse::<CoreList>().is_ok_and(|taken| taken.meets(&cores.load));
            let taken: Vec<_> = self.disk_irqs.iter().filter(taken).map(|irq| irq.irq.to_string()).collect();
            if !taken.is_empty() {
                hints.push(format!(
                    "interrupts of the disk ({}) are taken by cores of the load; /proc/irq/N/smp_affinity_list moves them",
                    taken.join(", ")
                ));
            }
            if cores.load.meets(&cores.nodes) {
                hints.push(format!("the load, on {}, and the nodes, on {}, share cores", cores.load, cores.nodes));
            }
        }
        hints
    }
}

/// What a file says, without the end of its line; empty where it is.
fn line(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn text(path: &Path) -> String {
    line(path).filter(|text| !text.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The word in brackets of a file that lists what can be chosen.
fn chosen(path: &Path) -> String {
    let all = text(path);
    let between = all.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    between.map_or(all.clone(), |(word, _)| word.to_owned())
}

/// The files of a directory whose names are a word and a number, by the number.
fn numbered(directory: &Path, word: &str) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.strip_prefix(word)?.parse().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

fn governor(cpu: &Path) -> String {
    let all = numbered(cpu, "cpu").into_iter().filter_map(|(_, core)| line(&core.join("cpufreq/scaling_governor")));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all.dedup();
    if all.is_empty() { UNKNOWN.to_owned() } else { all.join("+") }
}

fn boost(cpu: &Path) -> String {
    let on = match (line(&cpu.join("cpufreq/boost")).as_deref(), line(&cpu.join("intel_pstate/no_turbo")).as_deref()) {
        (Some("1"), _) | (None, Some("0")) => "on",
        (Some("0"), _) | (None, Some("1")) => "off",
        _ => UNKNOWN,
    };
    on.to_owned()
}

fn hugepages(meminfo: &Path) -> Option<[u64; 2]> {
    let table = fs::read_to_string(meminfo).ok()?;
    let field = |name: &str| table.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some([field("HugePages_Total:")?, field("HugePages_Free:")?])
}

fn numa_nodes(directory: &Path) -> Vec<NumaNode> {
    let nodes = numbered(directory, "node").into_iter();
    nodes.map(|(node, path)| NumaNode { node, cores: text(&path.join("cpulist")) }).collect()
}

fn irqs(list: &Path, proc: &Path) -> Vec<Irq> {
    let irq = |(irq, _): (u32, PathBuf)| {
        let place = proc.join(irq.to_string());
        let cores = line(&place.join("effective_affinity_list")).filter(|cores| !cores.is_empty());
        Irq { irq, cores: cores.unwrap_or_else(|| text(&place.join("smp_affinity_list"))) }
    };
    numbered(list, "").into_iter().map(irq).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn a_machine_that_tells_nothing_is_unknown_and_no_error() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::read(root.path(), Some(&root.path().join("sys/devices/x/block/vda")));
        assert_eq!((host.governor.as_str(), host.smt.as_str(), host.hugepages), (UNKNOWN, UNKNOWN, None));
        assert!(host.numa_nodes.is_empty() && host.disk_irqs.is_empty());
        let cores = Cores { load: "0".parse().unwrap(), nodes: "1".parse().unwrap() };
        assert_eq!(host.hints(Some(&cores)), Vec::<String>::new());
        Host::describe(root.path());
    }

    #[test]
    fn what_moves_a_result_is_read_and_hinted_at() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
                ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
                ("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
                ("sys/devices/system/cpu/isolated", "\n"),
                ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
                ("proc/meminfo", "MemTotal: 1 kB\nHugePages_Total:     12\nHugePages_Free:       7\n"),
                ("sys/devices/system/node/node0/cpulist", "0-3\n"),
                ("sys/devices/system/node/node1/cpulist", "4-7\n"),
                ("sys/devices/pci/0000:01/numa_node", "1\n"),
                ("sys/devices/pci/0000:01/msi_irqs/41", "msix\n"),
                ("sys/devices/pci/0000:01/nvme/block/nvme0n1/queue/scheduler", "[none] mq-deadline\n"),
                ("proc/irq/41/effective_affinity_list", "2\n"),
            ],
        );
        let host = Host::read(root.path(), Some(&root.path().join("sys/devices/pci/0000:01/nvme/block/nvme0n1")));
        assert_eq!((host.governor.as_str(), host.boost.as_str()), ("performance+powersave", "on"));
        assert_eq!((host.hugepages, host.disk_numa_node), (Some([12, 7]), Some(1)));
        assert_eq!(host.disk_irqs, [Irq { irq: 41, cores: "2".to_owned() }]);
        assert_eq!((host.disk_scheduler.as_str(), host.isolated_cores.as_str()), ("none", ""));
        let hints = |cores: Option<&str>| host.hints(cores.map(cores_of).as_ref()).join("\n");
        for word in ["powersave", "hpet", "huge pages"] {
            assert!(hints(None).contains(word), "{word}");
        }
        assert!(!hints(None).contains("NUMA"));
        let apart = hints(Some("2:0-1"));
        assert!(apart.contains("disk is on NUMA node 1") && apart.contains("(41)"), "{apart}");
        assert!(hints(Some("0:3-4")).contains("several NUMA nodes"));
        assert!(hints(Some("0-1:1-2")).contains("share cores"));
        assert!(!hints(Some("0-1:4-7")).contains("cores of the"), "{}", hints(Some("0-1:4-7")));
    }

    /// Without the check whether this machine has them.
    fn cores_of(text: &str) -> Cores {
        let (load, nodes) = text.split_once(':').unwrap();
        Cores { load: load.parse().unwrap(), nodes: nodes.parse().unwrap() }
    }
}
