//! `naxos why`: what blocks a log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::args::{Global, OneLog};
use super::cluster_file::Session;
use super::diagnosis::{Blocks, Facts, Finding, Untold, findings};
use super::{exit, output};
use crate::base::NodeId;
use crate::client::{Chain, ClusterError, OpError, Root};
use crate::wire::Sequencer;

pub(super) fn run(global: &Global, options: &OneLog) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let name = options.name(global)?.unwrap_or(&session.file.default_log);
    let (found, scaling) = look(&session, name)?;
    report(global, name, &found, scaling.as_deref())
}

/// What is wrong, and what control has decided about the log's stripes, if it may.
fn look(session: &Session, name: &str) -> anyhow::Result<(Vec<Finding>, Option<String>)> {
    let cluster = session.cluster()?;
    let majority = "a majority of these members has to answer; who has the log open goes on only while the last loglet's sequencer and a majority of its LogServers \
                    are there";
    let unread = |what: &str, error: OpError| {
        Ok((vec![Finding::new(Blocks::Everything, format!("{what} cannot be read: {error}"), majority)], None))
    };
    let root = match cluster.root() {
        Ok(root) => root,
        Err(ClusterError::Op(error)) => return unread("the list of nodes and logs", error),
        Err(error) => return Err(error.into()),
    };
    root.log(name).map_err(ClusterError::from)?;
    match cluster.open_log(name)?.chain() {
        Ok(chain) => {
            let statuses = ask(session, &chain, &root);
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_unix_ms = now.map_or(0, |now| now.as_millis() as u64);
            let scaling = scaling(name, &statuses);
            Ok((findings(&Facts { chain: &chain, root: &root, statuses, now_unix_ms }), scaling))
        }
        Err(error) => unread("the chain", error),
    }
}

/// Asks every node that the chain names, where the list of nodes has it now.
fn ask(session: &Session, chain: &Chain, root: &Root) -> BTreeMap<NodeId, Result<Value, Untold>> {
    let stored_on = chain.segments.iter().flat_map(|segment| segment.loglet.log_servers());
    // One that listens nowhere would be waited for in vain.
    let sequencers = chain.last().loglet.sequencers().filter(Sequencer::listens).map(|sequencer| sequencer.member());
    let named = stored_on.chain(sequencers).map(|member| (member.node, member.address));
    let named: BTreeMap<NodeId, SocketAddr> = named.collect();
    let now_at = |node: NodeId, address| root.node(node).map_or(address, |found| found.member.address);
    let addresses: Vec<SocketAddr> = named.iter().map(|(node, address)| now_at(*node, *address)).collect();
    let told = |(node, answer): (&NodeId, Result<Value, OpError>)| {
        let answer = match answer {
            Ok(status) if status["node"] != json!(node) => {
                Err(Untold::Silent("another node is at its address".to_owned()))
            }
            Ok(status) => Ok(status),
            Err(OpError::Unavailable { reason }) => Err(Untold::Silent(reason)),
            Err(OpError::Unreadable { reason }) => Err(Untold::Unreadable(reason)),
            Err(error) => Err(Untold::Silent(error.to_string())),
        };
        (*node, answer)
    };
    named.keys().zip(session.client.statuses(&addresses)).map(told).collect()
}

/// As the first of the nodes has decided: it acts, as long as it can.
fn scaling(name: &str, statuses: &BTreeMap<NodeId, Result<Value, Untold>>) -> Option<String> {
    let told = |status: &Value| Some(status["shards"][0]["scaling"][name].as_str()?.to_owned());
    statuses.values().flatten().find_map(told)
}

fn report(global: &Global, name: &str, found: &[Finding], scaling: Option<&str>) -> anyhow::Result<()> {
    let is_blocked = |what: Blocks| found.iter().any(|finding| [what, Blocks::Everything].contains(&finding.blocks));
    let (appends, reads) = (is_blocked(Blocks::Appends), is_blocked(Blocks::Reads));
    if global.json {
        output::json(&json!({
            "log": name, "appends_blocked": appends, "reads_blocked": reads, "findings": found, "scaling": scaling,
        }))?;
    } else {
        if found.is_empty() {
            output::text(format_args!("nothing blocks log `{name}`"))?;
        }
        for finding in found {
            output::text(line(finding))?;
        }
        if let Some(scaling) = scaling {
            output::text(format_args!("scaling: {scaling}"))?;
        }
    }
    let what = match (appends, reads) {
        (false, false) => return Ok(()),
        (true, false) => "appends",
        (false, true) => "reads of a part",
        (true, true) => "appends and reads",
    };
    Err(exit::coded(exit::BLOCKED, format!("{what} of log `{name}` are blocked")))
}

fn line(finding: &Finding) -> String {
    let blocks = match finding.blocks {
        Blocks::Everything => "EVERYTHING BLOCKED",
        Blocks::Appends => "APPENDS BLOCKED",
        Blocks::Reads => "READS BLOCKED",
        Blocks::Nothing => "blocks nothing now",
    };
    let since = finding.since_ms.map_or_else(String::new, |ms| format!(" (for {:.1} s)", ms as f64 / 1e3));
    format!("{blocks}: {}{since}; remedy: {}", finding.cause, finding.remedy)
}
