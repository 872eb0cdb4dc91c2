//! A node as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use naxos::base::{ClusterId, Incarnation, LogletId, NodeId};
use naxos::wire::{LogletConfig, Member, Sequencer};
use serde_json::Value;

/// `naxos serve`, killed when it goes out of scope.
pub struct NodeProcess {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub address: SocketAddr,
    pub child: Child,
}

/// The program itself.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_naxos"))
}

/// Lets `command` serve a node of one shard. More options may follow.
pub fn serve(mut command: Command, cluster: ClusterId, directory: &Path, listen: SocketAddr) -> Command {
    command.args(["--json", "serve", "--no-pin", "--shards", "1", "--exit-with-parent", "--dir"]).arg(directory);
    command.args(["--cluster-id", &cluster.to_string(), "--listen", &listen.to_string()]);
    command
}

impl NodeProcess {
    /// Starts what [`serve`] has made, and waits until it is ready.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("a node says when it is ready");
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        let (node, incarnation) = (text("node").parse().unwrap(), text("incarnation").parse().unwrap());
        Self { node, incarnation, address: text("address").parse().unwrap(), child }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loglet over these nodes, sequenced by one of them.
pub fn loglet_over(nodes: &[&NodeProcess], sequencer: usize, nonce: u64) -> LogletConfig {
    let NodeProcess { node, incarnation, address, .. } = *nodes[sequencer];
    LogletConfig {
        id: LogletId { log: 1, version: 1, nonce },
        sequencer: Sequencer { node, incarnation, address },
        log_servers: nodes.iter().map(|node| Member { node: node.node, address: node.address }).collect(),
    }
}
