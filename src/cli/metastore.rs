//! Where the registers of a cluster are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;

use super::{directory, exit};
use crate::client::RegisterFiles;
use crate::node::NodeFacts;

/// What `--metastore` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MetaStoreChoice {
    /// By the nodes themselves.
    Paxos,
    /// In files of this directory, for a cluster of one node.
    Files(PathBuf),
}

impl FromStr for MetaStoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "paxos" => Ok(Self::Paxos),
            Some(("file", "")) => Err("`file:` names no directory".to_owned()),
            Some(("file", directory)) => Ok(Self::Files(directory.into())),
            _ => Err(format!("`{text}` is no MetaStore: write paxos, or file:DIR")),
        }
    }
}

impl fmt::Display for MetaStoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paxos => f.write_str("paxos"),
            Self::Files(directory) => write!(f, "file:{}", directory.display()),
        }
    }
}

/// The full name of a directory for registers, which is made if need be, beside a node's data directory, which may not exist yet.
pub(super) fn prepare(registers: &Path, data: &Path, allow_volatile: bool) -> anyhow::Result<String> {
    let refuse = |text: String| exit::coded(exit::USAGE, text);
    let facts = NodeFacts::read(data).with_context(|| format!("cannot serve {}", data.display()))?;
    let is_same = || Some(registers.canonicalize().ok()? == data.canonicalize().ok()?);
    if std::path::absolute(registers)? == std::path::absolute(data)? || is_same() == Some(true) {
        return Err(refuse(format!("{} is the node's own: name another directory for the registers", data.display())));
    }
    directory::prepare(registers, allow_volatile)?;
    let full = RegisterFiles::check(registers, facts.map(|facts| facts.cluster));
    let full = full.map_err(|error| refuse(format!("cannot keep registers in {}: {error}", registers.display())))?;
    full.into_os_string().into_string().map_err(|name| refuse(format!("{} is not UTF-8", name.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_as_it_is_written() {
        for text in ["paxos", "file:/var/lib/x", "file:a:b"] {
            assert_eq!(text.parse::<MetaStoreChoice>().unwrap().to_string(), text);
        }
        for wrong in ["", "file", "file:", "etcd:host", "Paxos", "paxos:3"] {
            let why = wrong.parse::<MetaStoreChoice>().unwrap_err();
            assert!(why.contains(wrong), "{why}");
        }
    }
}
