//! `naxos serve`: one node in the foreground.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::args::{Global, Serve};
use super::interrupt::Interrupt;
use super::{directory, orphan, output};
use crate::base::{ClusterId, Incarnation, Limits, NodeId};
use crate::node::{NodeConfig, serve};

/// The line that `serve --json` prints when the node is ready; a supervisor reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) address: std::net::SocketAddr,
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) pid: u32,
}

pub(super) fn run(global: &Global, options: &Serve) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    if options.exit_with_parent {
        orphan::follow_parent(interrupt.sender())?;
    }
    directory::prepare(&options.dir, options.allow_volatile)?;
    let config = NodeConfig {
        directory: options.dir.clone(),
        listen: options.listen,
        cluster: options.cluster_id,
        shards: options.shards.map(usize::from),
        pin: !options.no_pin,
        limits: Limits::default(),
        allow_volatile: options.allow_volatile,
        prepare_bytes: options.prepare_bytes,
        driver: options.driver.driver,
    };
    let running = serve(config).with_context(|| format!("cannot serve {}", options.dir.display()))?;
    let ready = Ready {
        address: running.address(),
        cluster: options.cluster_id,
        node: running.node(),
        incarnation: running.incarnation(),
        pid: std::process::id(),
    };
    if global.json {
        output::json(&ready)?;
    } else {
        output::text(format_args!("node {} serves {} on {}", ready.node, options.dir.display(), ready.address))?;
        if !ready.address.ip().is_loopback() {
            eprintln!("naxos: there is no TLS yet: everybody who reaches {} can read and write", ready.address);
        }
    }
    while !interrupt.wait(Duration::from_secs(1)) {
        // Without one of its shards a node would look alive and answer for a part of its loglets only.
        if running.has_failed() {
            bail!("a shard has ended by itself; the log above says why");
        }
    }
    running.stop();
    Ok(())
}
