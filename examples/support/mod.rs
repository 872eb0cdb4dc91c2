//! What the examples run on: three nodes in this process, or, with `--cluster naxos-dev/cluster.json`, those of `naxos dev`.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use naxos::base::{ClusterId, Limits};
use naxos::client::{Client, ClientOptions, VirtualLog};
use naxos::node::{Node, NodeConfig};
use serde_json::Value;

/// A cluster to run an example on. Nodes that were started here end with it, and their data goes.
pub struct Home {
    addresses: Vec<SocketAddr>,
    _nodes: Vec<Node>,
    _directory: Option<tempfile::TempDir>,
}

impl Home {
    /// As the command line says.
    pub fn from_arguments() -> anyhow::Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Self::start(&std::env::current_dir()?),
            ["--cluster", file] => Self::of_file(Path::new(file)),
            _ => bail!("arguments: none, or --cluster FILE with the cluster file of `naxos dev`"),
        }
    }

    /// Three nodes in this process, which keep their data below this directory; it must be on a real disk.
    pub fn start(below: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("naxos-example-").tempdir_in(below)?;
        let cluster = ClusterId::random();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = Limits { segment_bytes: 8 << 20, segments_prepared: 2, ..Limits::default() };
        let start = |number: u32| {
            let config = NodeConfig::new(directory.path().join(format!("node-{number}")), any_port, cluster);
            Node::start(NodeConfig { shards: Some(1), limits: limits.clone(), ..config })
        };
        let nodes = (1..=3).map(start).collect::<Result<Vec<_>, _>>().context("cannot start the nodes")?;
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let client = Client::start(ClientOptions::default())?;
        client.begin_cluster(cluster, &addresses)?;
        client.cluster(&addresses)?.found()?;
        Ok(Self { addresses, _nodes: nodes, _directory: Some(directory) })
    }

    fn of_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Value = serde_json::from_slice(&text)?;
        let nodes = file["nodes"].as_array().context("a cluster file names nodes")?;
        let address =
            |node: &Value| node["address"].as_str().context("a node has an address")?.parse().context("address");
        let addresses = nodes.iter().map(address).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { addresses, _nodes: Vec::new(), _directory: None })
    }

    /// Where the nodes are.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A client of its own, as another process would have it, and on it the log of this name, which is made if there is none.
    pub fn log(&self, name: &str) -> anyhow::Result<(Client, VirtualLog)> {
        let client = Client::start(ClientOptions::default())?;
        let log = client.cluster(&self.addresses)?.open_or_create_log(name, 3)?;
        Ok((client, log))
    }
}
