//! The cluster of a benchmark: child processes, or nodes in this one.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::bench_rig::on;
use super::directory::Scratch;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::serve::Ready;
use super::supervisor::{NodeOptions, Supervisor};
use crate::base::{ClusterId, Limits};
use crate::client::Collocated;
use crate::loadgen::network::Network;
use crate::node::{Node, NodeConfig};

/// Running nodes, whichever way.
pub(super) struct BenchCluster {
    id: ClusterId,
    ready: Vec<Ready>,
    nodes: Nodes,
}

enum Nodes {
    Children(RefCell<Supervisor>),
    Here(Vec<Node>),
}

impl BenchCluster {
    pub(super) fn start(
        options: &Load,
        scratch: &Scratch,
        prepare_bytes: u64,
        network: Option<Arc<Network>>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let id = ClusterId::random();
        if options.in_process {
            return Self::start_here(id, options, scratch, prepare_bytes);
        }
        let supervisor = Supervisor::start(
            &NodeOptions {
                directory: scratch.path(),
                cluster: id,
                nodes: options.site.nodes,
                shards: options.shards,
                allow_volatile: scratch.volatile,
                prepare_bytes: Some(prepare_bytes),
                driver: options.site.driver.driver,
                profile: !options.no_profile,
                lanes: options.lanes,
                listen: &[],
                network,
                cores: options.cores.as_ref(),
            },
            interrupt,
        )?;
        Ok(Self { id, ready: supervisor.ready().cloned().collect(), nodes: Nodes::Children(RefCell::new(supervisor)) })
    }

    fn start_here(id: ClusterId, options: &Load, scratch: &Scratch, prepare_bytes: u64) -> anyhow::Result<Self> {
        let start = |index: u16| {
            let config = NodeConfig {
                directory: scratch.path().join(format!("node-{index}")),
                device: None,
                listen: ([127, 0, 0, 1], 0).into(),
                cluster: id,
                shards: Some(options.shards.into()),
                pin: false,
                limits: Limits { profile: !options.no_profile, lanes: options.lanes, ..Limits::default() },
                allow_volatile: scratch.volatile,
                prepare_bytes: Some(prepare_bytes),
                driver: options.site.driver.driver,
                control: None,
            };
            let cores = options.cores.as_ref();
            let cores = cores
                .map(|cores| cores.of_node(usize::from(index) - 1, options.site.nodes.into(), options.shards.into()));
            on(cores, || Node::start(config))?.with_context(|| format!("cannot start node {index}"))
        };
        let running = (1..=options.site.nodes).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let ready = |node: &Node| Ready {
            admin: None,
            address: node.address(),
            cluster: id,
            node: node.node(),
            incarnation: node.incarnation(),
            pid: std::process::id(),
        };
        Ok(Self { id, ready: running.iter().map(ready).collect(), nodes: Nodes::Here(running) })
    }

    pub(super) fn id(&self) -> ClusterId {
        self.id
    }

    pub(super) fn ready(&self) -> &[Ready] {
        &self.ready
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.ready.iter().map(|ready| ready.address).collect()
    }

    /// Processes of their own; none when the nodes run in this one.
    pub(super) fn pids(&self) -> Vec<u32> {
        match &self.nodes {
            Nodes::Children(supervisor) => supervisor.borrow().pids(),
            Nodes::Here(_) => Vec::new(),
        }
    }

    /// For clients in the process of a node, counted from 0; none when it has one of its own.
    pub(super) fn collocated(&self, index: usize) -> Option<Collocated> {
        match &self.nodes {
            Nodes::Children(_) => None,
            Nodes::Here(running) => Some(running[index].collocated()),
        }
    }

    /// Kills the process of a node, counted from 0.
    pub(super) fn kill(&self, index: usize) -> anyhow::Result<()> {
        self.children()?.borrow_mut().kill(index)
    }

    /// Starts it again.
    pub(super) fn restart(&self, index: usize, interrupt: &Interrupt) -> anyhow::Result<()> {
        self.children()?.borrow_mut().restart(index, interrupt)
    }

    /// Stops a node without ending it.
    pub(super) fn pause(&self, index: usize) -> anyhow::Result<()> {
        self.children()?.borrow().pause(index);
        Ok(())
    }

    /// Lets it go on.
    pub(super) fn resume(&self, index: usize) -> anyhow::Result<()> {
        self.children()?.borrow().resume(index);
        Ok(())
    }

    fn children(&self) -> anyhow::Result<&RefCell<Supervisor>> {
        match &self.nodes {
            Nodes::Children(supervisor) => Ok(supervisor),
            Nodes::Here(_) => Err(anyhow!("nodes in this process cannot be killed")),
        }
    }

    /// Puts the end of a node's log before an error that it probably caused.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let Nodes::Children(supervisor) = &self.nodes else { return error };
        match supervisor.borrow_mut().failures() {
            Ok(failures) if !failures.is_empty() => error.context(anyhow!(failures.join("\n"))),
            _ => error,
        }
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        match self.nodes {
            Nodes::Children(supervisor) => supervisor.into_inner().stop(),
            Nodes::Here(running) => {
                running.into_iter().for_each(Node::stop);
                Ok(())
            }
        }
    }
}
