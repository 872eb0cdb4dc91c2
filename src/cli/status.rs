//! `naxos status`: what is wrong first, then what is where.

mod names;

use serde_json::{Value, json};

use self::names::{Names, start_names};
use super::args::Global;
use super::cluster_file::{NodeEntry, Session};
use super::status_latency::{self, StatusOptions};
use super::status_table::Table;
use super::{exit, output};
use crate::base::LogletId;
use crate::client::{ClusterError, OpError};
use crate::loadgen::explain::counted;

/// Rows of one table; a terminal shows about as many.
const ROWS_MAX: usize = 40;

/// One node's answer.
pub(super) struct Answer {
    pub(super) node: String,
    pub(super) address: String,
    pub(super) status: Result<Value, OpError>,
}

/// Asks every node; fails with "unavailable" after the report when one does not answer.
pub(super) fn run(global: &Global, options: &StatusOptions) -> anyhow::Result<()> {
    if options.latency {
        return status_latency::run(global, options.seconds);
    }
    let session = Session::open(global)?;
    check_log(global, &session)?;
    let names = start_names(&session);
    let answers = answers(&session);
    let names = Names::gather(&names);
    let file = &session.file;
    if global.json {
        let nodes: Vec<_> = answers.iter().map(Answer::to_json).collect();
        output::json(&json!({
            "cluster": file.cluster, "default_log": file.default_log, "logs": names.sorted(),
            "problems": problems(&answers, &names), "nodes": nodes
        }))?;
    } else {
        let mark = |name: &str| if name == file.default_log { format!("{name} (default)") } else { name.to_owned() };
        let logs: Vec<_> = names.sorted().into_iter().map(mark).collect();
        output::text(render(&answers, &names))?;
        output::text(format_args!("\ncluster {}, logs: {}", file.cluster, logs.join(", ")))?;
    }
    silent(&answers)
}

/// Refuses a log that there is none of, as far as the root register can be read: what is shown are all of them.
pub(super) fn check_log(global: &Global, session: &Session) -> anyhow::Result<()> {
    let Some(name) = &global.log else { return Ok(()) };
    match session.cluster().ok().and_then(|cluster| cluster.root().ok()) {
        Some(root) => Ok(root.log(name).map(drop).map_err(ClusterError::from)?),
        None => Ok(()),
    }
}

/// Asks every node, all at once.
pub(super) fn answers(session: &Session) -> Vec<Answer> {
    let statuses = session.client.statuses(&session.file.addresses());
    let answer = |(entry, status): (&NodeEntry, Result<Value, OpError>)| Answer {
        node: entry.node.to_string(),
        address: entry.address.to_string(),
        status,
    };
    session.file.nodes.iter().zip(statuses).map(answer).collect()
}

/// Fails with "unavailable" when a node has not answered.
pub(super) fn silent(answers: &[Answer]) -> anyhow::Result<()> {
    let (unreadable, silent): (Vec<_>, Vec<_>) = answers
        .iter()
        .filter_map(|answer| answer.status.as_ref().err())
        .partition(|error| matches!(error, OpError::Unreadable { .. }));
    let of = counted(answers.len(), "node");
    match (silent.len(), unreadable.len()) {
        (0, 0) => Ok(()),
        (0, unreadable) => {
            Err(exit::coded(exit::FAILURE, format!("the answers of {unreadable} of {of} cannot be read")))
        }
        (silent, _) => {
            let does = if silent == 1 { "does" } else { "do" };
            Err(exit::coded(exit::UNAVAILABLE, format!("{silent} of {of} {does} not answer")))
        }
    }
}

impl Answer {
    fn to_json(&self) -> Value {
        let (node, address) = (&self.node, &self.address);
        match &self.status {
            Ok(status) => json!({ "node": node, "address": address, "up": true, "status": status }),
            Err(error) => {
                let is_up = matches!(error, OpError::Unreadable { .. });
                json!({ "node": node, "address": address, "up": is_up, "error": error.to_string() })
            }
        }
    }

    fn name(&self) -> String {
        format!("node {} at {}", short(&self.node), self.address)
    }

