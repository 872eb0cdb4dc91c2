//! What else a machine does while it is measured.

use std::fs;
use std::path::Path;

/// One look at the machine. What the kernel does not tell is none.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Noise {
    /// Runnable threads, as a mean over the last minute.
    pub load: Option<f64>,
    cpu: Option<CpuTimes>,
}

/// In clock ticks, over all processors, since the machine's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct CpuTimes {
    total: u64,
    steal: u64,
}

impl Noise {
    /// Now.
    pub fn sample() -> Self {
        Self::read(Path::new("/proc"))
    }

    fn read(proc: &Path) -> Self {
        let load = fs::read_to_string(proc.join("loadavg")).ok();
        let load = load.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
        let cpu = fs::read_to_string(proc.join("stat")).ok().and_then(|text| CpuTimes::parse(&text));
        Self { load, cpu }
    }

    /// Share of the processors' time since `earlier` that the hypervisor gave to others.
    pub fn steal_since(&self, earlier: &Self) -> Option<f64> {
        let (now, then) = (self.cpu?, earlier.cpu?);
        let total = now.total.saturating_sub(then.total);
        (total > 0).then(|| now.steal.saturating_sub(then.steal) as f64 / total as f64)
    }
}

impl CpuTimes {
    /// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. What follows is in user and nice already.
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
        let fields: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
        Some(Self { total: fields.iter().sum(), steal: *fields.get(7)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let directory = tempfile::tempdir().unwrap();
        let at = |stat: &str| {
            fs::write(directory.path().join("stat"), stat).unwrap();
            fs::write(directory.path().join("loadavg"), "1.25 0.5 0.1 1/2 3\n").unwrap();
            Noise::read(directory.path())
        };
        let before = at("cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 2 3\n");
        let after = at("cpu  20 0 20 130 0 0 0 30 9 0\ncpu0 1 2 3\n");
        assert_eq!(after.steal_since(&before), Some(0.2));
        assert_eq!(after.load, Some(1.25));
        assert_eq!(before.steal_since(&before), None);
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        assert_eq!(Noise::read(Path::new("/nowhere")), Noise::default());
        assert_eq!(Noise::default().steal_since(&Noise::sample()), None);
    }
}
