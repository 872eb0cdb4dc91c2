//! Several logs on the nodes of one cluster that are loaded in turn, so that a drift of the machine falls on all of them.

use std::sync::Arc;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

use super::bench_paper::PaperOptions;
use super::bench_plan::plan;
use super::bench_rig::{Ran, Rig};
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::stripes;
use crate::base::quorum;
use crate::client::Stripes;
use crate::loadgen::counters::sum;
use crate::loadgen::explain::verification;
use crate::loadgen::generator::Plan;
use crate::loadgen::network::{Network, NetworkError};
use crate::loadgen::paired::Paired;
use crate::loadgen::report::{Latency, Report, Setup};
use crate::loadgen::verify::Verified;

/// Starts a cluster for these, and loads them in turn.
pub(super) fn measure(
    options: &PaperOptions,
    experiment: &str,
    subjects: &[Subject],
    interrupt: &Interrupt,
) -> anyhow::Result<(Vec<Row>, Ran)> {
    let nodes = subjects.iter().map(|subject| subject.nodes).max().context("there is something to measure")?;
    let load = options.load(nodes);
    let plan = plan(&load)?;
    // Before the threads of clients are started: they belong to the network then.
    let network = options.link_mbit.map(|rate| links(nodes, rate)).transpose()?;
    let progress = Progress::titled(interrupt, plan.warm_up + plan.measured, experiment.to_owned());
    let bytes = |floor: &_| options.journal_bytes(&plan, options.clients, floor);
    let rig = Rig::start_on(network, &load, bytes, &progress, interrupt);
    progress.clear();
    let rig = rig?;
    let turns = Turns { rig: &rig, plan: &plan, clients: options.clients, rounds: options.rounds, interrupt };
    let rows = turns.run(experiment, subjects)?;
    let ran = rig.ran(&plan);
    rig.stop()?;
    Ok((rows, ran))
}

/// A network in which each node has a link of so many megabits a second, and the clients have one without limit.
fn links(nodes: u16, megabits_per_s: u32) -> Result<Arc<Network>, NetworkError> {
    let network = Network::start(nodes)?;
    (0..nodes.into()).try_for_each(|machine| network.limit(machine, megabits_per_s))?;
    Ok(Arc::new(network))
}

/// Whether everything was read back, and what was wrong, in lines.
pub(super) fn remarks(rows: &[Row]) -> String {
    let mut all = Verified::default();
    rows.iter().for_each(|row| all.add(&row.verified));
    let mut lines = vec![verification(&all).trim_start().to_owned()];
    for row in rows {
        if let Some(error) = &row.first_error {
            lines.push(format!("{}: {} appends failed; the first: {error}", row.name, row.failed));
        }
        if let Some(times @ 1..) = row.ran_out_of_prepared {
            lines.push(format!(
                "{}: journals waited {times} times for prepared space, which was measured too",
                row.name
            ));
        }
        if !row.valid {
            lines.push(format!("{}: INVALID", row.name));
        }
    }
    lines.join("\n")
}

/// What is compared: a log with these stripes on the first nodes of the cluster, new in each round.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) stripes: Stripes,
    pub(super) nodes: u16,
}

/// How they are loaded.
struct Turns<'a> {
    rig: &'a Rig<'a>,
    plan: &'a Plan,
    clients: u32,
    rounds: u16,
    interrupt: &'a Interrupt,
}

/// What the rounds of one subject have come to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// `one`, `sharded` or `rotating`.
    pub(super) layout: &'static str,
    pub(super) stripes: usize,
    /// That store something.
    pub(super) nodes: u16,
    /// Of those of one stripe, how many make an append durable.
    pub(super) quorum: usize,
    /// Of those of one stripe, how many may be lost.
    pub(super) failure_threshold: usize,
    /// The median of the rounds.
    pub(super) appends_per_s: f64,
    pub(super) appends_per_s_rounds: Vec<f64>,
    /// Of all rounds together.
    pub(super) latency_us: Latency,
    /// The median of the rounds; null with one stripe.
    pub(super) filler_share: Option<f64>,
    /// Of the nodes that have sequencers, what each has sent to LogServers on other nodes for each append of the whole log.
    pub(super) sent_bytes_per_append: Vec<f64>,
    /// Times that a journal waited for prepared space.
    pub(super) ran_out_of_prepared: Option<u64>,
    pub(super) failed: u64,
    pub(super) first_error: Option<String>,
    pub(super) verified: Verified,
    pub(super) valid: bool,
}