    /// Whether the other one is of the same node, not started again in between.
    pub(super) fn is_same_life(&self, other: &Self) -> bool {
        let life = |answer: &Self| answer.status.as_ref().map(|status| status["incarnation"].clone()).ok();
        self.node == other.node && life(self).is_some() && life(self) == life(other)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = &Value> {
        self.status.iter().flat_map(|status| items(&status["shards"]))
    }
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Enough of an identity to tell a cluster's nodes apart.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

pub(super) fn loglet_id(value: &Value) -> String {
    serde_json::from_value::<LogletId>(value.clone()).map_or_else(|_| value.to_string(), |id| id.to_string())
}

/// One line for each thing that is wrong, and what it means. The worst first.
fn problems(answers: &[Answer], names: &Names) -> Vec<String> {
    let mut found: Vec<(u8, String)> = Vec::new();
    for answer in answers {
        if let Err(error) = &answer.status {
            found.push((
                0,
                match error {
                    OpError::Unavailable { reason } => format!("{} does not answer: {reason}", answer.name()),
                    OpError::Unreadable { .. } => format!("{} is there, and {error}", answer.name()),
                    _ => format!("{} does not answer: {error}", answer.name()),
                },
            ));
        }
        for shard in answer.shards() {
            let place = format!("{} shard {}", answer.name(), shard["shard"]);
            shard_problems(shard, &place, names, &mut found);
        }
    }
    // Stable, so that one node's lines stay together.
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, line)| line).collect()
}

fn shard_problems(shard: &Value, place: &str, names: &Names, found: &mut Vec<(u8, String)>) {
    if shard["responsive"] == false {
        found.push((0, format!("{place} does not answer")));
        return;
    }
    let journal = &shard["journal"];
    if let Some(failure) = journal["failure"].as_str() {
        found.push((1, format!("{place}: the journal has failed, nothing more is acknowledged there: {failure}")));
    }
    let damage = items(&journal["damage"]).count();
    if damage > 0 {
        let what = "found at the start; what is missing is copied from other nodes";
        found.push((3, format!("{place}: {} in the journal, {what}", counted(damage, "damaged place"))));
    }
    if journal["no_space"] == true {
        let what = "no disk space is left and records are refused, until a trim or free space on the disk";
        found.push((1, format!("{place}: {what}")));
    } else if journal["state"] == "open" && count(&journal["prepared_bytes"]) <= 2 * count(&journal["segment_bytes"]) {
        let failures = count(&journal["counters"]["prepare_failures"]);
        if failures > 0 {
            let what = "no segment can be prepared and only the reserve is left: records will be refused here. Is the disk full?";
            found.push((1, format!("{place}: {what}")));
        }
    }
    for loglet in items(&shard["loglets"]) {
        let name = names.title(&loglet["id"]);
        if loglet["catching_up"] == true {
            let what = "is being copied from other nodes after damage, and does not count for a majority";
            found.push((3, format!("{place}: loglet {name} {what}")));
        }
        if count(&loglet["missing"]) > 0 {
            let (missing, gaps) = (&loglet["missing"], &loglet["gaps"]);
            let what = format!("{} in {} below its tail", counted(missing, "record"), counted(gaps, "gap"));
            found.push((4, format!("{place}: loglet {name} lacks {what}")));
        }
    }
    for sequencer in items(&shard["sequencers"]) {
        let name = names.title(&sequencer["loglet"]);
        if let Some(reason) = sequencer["lost_because"].as_str() {
            found.push((
                2,
                format!("{place}: the sequencer of {name} has given up, the loglet takes nothing: {reason}"),
            ));
        }
        if sequencer["no_space"] == true {
            found.push((1, format!("{place}: appends to {name} are refused: no majority has disk space left")));
        }
        // A majority takes a moment for every append; a second is no such moment.
        if let (Some(blocked @ 1000..), Some(reason)) =
            (sequencer["blocked_ms"].as_u64(), sequencer["blocked_because"].as_str())
        {
            let since = blocked as f64 / 1e3;
            found.push((2, format!("{place}: appends to {name} have been blocked for {since:.1} s: {reason}")));
        }
        if sequencer["state"] == "running" {
            for server in items(&sequencer["log_servers"]).filter(|server| server["connected"] == false) {
                let node = server["node"].as_str().map_or("?", short);
                let behind = counted(&server["behind"], "record");
                let what = format!("is not connected to the LogServer on node {node}, which is {behind} behind");
                found.push((4, format!("{place}: the sequencer of {name} {what}")));
            }
        }
    }
}

/// Everything but the cluster's name. `names` are the logs by loglet.
fn render(answers: &[Answer], names: &Names) -> String {
    let problems = problems(answers, names);
    let mut parts = Vec::new();
    match problems.len() {
        0 => parts.push("no problem found".to_owned()),
        1 => parts.push(format!("PROBLEM: {}", problems[0])),
        many => parts.push(format!("{many} PROBLEMS\n  {}", problems.join("\n  "))),
    }
    for table in [nodes(answers), loglets(answers, names), sequencers(answers, names)] {
        if !table.is_empty() {
            parts.push(table.to_string());
        }
    }
    parts.join("\n\n")
}

