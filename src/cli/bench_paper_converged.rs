//! `naxos bench paper converged`: clients in the processes of the nodes, against clients outside, under appends and reads at the tail.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use super::bench_paper::{COPIES, Figure, PaperOptions, differences, listed};
use super::bench_plan::plan;
use super::bench_rig::Rig;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::progress::Progress;
use super::status_table::Table;
use crate::client::{Client, ClientOptions, Stripes};
use crate::loadgen::bars::{self, Bar, Panel};
use crate::loadgen::counters::sum;
use crate::loadgen::cpu::processes_time;
use crate::loadgen::explain::{bytes, count, micros};
use crate::loadgen::generator::Plan;
use crate::loadgen::paired::Paired;
use crate::loadgen::report::Latency;
use crate::loadgen::tail::{Delivered, Tailed};
use crate::loadgen::tails;

pub(super) const NAME: &str = "converged";
const CLAIM: &str = "a log can be served by the processes of its clients, or by nodes apart from them; no number of the publication is quoted";

/// The length of a bar, its spread, and what is written beside it.
type Measure = (f64, Option<[f64; 2]>, String);

/// One of the two: a cluster, and a client for each node.
struct Side<'a> {
    name: &'static str,
    rig: Rig<'a>,
    clients: Vec<Client>,
}

/// What the rounds of one side have come to so far.
#[derive(Default)]
struct Course {
    rates: Vec<f64>,
    /// Of the appends, and of the deliveries, both from the beginning of the append.
    latencies: Option<[Histogram<u64>; 2]>,
    network_bytes: u64,
    cpu: Duration,
    verified: Delivered,
    failed: u64,
    first_error: Option<String>,
    is_invalid: bool,
}

/// What it has come to in the end.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    /// That took part.
    processes: usize,
    nodes: u16,
    clients: usize,
    /// Over all clients, the median of the rounds. As many are read.
    appends_per_s: f64,
    appends_per_s_rounds: Vec<f64>,
    /// From the beginning of an append to its acknowledgement, of all rounds together.
    append_us: Latency,
    /// From the beginning of an append to its delivery to the client's own subscription.
    after_append_us: Latency,
    /// Over TCP, among nodes and clients, for each append.
    network_bytes_per_append: f64,
    /// Of all processes, the load included.
    cpu_ns_per_append: f64,
    failed: u64,
    first_error: Option<String>,
    verified: Delivered,
    valid: bool,
}

impl Row {
    fn spread(&self) -> [f64; 2] {
        let rounds = self.appends_per_s_rounds.iter().copied();
        [rounds.clone().fold(f64::INFINITY, f64::min), rounds.fold(0.0, f64::max)]
    }
}

pub(super) fn run(options: &PaperOptions, interrupt: &Interrupt) -> anyhow::Result<Figure> {
    let apart = options.load(COPIES);
    let within = Load { in_process: true, ..apart.clone() };
    let plan = plan(&apart)?;
    let sides = [
        Side::start("converged", &within, options, &plan, interrupt)?,
        Side::start("disaggregated", &apart, options, &plan, interrupt)?,
    ];
    let mut courses = [Course::default(), Course::default()];
    let all = 2 * options.rounds;
    for turn in 0..all {
        // In the order 0, 1, 1, 0, and so on: a drift of the machine falls on both alike.
        let index = usize::from(turn % 4 == 1 || turn % 4 == 2);
        let title = format!("{NAME} {}/{all} {}", turn + 1, sides[index].name);
        let mut progress = Progress::titled(interrupt, plan.warm_up + plan.measured, title);
        let loaded = sides[index].load(turn.into(), &plan, &mut courses[index], &mut progress);
        progress.clear();
        loaded.map_err(|error| sides[index].rig.explain(error))?;
    }
    let rows: Vec<Row> = sides.iter().zip(courses).map(|(side, course)| side.row(course)).collect();
    let ran = sides[1].rig.ran(&plan);
    for Side { rig, clients, .. } in sides {
        drop(clients);
        rig.stop()?;
    }
    let notes = differences(
        options,
        &ran,
        &[
            "Converged: nodes and clients are threads of one process, and a client reaches the sequencer and the LogServer of its node through \
             memory. Disaggregated: each node is a process, the clients are in another, and all of that goes over TCP.",
            "Clients that are disaggregated have no machines of their own here: they take the processors from the nodes, so that what \
             disaggregation is for, to scale the two apart, cannot be seen.",
        ],
    );
    let valid = rows.iter().all(|row| row.valid);
    let ratio = ratio(&rows);
    let found = json!({
        "claim": CLAIM,
        "published": null,
        "clients": COPIES,
        "rows": rows,
        "appends_ratio": ratio.median,
        "appends_ratio_ci95": ratio.ci95,
        "differs": notes,
    });
    Ok(Figure {
        name: NAME,
        report: Figure::report(NAME, options, &ran, found, valid)?,
        text: text(options, &rows, &notes),
        svg: svg(options, &rows, &notes),
        valid,
    })
}