impl Row {
    /// The ends of the rounds.
    pub(super) fn spread(&self) -> [f64; 2] {
        let rounds = self.appends_per_s_rounds.iter().copied();
        [rounds.clone().fold(f64::INFINITY, f64::min), rounds.fold(0.0, f64::max)]
    }

    /// The median, over the rounds, of the ratio to another subject in the same round.
    pub(super) fn ratio_to(&self, other: &Self) -> Paired {
        let rounds = self.appends_per_s_rounds.iter().zip(&other.appends_per_s_rounds);
        let ratios: Vec<f64> = rounds.map(|(own, other)| own / other).collect();
        Paired::of(&ratios).expect("there is a round").rounded()
    }

    /// Of the node that has sent most.
    pub(super) fn sent_bytes_most(&self) -> f64 {
        self.sent_bytes_per_append.iter().copied().fold(0.0, f64::max)
    }
}

/// What one subject has come to so far.
#[derive(Default)]
struct Course {
    rates: Vec<f64>,
    latency: Option<Histogram<u64>>,
    filler_shares: Vec<f64>,
    /// Of each node.
    sent_bytes: Vec<u64>,
    ran_out_of_prepared: Option<u64>,
    failed: u64,
    first_error: Option<String>,
    verified: Verified,
    is_invalid: bool,
}

impl Turns<'_> {
    /// Loads all of them in each round, the first one first and then last, and gives a row for each.
    fn run(&self, experiment: &str, subjects: &[Subject]) -> anyhow::Result<Vec<Row>> {
        let mut courses: Vec<Course> = subjects.iter().map(|_| Course::default()).collect();
        let all = subjects.len() * usize::from(self.rounds);
        let mut number = 0;
        for round in 0..self.rounds {
            let mut order: Vec<usize> = (0..subjects.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                number += 1;
                let title = format!("{experiment} {number}/{all} {}", subjects[index].name);
                let mut progress = Progress::titled(self.interrupt, self.plan.warm_up + self.plan.measured, title);
                let loaded = self.load(number as u64, &subjects[index], &mut courses[index], &mut progress);
                progress.clear();
                loaded.map_err(|error| self.rig.explain(error))?;
            }
        }
        Ok(subjects.iter().zip(courses).map(|(subject, course)| row(subject, course)).collect())
    }

    /// One load on a new log, which is given up afterwards: its space is used again.
    fn load(
        &self,
        number: u64,
        subject: &Subject,
        course: &mut Course,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<()> {
        self.interrupt.check()?;
        let Self { rig, plan, clients, .. } = *self;
        let nodes = &rig.cluster().ready()[..subject.nodes.into()];
        let target = rig.create_log_on(nodes, subject.stripes, number)?;
        let before = self.sent_bytes()?;
        let measured = rig.load(&target, plan, clients, progress)?;
        let sent = self.sent_bytes()?.into_iter().zip(before).map(|(now, then)| now - then);
        let setup = Setup { stripes: subject.stripes.count, clients: clients as usize, ..rig.setup.clone() };
        let report = Report::new(&setup, plan, &measured, rig.floor, rig.machine.clone());
        course.add(&report, &measured.generated.latency, sent.collect());
        let log = rig.client.open(&target.loglet, target.cluster);
        let tail = log.check_tail().context("the tail of a log that was loaded")?.tail;
        log.trim(tail).context("trim a log that was read back")?;
        Ok(())
    }

    /// Of each node: what it has sent to LogServers on others.
    fn sent_bytes(&self) -> anyhow::Result<Vec<u64>> {
        let of_node = |status: &Value| {
            let shards = status["shards"].as_array().context("a status has shards")?.iter();
            let sent = shards.map(|shard| sum(&shard["network"]["opened"], "sent_bytes"));
            sent.sum::<Option<u64>>().context("a node does not say how much it has sent")
        };
        self.rig.statuses()?.iter().map(of_node).collect()
    }
}

impl Course {
    fn add(&mut self, report: &Report, latency: &Histogram<u64>, sent_bytes: Vec<u64>) {
        self.rates.push(report.appends_per_s);
        match &mut self.latency {
            Some(sum) => sum.add(latency).expect("all have the same bounds"),
            None => self.latency = Some(latency.clone()),
        }
        self.filler_shares.extend(report.fillers.map(|fillers| fillers.share_of_bytes));
        self.sent_bytes.resize(sent_bytes.len(), 0);
        self.sent_bytes.iter_mut().zip(sent_bytes).for_each(|(sum, sent)| *sum += sent);
        if let Some(times) = report.ran_out_of_prepared {
            *self.ran_out_of_prepared.get_or_insert(0) += times;
        }
        self.failed += report.failed;
        self.first_error = self.first_error.take().or_else(|| report.first_error.clone());
        self.verified.add(&report.verified);
        self.is_invalid |= !report.valid;
    }
}

