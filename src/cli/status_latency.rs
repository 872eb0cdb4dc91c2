//! `naxos status --latency`: where appends spend their time, on every node of a running cluster.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::args::Global;
use super::cluster_file::Session;
use super::interrupt::Interrupt;
use super::output;
use super::status::{Answer, answers, check_log, count, items, loglet_id, micros, short, silent};
use super::status_table::Table;
use crate::base::Stage;

/// Rows of one table.
const ROWS_MAX: usize = 60;
/// The parts of a LogServer's own store.
const STORE: [&str; 3] = ["batch_wait", "submit", "device"];

/// Options of `naxos status`.
#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// Show where appends spend their time instead: the stages on each node, how long LogServers take to answer, and the slowest
    /// appends
    #[arg(long)]
    pub(super) latency: bool,
    /// Of the next so many seconds alone [default: since each node's start]
    #[arg(long, value_name = "SECONDS", requires = "latency", value_parser = super::args::seconds)]
    pub(super) seconds: Option<f64>,
}

pub(super) fn run(global: &Global, seconds: Option<f64>) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    check_log(global, &session)?;
    let before = match seconds {
        Some(seconds) => {
            let interrupt = Interrupt::install()?;
            let before = answers(&session);
            interrupt.wait(Duration::from_secs_f64(seconds));
            interrupt.check()?;
            before
        }
        None => Vec::new(),
    };
    let after = answers(&session);
    let places = places(&before, &after);
    if global.json {
        let nodes: Vec<_> = places.iter().map(Place::to_json).collect();
        output::json(&json!({ "cluster": session.file.cluster, "seconds": seconds, "shards": nodes }))?;
    } else {
        output::text(render(&places, seconds))?;
    }
    silent(&after)
}

/// A distribution out of a status document: of a node's life, or of a part of it.
#[derive(Debug, Clone, PartialEq)]
struct Times {
    events: u64,
    sum_ns: u64,
    /// Upper bound, none for the last, and events.
    buckets: Vec<(Option<u64>, u64)>,
    /// Not known of a part.
    max_us: Option<f64>,
}

impl Times {
    fn of(value: &Value) -> Option<Self> {
        let bucket = |bucket: &Value| Some((bucket.get(0)?.as_u64(), bucket.get(1)?.as_u64()?));
        Some(Self {
            events: value["events"].as_u64()?,
            sum_ns: value["sum_ns"].as_u64()?,
            buckets: value["buckets_ns"].as_array()?.iter().map(bucket).collect::<Option<_>>()?,
            max_us: value["max_us"].as_f64(),
        })
    }

    /// What has been added since.
    fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        Self {
            events: self.events.saturating_sub(earlier.events),
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
            buckets: buckets.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then))).collect(),
            max_us: None,
        }
    }

    fn mean_us(&self) -> Option<f64> {
        (self.events > 0).then(|| self.sum_ns as f64 / self.events as f64 / 1e3)
    }

    /// An upper bound within a factor of 1.5.
    fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let rank = ((self.events as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.buckets.iter().find(|(_, events)| {
            below += events;
            below >= rank
        });
        let bound = bucket?.0.map(|bound| bound as f64 / 1e3);
        match (bound, self.max_us) {
            (Some(bound), Some(max)) => Some(bound.min(max)),
            (bound, max) => bound.or(max),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "events": self.events,
            "mean_us": self.mean_us(),
            "p50_us": self.quantile_us(0.5),
            "p99_us": self.quantile_us(0.99),
            "p999_us": self.quantile_us(0.999),
            "max_us": self.max_us,
        })
    }
}

