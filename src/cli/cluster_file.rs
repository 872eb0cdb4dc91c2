//! The cluster file: where to look for a cluster. Everything else is in the cluster's own MetaStore.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::args::Global;
use super::exit;
use crate::base::{ClusterId, Limits, NodeId};
use crate::client::{Client, ClientOptions, Cluster, VirtualLog, shown_name};
use crate::io::DriverChoice;

pub(super) const FILE_NAME: &str = "cluster.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterFile {
    pub(super) cluster: ClusterId,
    /// The log that commands mean when they name none.
    pub(super) default_log: String,
    pub(super) nodes: Vec<NodeEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeEntry {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
    /// Of the process that serves it, for people who look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
}

impl ClusterFile {
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).map_err(|error| {
            exit::coded(
                exit::USAGE,
                format!(
                    "cannot read the cluster file {}: {error}; start a cluster with `naxos dev`, or name its file with \
                     --cluster",
                    path.display()
                ),
            )
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| exit::coded(exit::USAGE, format!("{} is no cluster file: {error}", path.display())))
    }

    /// Replaces the file as a whole, so that no reader sees half of it.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let temporary = path.with_extension("json.tmp");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, path))
            .with_context(|| format!("cannot write the cluster file {}", path.display()))
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }
}

/// The file that the arguments, the environment or the habit name.
pub(super) fn path(global: &Global) -> PathBuf {
    let named = global.cluster.clone().or_else(|| std::env::var_os("NAXOS_CLUSTER").map(PathBuf::from));
    let path = named.unwrap_or_else(|| PathBuf::from("naxos-dev"));
    if path.is_dir() || path == Path::new("naxos-dev") { path.join(FILE_NAME) } else { path }
}

/// A client of the cluster that the arguments name.
pub(super) struct Session {
    pub(super) file: ClusterFile,
    pub(super) client: Client,
}

/// A log, by the name that it was asked for with.
pub(super) struct NamedLog {
    pub(super) name: String,
    pub(super) log: VirtualLog,
    /// The log ends with its client.
    pub(super) session: Session,
}

impl Session {
    pub(super) fn open(global: &Global) -> anyhow::Result<Self> {
        let file = ClusterFile::load(&path(global))?;
        let client = start_client(global, DriverChoice::Auto)?;
        Ok(Self { file, client })
    }

    pub(super) fn cluster(&self) -> anyhow::Result<Cluster> {
        self.client.cluster(&self.file.addresses()).context("cannot find the cluster")
    }
}

impl NamedLog {
    /// The log that the arguments mean.
    pub(super) fn open(global: &Global) -> anyhow::Result<Self> {
        Self::named(global, global.log.as_deref())
    }

    /// The log of this name, or the default one.
    pub(super) fn named(global: &Global, name: Option<&str>) -> anyhow::Result<Self> {
        let session = Session::open(global)?;
        let name = name.unwrap_or(&session.file.default_log).to_owned();
        let log = session.cluster()?.open_log(&name).with_context(|| format!("open `{}`", shown_name(&name)))?;
        Ok(Self { name, log, session })
    }
}

/// A client with the time limit of the arguments.
pub(super) fn start_client(global: &Global, driver: DriverChoice) -> anyhow::Result<Client> {
    let limits = Limits { operation_timeout: Duration::from_secs_f64(global.timeout), ..Limits::default() };
    Client::start(ClientOptions { limits, driver, ..ClientOptions::default() }).context("cannot start the client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_file_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let file = ClusterFile {
            cluster: ClusterId(5),
            default_log: "main".to_owned(),
            nodes: vec![NodeEntry { node: NodeId(1), address: "127.0.0.1:1".parse().unwrap(), pid: Some(3) }],
        };
        file.save(&path).unwrap();
        assert_eq!(ClusterFile::load(&path).unwrap(), file);
    }
}