/// Of the appends of the first row to those of the second, round by round.
fn ratio(rows: &[Row]) -> Paired {
    let rounds = rows[0].appends_per_s_rounds.iter().zip(&rows[1].appends_per_s_rounds);
    let ratios: Vec<f64> = rounds.map(|(converged, apart)| converged / apart).collect();
    Paired::of(&ratios).expect("there is a round").rounded()
}

impl<'a> Side<'a> {
    fn start(
        name: &'static str,
        load: &'a Load,
        options: &PaperOptions,
        plan: &Plan,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let progress = Progress::titled(interrupt, plan.warm_up + plan.measured, name.to_owned());
        let bytes = |floor: &_| options.journal_bytes(plan, COPIES.into(), floor);
        let rig = Rig::start(load, bytes, &progress, interrupt);
        progress.clear();
        let rig = rig?;
        let client = |index| {
            let options = ClientOptions {
                driver: rig.driver(),
                collocated: rig.cluster().collocated(index),
                ..ClientOptions::default()
            };
            Client::start(options).context("cannot start a client")
        };
        let clients = (0..COPIES.into()).map(client).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { name, rig, clients })
    }

    /// A new log for each client, sequenced by its node and stored on all, which it appends to and follows; given up afterwards, so
    /// that its space is used again.
    fn load(&self, turn: u64, plan: &Plan, course: &mut Course, progress: &mut Progress<'_>) -> anyhow::Result<()> {
        let (mut logs, mut used) = (Vec::new(), Vec::new());
        for (index, client) in self.clients.iter().enumerate() {
            let mut nodes = self.rig.cluster().ready().to_vec();
            nodes.rotate_left(index);
            let number = 1 + turn * self.clients.len() as u64 + index as u64;
            let target = self.rig.create_log_on(&nodes, Stripes::ONE, number)?;
            let open = || client.open(&target.loglet, target.cluster);
            logs.push((open(), open()));
            used.push(open());
        }
        let before = (self.network_bytes()?, self.cpu()?);
        let tailed = tails::run(logs, plan, progress)?;
        course.add(plan, &tailed, self.network_bytes()? - before.0, self.cpu()?.saturating_sub(before.1));
        for log in used {
            let tail = log.check_tail().context("the tail of a log that was loaded")?.tail;
            log.trim(tail).context("trim a log that was followed to its end")?;
        }
        Ok(())
    }

    /// What all nodes have received and sent over the connections that others have opened to them, from outside of their process: whatever
    /// goes over the network is on one of these.
    fn network_bytes(&self) -> anyhow::Result<u64> {
        let of_shard = |shard: &Value| {
            let both = |of| {
                let traffic = &shard["network"][of];
                Some(sum(traffic, "received_bytes")? + sum(traffic, "sent_bytes")?)
            };
            Some(both("accepted")? - both("local")?)
        };
        let statuses = self.rig.statuses()?;
        let shards = statuses.iter().flat_map(|status| status["shards"].as_array().into_iter().flatten());
        shards.map(of_shard).sum::<Option<u64>>().context("a node does not say how much it has sent and received")
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let pids = [vec![std::process::id()], self.rig.cluster().pids()].concat();
        processes_time(&pids).context("the processor time of the nodes cannot be read")
    }

    fn row(&self, course: Course) -> Row {
        let acked = course.verified.acked.max(1) as f64;
        let [append, after_append] = course.latencies.expect("there is a round");
        Row {
            name: self.name,
            processes: self.rig.setup.processes,
            nodes: COPIES,
            clients: self.clients.len(),
            appends_per_s: Paired::of(&course.rates).expect("there is a round").rounded().median,
            appends_per_s_rounds: course.rates,
            append_us: Latency::of(&append),
            after_append_us: Latency::of(&after_append),
            network_bytes_per_append: (course.network_bytes as f64 / acked * 10.0).round() / 10.0,
            cpu_ns_per_append: (course.cpu.as_nanos() as f64 / acked).round(),
            failed: course.failed,
            first_error: course.first_error,
            verified: course.verified,
            valid: !course.is_invalid,
        }
    }
}