/// A shard of a node.
struct Place {
    node: String,
    address: String,
    shard: u64,
    /// Whether it measures.
    enabled: bool,
    stages: Vec<(&'static str, Times)>,
    residence: Option<Times>,
    store: Vec<(&'static str, Times)>,
    /// Of each sequencer: loglet, node of the LogServer, times.
    answers: Vec<(String, String, Times)>,
    slowest: Vec<Value>,
}

fn places(before: &[Answer], after: &[Answer]) -> Vec<Place> {
    let mut places = Vec::new();
    for answer in after {
        let earlier = before.iter().find(|earlier| earlier.is_same_life(answer));
        for shard in answer.shards() {
            let then = earlier.and_then(|earlier| earlier.shards().find(|then| then["shard"] == shard["shard"]));
            places.push(Place::of(answer, shard, then, !before.is_empty()));
        }
    }
    places
}

impl Place {
    /// `then` is what the shard said before, if it is the same life of its node; without it everything is of the time since.
    fn of(answer: &Answer, shard: &Value, then: Option<&Value>, is_interval: bool) -> Self {
        let times = |path: &[&str]| {
            let at = |value: &Value| Times::of(path.iter().fold(value, |value, name| &value[*name]));
            let now = at(shard)?;
            Some(then.and_then(at).map_or(now.clone(), |then| now.since(&then)))
        };
        let profile = &shard["latency_profile"];
        let named = |path: &[&str], name: &'static str| Some((name, times(&[path, &[name]].concat())?));
        let mut answers = Vec::new();
        for sequencer in items(&shard["sequencers"]) {
            let before = then.into_iter().flat_map(|then| items(&then["sequencers"]));
            let before = before.into_iter().find(|before| before["loglet"] == sequencer["loglet"]);
            for (index, server) in items(&sequencer["log_servers"]).enumerate() {
                let Some(now) = Times::of(&server["answer_latency"]) else { continue };
                let then = before.and_then(|before| Times::of(&before["log_servers"][index]["answer_latency"]));
                let times = then.map_or(now.clone(), |then| now.since(&then));
                answers.push((
                    loglet_id(&sequencer["loglet"]),
                    server["node"].as_str().unwrap_or("?").to_owned(),
                    times,
                ));
            }
        }
        Self {
            node: answer.node.clone(),
            address: answer.address.clone(),
            shard: count(&shard["shard"]),
            enabled: profile.is_object(),
            stages: Stage::SERVER
                .iter()
                .filter_map(|stage| named(&["latency_profile", "stages"], stage.name()))
                .collect(),
            residence: times(&["latency_profile", "residence"]),
            store: STORE.iter().filter_map(|part| named(&["latency_profile", "store"], part)).collect(),
            answers,
            // Those of a minute or two, which may be older than the interval.
            slowest: if is_interval { Vec::new() } else { items(&profile["slowest"]).cloned().collect() },
        }
    }

    fn to_json(&self) -> Value {
        let all = |times: &[(&'static str, Times)]| -> Map<String, Value> {
            times.iter().map(|(name, times)| ((*name).to_owned(), times.to_json())).collect()
        };
        let answers = self.answers.iter().map(|(loglet, node, times)| {
            let mut times = times.to_json();
            times["loglet"] = json!(loglet);
            times["node"] = json!(node);
            times
        });
        json!({
            "node": self.node,
            "address": self.address,
            "shard": self.shard,
            "enabled": self.enabled,
            "stages": all(&self.stages),
            "residence": self.residence.as_ref().map(Times::to_json),
            "store": all(&self.store),
            "answers": answers.collect::<Vec<_>>(),
            "slowest": self.slowest,
        })
    }
}

fn render(places: &[Place], seconds: Option<f64>) -> String {
    let mut parts = vec![match seconds {
        Some(seconds) => format!("appends of {seconds} seconds"),
        None => "appends since each node's start".to_owned(),
    }];
    let off: Vec<_> = places.iter().filter(|place| !place.enabled).map(|place| short(&place.node)).collect();
    if !off.is_empty() {
        parts.push(format!("not measured, because `profile` is off, on node {}", off.join(", ")));
    }
    for table in [stages(places), stores(places), servers(places), slowest(places)] {
        if !table.is_empty() {
            parts.push(table.to_string());
        }
    }
    if parts.len() == 1 {
        parts.push("nothing was appended".to_owned());
    }
    parts.join("\n\n")
}

fn row(start: &[String], times: &Times, share: Option<f64>) -> Vec<String> {
    let value = |value: Option<f64>| micros(&json!(value));
    let rest = [
        times.events.to_string(),
        value(times.mean_us()),
        value(times.quantile_us(0.5)),
        value(times.quantile_us(0.99)),
        value(times.quantile_us(0.999)),
        value(times.max_us),
    ];
    let share = share.map(|share| if share.is_nan() { "-".to_owned() } else { format!("{:.0} %", share * 100.0) });
    start.iter().cloned().chain(rest).chain(share).collect()
}

/// What sequencers know of the appends.
fn stages(places: &[Place]) -> Table {
    let heading = ["SEQUENCED BY", "SHARD", "STAGE", "APPENDS", "MEAN", "p50", "p99", "p99.9", "MAX", "SHARE"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for place in places {
        let Some(residence) = place.residence.as_ref().filter(|residence| residence.events > 0) else { continue };
        let start = |name: &str| [short(&place.node).to_owned(), place.shard.to_string(), name.to_owned()];
        for (name, times) in &place.stages {
            table.row(row(&start(name), times, Some(times.sum_ns as f64 / residence.sum_ns as f64)));
        }
        table.row(row(&start("all of these"), residence, Some(1.0)));
    }
    table
}

/// What LogServers did with the units of their journals.
fn stores(places: &[Place]) -> Table {
    let heading = ["STORED BY", "SHARD", "PART", "UNITS", "MEAN", "p50", "p99", "p99.9", "MAX"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for place in places {
        for (name, times) in place.store.iter().filter(|(_, times)| times.events > 0) {
            let start = [short(&place.node).to_owned(), place.shard.to_string(), (*name).to_owned()];
            table.row(row(&start, times, None));
        }
    }
    table
}

/// How long sequencers have waited for each LogServer.
fn servers(places: &[Place]) -> Table {
    let heading = ["SEQUENCED BY", "LOGLET", "ANSWER OF", "TURNS", "MEAN", "p50", "p99", "p99.9", "MAX"];
    let mut table = Table::new(&heading, ROWS_MAX);
    for place in places {
        for (loglet, node, times) in place.answers.iter().filter(|(_, _, times)| times.events > 0) {
            table.row(row(&[short(&place.node).to_owned(), loglet.clone(), short(node).to_owned()], times, None));
        }
    }
    table
}

fn slowest(places: &[Place]) -> Table {
    let mut heading = vec!["SLOWEST ON", "AGO", "TOTAL"];
    heading.extend(Stage::SERVER.map(Stage::name));
    heading.push("LAST ANSWER");
    let mut table = Table::new(&heading, ROWS_MAX);
    let mut all: Vec<_> = places.iter().flat_map(|place| place.slowest.iter().map(move |slow| (place, slow))).collect();
    all.sort_by(|(_, left), (_, right)| {
        let total = |slow: &Value| slow["total_us"].as_f64().unwrap_or(0.0);
        total(right).total_cmp(&total(left))
    });
    for (place, slow) in all.into_iter().take(8) {
        let ago = format!("{:.1} s", count(&slow["ago_ms"]) as f64 / 1e3);
        let mut row = vec![short(&place.node).to_owned(), ago, micros(&slow["total_us"])];
        row.extend(Stage::SERVER.map(|stage| micros(&slow["stages_us"][stage.name()])));
        row.push(slow["last_node"].as_str().map_or("-", short).to_owned());
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(buckets: [u64; 3], sum_ns: u64, max_us: f64) -> Value {
        let bounds = [json!(1000), json!(2000), Value::Null];
        let buckets: Vec<_> = bounds.into_iter().zip(buckets).map(|(bound, events)| json!([bound, events])).collect();
        let events = buckets.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum::<u64>();
        json!({ "events": events, "sum_ns": sum_ns, "max_us": max_us, "buckets_ns": buckets })
    }

    fn answer(incarnation: &str, device: Value) -> Answer {
        let shard = json!({
            "shard": 0,
            "latency_profile": {
                "stages": { "device": device }, "residence": device, "store": { "device": device },
                "slowest": [{ "total_us": 9.0, "stages_us": { "device": 8.0 }, "last_node": "fedcba9876543210", "ago_ms": 1500 }]
            },
            "sequencers": [{
                "loglet": { "log": 1, "version": 1, "nonce": 2 },
                "log_servers": [{ "node": "fedcba9876543210", "answer_latency": device }]
            }]
        });
        Answer {
            node: "0123456789abcdef".to_owned(),
            address: "10.0.0.1:1".to_owned(),
            status: Ok(json!({ "incarnation": incarnation, "shards": [shard] })),
        }
    }

    #[test]
    fn quantiles_are_the_bounds_of_buckets_and_never_above_the_largest() {
        let all = Times::of(&times([50, 49, 1], 100_000, 7.5)).unwrap();
        assert_eq!((all.quantile_us(0.5), all.quantile_us(0.99)), (Some(1.0), Some(2.0)));
        assert_eq!(all.quantile_us(0.999), Some(7.5), "the last bucket has no bound");
        assert_eq!(all.mean_us(), Some(1.0));
        let later = Times::of(&times([50, 59, 1], 118_000, 7.5)).unwrap().since(&all);
        assert_eq!((later.events, later.mean_us(), later.quantile_us(0.5)), (10, Some(1.8), Some(2.0)));
        assert_eq!(later.max_us, None, "which of the two times it was in is not known");
        let none = all.since(&all);
        assert_eq!((none.mean_us(), none.quantile_us(0.5)), (None, None));
    }

    #[test]
    fn an_interval_is_what_was_added_within_one_life() {
        let before = answer("a", times([5, 5, 0], 15_000, 2.0));
        let events = |before: Answer, after: Answer| places(&[before], &[after])[0].residence.clone().unwrap().events;
        assert_eq!(events(before, answer("a", times([6, 7, 0], 20_000, 2.0))), 3);
        let before = answer("a", times([5, 5, 0], 15_000, 2.0));
        assert_eq!(events(before, answer("b", times([6, 7, 0], 20_000, 2.0))), 13, "the node has been started again");
    }

    #[test]
    fn tables_name_stages_nodes_and_who_was_last() {
        let text = render(&places(&[], &[answer("a", times([50, 49, 1], 100_000, 7.5))]), None);
        for words in ["since each node's start", "device", "all of these", "100 %", "fedcba98", "1.5 s", "8 us"] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        let quiet = places(&[], &[answer("a", times([0, 0, 0], 0, 0.0))]);
        let quiet: Vec<_> = quiet.into_iter().map(|place| Place { slowest: Vec::new(), ..place }).collect();
        assert!(render(&quiet, Some(2.0)).ends_with("nothing was appended"));
    }
}