fn nodes(answers: &[Answer]) -> Table {
    let heading =
        ["NODE", "ADDRESS", "SHARD", "STATE", "DRIVER", "CONNECTIONS", "WRITE p50", "p99", "SEGMENTS", "PREPARED"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for answer in answers {
        let start = || vec![short(&answer.node).to_owned(), answer.address.clone()];
        if let Err(error) = &answer.status {
            let state = if matches!(error, OpError::Unreadable { .. }) { "UNREADABLE" } else { "DOWN" };
            table.row([start(), vec!["-".to_owned(), state.to_owned()], vec!["-".to_owned(); 6]].concat());
        }
        for shard in answer.shards() {
            let journal = &shard["journal"];
            let state = match (&shard["responsive"], journal["state"].as_str()) {
                (Value::Bool(false), _) => "SILENT",
                (_, Some("poisoned")) => "POISONED",
                _ if journal["no_space"] == true => "NO SPACE",
                (_, other) => other.unwrap_or("?"),
            };
            let latency = &journal["write_latency"];
            let rest = [
                shard["shard"].to_string(),
                state.to_owned(),
                shard["driver"].as_str().unwrap_or("-").to_owned(),
                count(&shard["connections"]).to_string(),
                micros(&latency["p50_us"]),
                micros(&latency["p99_us"]),
                count(&journal["counters"]["segments_in_use"]).to_string(),
                size(count(&journal["prepared_bytes"])),
            ];
            table.row([start(), rest.into()].concat());
        }
    }
    table
}

fn loglets(answers: &[Answer], names: &Names) -> Table {
    let heading = ["LOGLET", "NODE", "STATE", "TAIL", "KNOWN TAIL", "TRIMMED TO", "MISSING", "STORED", "SUBSCRIBERS"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for answer in answers {
        for loglet in answer.shards().flat_map(|shard| items(&shard["loglets"])) {
            let state = match (&loglet["catching_up"], &loglet["sealed"]) {
                (Value::Bool(true), _) => "CATCHING UP",
                (_, Value::Bool(true)) => "sealed",
                _ => "open",
            };
            table.row(vec![
                names.title(&loglet["id"]),
                short(&answer.node).to_owned(),
                state.to_owned(),
                count(&loglet["local_tail"]).to_string(),
                count(&loglet["known_tail"]).to_string(),
                count(&loglet["trim_point"]).to_string(),
                count(&loglet["missing"]).to_string(),
                size(count(&loglet["stored_bytes"])),
                count(&loglet["subscriptions"]).to_string(),
            ]);
        }
    }
    table
}

fn sequencers(answers: &[Answer], names: &Names) -> Table {
    let heading = ["SEQUENCER OF", "NODE", "STATE", "TAIL", "WATERMARK", "WAITING", "QUEUED", "APPEND p50", "p99"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for answer in answers {
        let all = answer.shards().flat_map(|shard| items(&shard["sequencers"]).map(move |it| (&shard["shard"], it)));
        for (shard, sequencer) in all {
            let mut title = names.title(&sequencer["loglet"]);
            if count(&sequencer["lanes"]) > 1 {
                title.push_str(&format!(", lane of shard {shard}"));
            }
            let state = match (sequencer["state"].as_str(), sequencer["blocked_ms"].as_u64()) {
                _ if sequencer["no_space"] == true => "NO SPACE",
                (_, Some(1000..)) => "BLOCKED",
                (Some("lost"), _) => "LOST",
                (state, _) => state.unwrap_or("?"),
            };
            let latency = &sequencer["append_latency"];
            table.row(vec![
                title,
                short(&answer.node).to_owned(),
                state.to_owned(),
                count(&sequencer["tail"]).to_string(),
                count(&sequencer["known_tail"]).to_string(),
                count(&sequencer["outstanding_appends"]).to_string(),
                size(count(&sequencer["queue_bytes"])),
                micros(&latency["p50_us"]),
                micros(&latency["p99_us"]),
            ]);
        }
    }
    table
}

pub(super) fn micros(value: &Value) -> String {
    match value.as_f64() {
        Some(micros) if micros >= 10_000.0 => format!("{:.0} ms", micros / 1e3),
        Some(micros) => format!("{micros:.0} us"),
        None => "-".to_owned(),
    }
}

fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / factor as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(shard: Value) -> Answer {
        let status = Ok(json!({ "shards": [shard] }));
        Answer { node: "0123456789abcdef".to_owned(), address: "10.0.0.1:1".to_owned(), status }
    }

    fn down() -> Answer {
        Answer {
            node: "ff".to_owned(),
            address: "10.0.0.2:1".to_owned(),
            status: Err(OpError::Unavailable { reason: "timed out".to_owned() }),
        }
    }

    fn well() -> Value {
        json!({ "shard": 0, "responsive": true, "connections": 2, "driver": "uring", "journal": {
            "state": "open", "failure": null, "damage": [], "prepared_bytes": 1u64 << 28, "segment_bytes": 1u64 << 26,
            "counters": { "prepare_failures": 0, "segments_in_use": 1 }, "write_latency": { "p50_us": 61.4, "p99_us": null }
        }, "loglets": [], "sequencers": [] })
    }

    fn problems(answers: &[Answer]) -> Vec<String> {
        super::problems(answers, &Names::default())
    }

    #[test]
    fn a_loglet_in_trouble_is_named_with_its_log() {
        let mut ill = well();
        let id = LogletId { log: 7, version: 2, nonce: 3 };
        ill["loglets"] = json!([{ "id": id, "missing": 4, "gaps": 1 }]);
        ill["sequencers"] = json!([{ "loglet": id, "lost_because": "EIO" }]);
        let names = Names { logs: [(7, "orders".to_owned())].into(), ..Names::default() };
        let found = super::problems(&[up(ill)], &names);
        let named = format!("orders {id}");
        assert!(found.len() == 2 && found.iter().all(|line| line.contains(&named)), "{found:?}");
    }

    #[test]
    fn a_well_cluster_has_no_problem() {
        let text = render(&[up(well())], &Names::default());
        assert!(text.starts_with("no problem found\n"), "{text}");
        assert!(
            text.contains("01234567  10.0.0.1:1") && text.contains("61 us") && text.contains("256.0 MiB"),
            "{text}"
        );
    }

    #[test]
    fn the_worst_comes_first_and_says_what_it_means() {
        let mut ill = well();
        let id = json!({ "log": 1, "version": 1, "nonce": 10 });
        ill["journal"]["state"] = json!("poisoned");
        ill["journal"]["failure"] = json!("write failed: EIO");
        ill["journal"]["damage"] = json!([{}, {}]);
        ill["loglets"] = json!([{ "id": id, "missing": 5, "gaps": 1, "catching_up": true }]);
        ill["sequencers"] = json!([{
            "loglet": id, "state": "running", "blocked_ms": 2500, "blocked_because": "nobody answers",
            "log_servers": [{ "connected": false, "node": "ff", "behind": 1 }]
        }]);
        let found = problems(&[up(ill), down()]);
        let expected = [
            "does not answer: timed out",
            "the journal has failed",
            "blocked for 2.5 s: nobody answers",
            "2 damaged places",
            "being copied",
            "lacks 5 records in 1 gap below",
            "1 record behind",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, words) in found.iter().zip(expected) {
            assert!(line.contains(words), "{words}: {found:#?}");
        }
    }

    #[test]
    fn a_disk_without_room_is_told_before_appends_end_for_it() {
        let mut full = well();
        full["journal"]["counters"]["prepare_failures"] = json!(3);
        assert_eq!(problems(&[up(full.clone())]).len(), 0, "there are prepared segments left");
        full["journal"]["prepared_bytes"] = json!(2u64 << 26);
        assert!(problems(&[up(full.clone())])[0].contains("disk full"));
        full["journal"]["no_space"] = json!(true);
        full["sequencers"] = json!([{ "loglet": {}, "state": "running", "no_space": true }]);
        let found = problems(&[up(full.clone())]);
        assert!(
            found[0].contains("records are refused") && found[1].contains("no majority has disk space"),
            "{found:#?}"
        );
        assert_eq!(render(&[up(full)], &Names::default()).matches("NO SPACE").count(), 2);
    }

    #[test]
    fn a_silent_shard_and_a_moment_of_waiting_are_told_apart() {
        assert!(problems(&[up(json!({ "shard": 0, "responsive": false }))])[0].contains("does not answer"));
        let mut waiting = well();
        waiting["sequencers"] = json!([{ "loglet": {}, "state": "running", "blocked_ms": 3, "blocked_because": "x" }]);
        assert_eq!(problems(&[up(waiting)]), [] as [String; 0]);
    }
}