impl Course {
    fn add(&mut self, plan: &Plan, tailed: &[Tailed], network_bytes: u64, cpu: Duration) {
        let appended: u64 = tailed.iter().map(|tailed| tailed.append.len()).sum();
        self.rates.push((appended as f64 / plan.measured.as_secs_f64()).round());
        for tailed in tailed {
            let of_log = [&tailed.append, &tailed.after_append];
            match &mut self.latencies {
                Some(sums) => {
                    let pairs = sums.iter_mut().zip(of_log);
                    pairs.for_each(|(sum, of_log)| sum.add(of_log).expect("all have the same bounds"));
                }
                None => self.latencies = Some(of_log.map(Clone::clone)),
            }
            self.verified.acked += tailed.verified.acked;
            self.verified.delivered += tailed.verified.delivered;
            self.verified.missing += tailed.verified.missing;
            self.verified.wrong += tailed.verified.wrong;
            self.failed += tailed.failed;
            self.first_error = self.first_error.take().or_else(|| tailed.first_error.clone());
            self.is_invalid |= !tailed.is_sound();
        }
        self.network_bytes += network_bytes;
        self.cpu += cpu;
    }
}

fn text(options: &PaperOptions, rows: &[Row], notes: &[String]) -> String {
    let heading = [
        "CLIENTS",
        "PROCESSES",
        "APPENDS/S",
        "LEAST",
        "MOST",
        "p50",
        "p99",
        "READ p50",
        "READ p99",
        "NETWORK/APPEND",
        "CPU/APPEND",
    ];
    let mut table = Table::new(&heading, rows.len());
    for row in rows {
        let [least, most] = row.spread();
        let latencies =
            [row.append_us.p50, row.append_us.p99, row.after_append_us.p50, row.after_append_us.p99].map(micros);
        let start =
            [row.name.to_owned(), row.processes.to_string(), count(row.appends_per_s), count(least), count(most)];
        let end = [bytes(row.network_bytes_per_append), format!("{:.0} ns", row.cpu_ns_per_append)];
        table.row([&start[..], &latencies, &end].concat());
    }
    let mut lines = vec![format!(
        "converged: {COPIES} clients, each appends {} B records to a log of its node and reads them at the tail, medians of {} rounds\n\n{table}\n\n\
         converged over disaggregated: x {}; READ is from the beginning of an append to its delivery\n\
         published: {CLAIM}\n{}",
        options.record_bytes,
        options.rounds,
        ratio(rows).median,
        listed(notes)
    )];
    for row in rows {
        let Delivered { acked, delivered, missing, wrong } = row.verified;
        lines.push(match row.verified.holds() {
            true => format!("{}: all {acked} acknowledged records were delivered once, in order and equal", row.name),
            false => format!(
                "{}: VERIFICATION FAILED: {acked} acknowledged, {delivered} delivered, {missing} missing, {wrong} not what or where they \
                 should be",
                row.name
            ),
        });
        if let Some(error) = &row.first_error {
            lines.push(format!("{}: {} appends failed; the first: {error}", row.name, row.failed));
        }
        if !row.valid {
            lines.push(format!("{}: INVALID", row.name));
        }
    }
    lines.join("\n")
}

fn svg(options: &PaperOptions, rows: &[Row], notes: &[String]) -> String {
    let panel = |heading: String, bar: &dyn Fn(&Row) -> Measure| Panel {
        heading,
        bars: rows
            .iter()
            .map(|row| {
                let (value, spread, number) = bar(row);
                let colour = if row.name == NAME { "#3d9970" } else { "#4a5568" };
                Bar { label: row.name.to_owned(), value, spread, number, colour }
            })
            .collect(),
    };
    let latency =
        |latency: &Latency| (latency.p50, None, format!("p50 {}, p99 {}", micros(latency.p50), micros(latency.p99)));
    let panels = [
        panel(
            format!(
                "appends/s, each read at the tail: medians of {} rounds, and the least and the most",
                options.rounds
            ),
            &|row| (row.appends_per_s, Some(row.spread()), format!("{}/s", count(row.appends_per_s))),
        ),
        panel("from the beginning of an append to its acknowledgement, p50".to_owned(), &|row| latency(&row.append_us)),
        panel("from the beginning of an append to its delivery to the same client, p50".to_owned(), &|row| {
            latency(&row.after_append_us)
        }),
        panel("over TCP for each append".to_owned(), &|row| {
            (row.network_bytes_per_append, None, bytes(row.network_bytes_per_append))
        }),
        panel("processor time for each append, of everything".to_owned(), &|row| {
            (row.cpu_ns_per_append, None, format!("{:.0} ns", row.cpu_ns_per_append))
        }),
    ];
    let title =
        format!("Converged and disaggregated: {COPIES} nodes, {COPIES} clients, {} B records", options.record_bytes);
    bars::svg(&title, &panels, notes)
}
