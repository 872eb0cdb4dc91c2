//! `naxos serve`: one node in the foreground.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::args::{Global, Serve};
use super::config::Settings;
use super::entry::{Entering, Entry};
use super::interrupt::Interrupt;
use super::{directory, exit, notify, orphan, output};
use crate::base::{ClusterId, Incarnation, NodeId};
use crate::node::{AdminListener, ControlOptions, DeviceOptions, Node, NodeConfig};

/// The line that `serve --json` prints when the node is ready; a supervisor reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) address: SocketAddr,
    /// The admin endpoint, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<SocketAddr>,
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) pid: u32,
}

/// The defaults, changed by the file, changed by the flags.
fn settings(options: &Serve) -> anyhow::Result<Settings> {
    let mut settings = match &options.config {
        Some(path) => Settings::load(path)?,
        None => Settings::default(),
    };
    settings.dir = options.dir.clone().or(settings.dir);
    settings.device = options.device.clone().or(settings.device);
    settings.cluster_id = options.cluster_id.or(settings.cluster_id);
    settings.bootstrap_expect = options.bootstrap_expect.or(settings.bootstrap_expect);
    settings.zone = options.zone.clone().or(settings.zone);
    settings.metastore = options.metastore.clone().or(settings.metastore);
    for (flag, value) in [(&options.join, &mut settings.join), (&options.peers, &mut settings.peers)] {
        if !flag.is_empty() {
            value.clone_from(flag);
        }
    }
    settings.listen = options.listen.unwrap_or(settings.listen);
    settings.admin = options.admin.or(settings.admin);
    settings.shards = options.shards.or(settings.shards);
    settings.pin &= !options.no_pin;
    settings.limits.profile &= !options.no_profile;
    settings.limits.lanes = options.lanes.unwrap_or(settings.limits.lanes);
    settings.driver = options.driver.unwrap_or(settings.driver);
    settings.control &= !options.no_control;
    settings.allow_volatile |= options.allow_volatile;
    settings.prepare_bytes = options.prepare_bytes.or(settings.prepare_bytes);
    Ok(settings)
}

fn missing(flag: &str, key: &str) -> anyhow::Error {
    let text = format!("{flag} is needed, or `{key}` under [node] in the file of --config; see `naxos serve --help`");
    exit::coded(exit::USAGE, text)
}

pub(super) fn run(global: &Global, options: &Serve) -> anyhow::Result<()> {
    let settings = settings(options)?;
    if options.print_config {
        return match global.json {
            true => output::json(&settings.to_json()),
            false => output::text(settings.to_toml().trim_end()),
        };
    }
    let dir = settings.dir.clone().ok_or_else(|| missing("--dir", "dir"))?;
    if options.destroy && settings.device.is_none() {
        return Err(missing("--destroy is about a device: --device", "device"));
    }
    let mut entry = Entry::from_settings(&settings)?;
    if settings.cluster_id.is_none() && entry.as_ref().is_none_or(Entry::needs_cluster_id) {
        return Err(missing("--cluster-id", "cluster_id"));
    }
    let interrupt = Interrupt::install()?;
    if options.exit_with_parent {
        orphan::follow_parent(interrupt.sender())?;
    }
    // Before anything is touched: a node that nobody can watch would be found out too late.
    let bind = |address| {
        AdminListener::bind(address).with_context(|| format!("cannot listen on {address} for the admin endpoint"))
    };
    let admin = settings.admin.map(bind).transpose()?;
    if let Some(entry) = &mut entry {
        entry.prepare(&dir, settings.allow_volatile)?;
    }
    directory::prepare(&dir, settings.allow_volatile)?;
    let cluster = match &entry {
        Some(entry) => entry.cluster_id(&dir, settings.cluster_id, &interrupt)?,
        None => settings.cluster_id,
    };
    // None: it was asked to end before anybody has answered.
    let Some(cluster) = cluster else { return Ok(()) };
    let config = NodeConfig {
        directory: dir.clone(),
        device: settings.device.clone().map(|path| DeviceOptions { path, destroy: options.destroy }),
        listen: settings.listen,
        cluster,
        shards: settings.shards.map(usize::from),
        pin: settings.pin,
        limits: settings.limits,
        allow_volatile: settings.allow_volatile,
        prepare_bytes: settings.prepare_bytes,
        driver: settings.driver,
        control: settings.control.then(|| ControlOptions { scaling: settings.scaling, ..ControlOptions::default() }),
    };
    let running = Node::start(config).with_context(|| format!("cannot serve {}", dir.display()))?;
    let admin = admin.map(|listener| listener.start(running.reporter())).transpose().context("the admin endpoint")?;
    let entering = entry.map(|entry| entry.start(&running, cluster)).transpose()?;
    let ready = Ready {
        address: running.address(),
        admin: admin.as_ref().map(|admin| admin.address()),
        cluster,
        node: running.node(),
        incarnation: running.incarnation(),
        pid: std::process::id(),
    };
    if global.json {
        output::json(&ready)?;
    } else {
        output::text(format_args!("node {} serves {} on {}", ready.node, dir.display(), ready.address))?;
        if let Some(admin) = ready.admin {
            output::text(format_args!("admin endpoint: http://{admin}/metrics, /status and /healthz"))?;
        }
        warn_of_strangers(&ready);
    }
    notify::tell(&format!("READY=1\nSTATUS=node {} serves on {}\n", ready.node, ready.address));
    while !interrupt.wait(Duration::from_secs(1)) {
        // Without one of its shards a node would look alive and answer for a part of its loglets only.
        if running.has_failed() {
            bail!("a shard has ended by itself; the log above says why");
        }
        entering.as_ref().map_or(Ok(()), Entering::check)?;
    }
    notify::tell("STOPPING=1\n");
    drop(admin);
    running.stop();
    Ok(())
}

fn warn_of_strangers(ready: &Ready) {
    if !ready.address.ip().is_loopback() {
        output::note(format_args!("there is no TLS yet: everybody who reaches {} can read and write", ready.address));
    }
    if let Some(admin) = ready.admin.filter(|admin| !admin.ip().is_loopback()) {
        let what = "the admin endpoint has no authentication";
        output::note(format_args!("{what}: everybody who reaches {admin} can see the status"));
    }
}