fn row(subject: &Subject, course: Course) -> Row {
    let Subject { name, stripes, nodes } = subject.clone();
    let copies = stripes::copies(stripes, nodes.into());
    // Of each stripe's nodes the first sequences, or they take turns.
    let sequences = |node: usize| match stripes.sharded {
        true => node.is_multiple_of(copies),
        false => node < stripes.count,
    };
    let acked = course.verified.acked.max(1) as f64;
    let sent = course.sent_bytes.iter().enumerate().take(nodes.into()).filter(|(node, _)| sequences(*node));
    let rates = Paired::of(&course.rates).expect("there is a round");
    Row {
        name,
        layout: match stripes {
            Stripes { count: 1, .. } => "one",
            Stripes { sharded: true, .. } => "sharded",
            Stripes { sharded: false, .. } => "rotating",
        },
        stripes: stripes.count,
        nodes,
        quorum: quorum(copies),
        failure_threshold: copies - quorum(copies),
        appends_per_s: rates.median,
        latency_us: Latency::of(&course.latency.expect("there is a round")),
        filler_share: Paired::of(&course.filler_shares).map(|share| (share.median * 1e4).round() / 1e4),
        sent_bytes_per_append: sent.map(|(_, &bytes)| (bytes as f64 / acked * 10.0).round() / 10.0).collect(),
        ran_out_of_prepared: course.ran_out_of_prepared,
        failed: course.failed,
        first_error: course.first_error,
        valid: !course.is_invalid && course.verified.holds(),
        verified: course.verified,
        appends_per_s_rounds: course.rates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(rates: &[f64], sent_bytes: &[u64], acked: u64) -> Course {
        let mut latency = Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap();
        latency.record(1000).unwrap();
        let verified = Verified { acked, read_back: acked, ..Verified::default() };
        Course {
            latency: Some(latency),
            rates: rates.to_vec(),
            sent_bytes: sent_bytes.to_vec(),
            verified,
            ..Course::default()
        }
    }

    fn subject(count: usize, sharded: bool, nodes: u16) -> Subject {
        Subject { name: "x".to_owned(), stripes: Stripes { count, sharded }, nodes }
    }

    #[test]
    fn what_is_sent_counts_where_there_are_sequencers() {
        let sent = [90, 20, 30, 60, 50, 10, 70];
        let of = |subject: &Subject| row(subject, course(&[1.0], &sent, 10)).sent_bytes_per_append;
        assert_eq!(of(&subject(1, false, 3)), [9.0]);
        assert_eq!(of(&subject(2, true, 6)), [9.0, 6.0]);
        assert_eq!(of(&subject(2, false, 3)), [9.0, 2.0]);
        assert_eq!(of(&subject(8, false, 3)), [9.0, 2.0, 3.0], "several stripes of one node are one sender");
        assert_eq!(row(&subject(8, false, 3), course(&[1.0], &sent, 10)).sent_bytes_most(), 9.0);
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let one = row(&subject(1, false, 3), course(&[100.0, 200.0, 400.0], &[0], 1));
        let two = row(&subject(2, true, 6), course(&[150.0, 400.0, 300.0], &[0], 1));
        assert_eq!((two.appends_per_s, two.spread()), (300.0, [150.0, 400.0]));
        assert_eq!(two.ratio_to(&one).median, 1.5, "of 1.5, 2 and 0.75");
        assert_eq!((two.quorum, two.failure_threshold, two.layout, one.layout), (2, 1, "sharded", "one"));
    }

    #[test]
    fn one_round_that_is_not_valid_makes_the_row_so() {
        let sound = course(&[1.0], &[0], 1);
        assert!(row(&subject(1, false, 3), sound).valid);
        assert!(!row(&subject(1, false, 3), Course { is_invalid: true, ..course(&[1.0], &[0], 1) }).valid);
        let mut lost = course(&[1.0], &[0], 1);
        lost.verified.missing = 1;
        assert!(!row(&subject(1, false, 3), lost).valid);
    }
}
