//! Which cores a load and its nodes run on.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Numbers of cores, ascending, each once. In text as the kernel writes them: `0-3,8`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CoreList(Vec<usize>);

impl CoreList {
    /// The cores.
    pub fn cores(&self) -> &[usize] {
        &self.0
    }

    /// Those that the calling thread may use.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn allowed() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()))
    }

    /// Whether both have a core.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|core| other.0.contains(core))
    }

    /// All of both.
    pub fn with(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied().collect())
    }

    /// Those of `other` that this one does not have.
    pub fn lacks(&self, other: &Self) -> Self {
        Self(other.0.iter().copied().filter(|core| !self.0.contains(core)).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Acts on these cores only, as do threads and processes that are started meanwhile.
    ///
    /// # Errors
    /// The kernel refuses the cores.
    pub fn run<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        let before = sched_getaffinity(None)?;
        let mut set = CpuSet::new();
        self.0.iter().for_each(|&core| set.set(core));
        sched_setaffinity(None, &set)?;
        let _back = Restore(before);
        Ok(act())
    }

    fn of(mut cores: Vec<usize>) -> Self {
        cores.sort_unstable();
        cores.dedup();
        Self(cores)
    }
}

/// Gives the thread its cores back.
struct Restore(CpuSet);

impl Drop for Restore {
    fn drop(&mut self) {
        // They were its own before: at worst one has been taken out of use, and then the rest of a benchmark is on the others.
        let _ = sched_setaffinity(None, &self.0);
    }
}

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no list of cores, such as 0-3,8");
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(core) if core < CpuSet::MAX_CPU => Ok(core),
            Ok(core) => Err(format!("core {core} is beyond the last, {}", CpuSet::MAX_CPU - 1)),
            Err(_) => Err(wrong()),
        };
        let mut cores = Vec::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            cores.extend(first..=last);
        }
        Ok(Self::of(cores))
    }
}

impl fmt::Display for CoreList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &core in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == core => *last = core,
                _ => runs.push((core, core)),
            }
        }
        for (index, (first, last)) in runs.into_iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

/// The cores of a benchmark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cores {
    /// Of the clients and the generator.
    pub load: CoreList,
    /// Of the nodes.
    pub nodes: CoreList,
}

impl Cores {
    /// All of them; the floor is measured there.
    pub fn all(&self) -> CoreList {
        self.load.with(&self.nodes)
    }

    /// Those of one node, counted from 0: its own part where there is a core for each shard of each node, else all that nodes have.
    pub fn of_node(&self, node: usize, nodes: usize, shards: usize) -> CoreList {
        let cores = self.nodes.cores();
        if cores.len() < nodes * shards {
            return self.nodes.clone();
        }
        let part = cores.len() / nodes;
        CoreList(cores[node * part..(node + 1) * part].to_vec())
    }
}

impl FromStr for Cores {
    type Err = String;

    /// `LOAD:NODES`, or one list for both.
    fn from_str(text: &str) -> Result<Self, String> {
        let (load, nodes) = text.split_once(':').unwrap_or((text, text));
        let cores = Self { load: load.parse()?, nodes: nodes.parse()? };
        let allowed = CoreList::allowed().map_err(|error| error.to_string())?;
        let missing = allowed.lacks(&cores.all());
        if missing.is_empty() {
            Ok(cores)
        } else {
            Err(format!("this process may use the cores {allowed}, and not {missing}"))
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.load, self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> CoreList {
        text.parse().unwrap()
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(list("8,0-3,2").cores(), [0, 1, 2, 3, 8]);
        assert_eq!(list("8,0-3,2").to_string(), "0-3,8");
        assert_eq!(list("5\n").to_string(), "5");
        for wrong in ["", "a", "3-1", "1,,2", "-1", "99999"] {
            assert!(wrong.parse::<CoreList>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nodes_have_cores_of_their_own_where_there_are_enough() {
        let cores = Cores { load: list("0-1"), nodes: list("2-7") };
        assert_eq!([0, 1, 2].map(|node| cores.of_node(node, 3, 2).to_string()), ["2-3", "4-5", "6-7"]);
        assert_eq!(cores.of_node(1, 3, 3).to_string(), "2-7", "they share where there are not");
        assert_eq!(cores.of_node(1, 2, 1).to_string(), "5-7");
    }

    #[test]
    fn what_acts_on_cores_is_on_them_and_the_thread_comes_back() {
        let before = CoreList::allowed().unwrap();
        let last = CoreList(vec![*before.cores().last().unwrap()]);
        let inherited = last.run(|| std::thread::spawn(|| CoreList::allowed().unwrap()).join().unwrap()).unwrap();
        assert_eq!(inherited, last);
        assert_eq!(CoreList::allowed().unwrap(), before);
    }

    #[test]
    fn cores_that_are_not_there_are_named() {
        let error = "0:1023".parse::<Cores>().unwrap_err();
        assert!(error.contains("not 1023"), "{error}");
    }
}
