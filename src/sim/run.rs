//! One run: a seed, a profile, and everything that follows from them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::branches::{Branch, Coverage};
use super::cluster::{Cluster, node_address};
use super::faults::world_config;
use super::limits::{Room, drawn_limits, with_chain};
use super::observer::{Observer, SharedObserver};
use super::plan::Plan;
use super::profile::{Profile, Weights};
use super::workload::Workload;
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Rng};
use crate::history::{self, History, Moment};
use crate::wire::LogletConfig;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What goes wrong.
    pub profile: Profile,
    /// Operations of all clients together.
    pub ops: u64,
    /// Nodes; an odd number of at least 3 tolerates the most.
    pub nodes: usize,
    /// Whether to keep a readable log of everything that happens.
    pub trace: bool,
    /// A rule to be broken, to see whether that is noticed; only in builds with the feature `mutants`.
    pub mutant: Option<Mutant>,
}

impl Default for Options {
    fn default() -> Self {
        Self { profile: Profile::Chaos, ops: 200, nodes: 3, trace: false, mutant: None }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Operations of clients.
    pub ops: u64,
    /// Appends acknowledged.
    pub acked: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// The branches taken.
    pub coverage: Coverage,
    /// Invariants violated, and how.
    pub violations: Vec<(&'static str, String)>,
    /// Time in the simulated world.
    pub virtual_time: Duration,
    /// The readable log, if it was asked for. Its last line is a checksum over everything that disks and the network were asked and
    /// answered.
    pub trace: Option<String>,
}

/// The largest records of a run: mostly small ones, and now and then such that segments roll often.
const RECORD_BYTES: [usize; 4] = [64, 700, 700, 4000];

/// Nodes of a cluster whose log is reconfigured, beside those that it begins with.
const SPARES_MAX: usize = 2;

/// A run under way: the cluster, what goes wrong with it, and what has been seen. What its clients do is the [`Workload`]'s.
pub(super) struct Run {
    pub(super) options: Options,
    pub(super) weights: Weights,
    pub(super) cluster: Cluster,
    pub(super) history: History,
    pub(super) observer: SharedObserver,
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) issued: u64,
    pub(super) record_bytes_max: usize,
    pub(super) room: Room,
    pub(super) is_healed: bool,
    /// The lives of the nodes that have been looked at after their recovery.
    pub(super) looked_at: Vec<u64>,
    /// The nodes that have found anything unreadable or damaged.
    pub(super) was_damaged: Vec<bool>,
    counts: BTreeMap<&'static str, u64>,
    moments: Moment,
}

/// Runs one seed to its end. An assertion that fails on the way is the violation `no-panic`.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let options = &Options { profile: options.profile.of_seed(seed), ..options.clone() };
    let observer = Rc::new(RefCell::new(Observer::new(options.trace)));
    let shared = observer.clone();
    mutants::select(options.mutant);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let (mut run, mut log) = Run::begin(seed, options, shared);
        run.live(&mut *log);
        log.converge(&mut run);
        log.conclude(&mut run);
        run.into_outcome()
    }));
    mutants::select(None);
    result.unwrap_or_else(|panic| {
        let detail = panic.downcast_ref::<String>().cloned();
        let detail = detail.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        // The panic may have come while the observer was in use.
        let (coverage, trace) = match observer.try_borrow_mut() {
            Ok(mut observer) => (std::mem::take(&mut observer.coverage), observer.take_trace()),
            Err(_) => (Coverage::default(), None),
        };
        Outcome {
            ops: 0,
            acked: 0,
            faults: BTreeMap::new(),
            coverage,
            violations: vec![("no-panic", detail.unwrap_or_else(|| "something panicked without a text".to_owned()))],
            virtual_time: Duration::ZERO,
            trace,
        }
    })
}

impl Run {
    /// The nodes recover and the log comes to be. Nothing goes wrong yet.
    fn begin(seed: u64, options: &Options, observer: SharedObserver) -> (Self, Box<dyn Workload>) {
        let mut rng = Rng::with_seed(seed);
        let (limits, room) = drawn_limits(&mut rng, options.ops);
        let clients = rng.usize(2..=3);
        let config = world_config(&mut rng);
        let plan = Plan::new(&mut rng, options.nodes);
        let is_reconfigured = options.profile.has_chains();
        let limits = if is_reconfigured { with_chain(limits, options.ops) } else { limits };
        // Others than the log's first nodes may serve it later.
        let spares = if is_reconfigured { rng.usize(..=SPARES_MAX) } else { 0 };
        let weights = options.profile.draw_weights(&mut rng);
        let cluster = Cluster::begin(rng.u64(..), limits, config, options.nodes + spares, clients);
        let tap = observer.clone();
        cluster.world.set_tap(move |seen| tap.borrow_mut().saw(seen));
        for node in 0..cluster.nodes() {
            observer.borrow_mut().name(node_address(node), cluster.node_id(node));
        }
        let mut run = Self {
            options: options.clone(),
            weights,
            looked_at: vec![0; cluster.nodes()],
            was_damaged: vec![false; cluster.nodes()],
            cluster,
            history: History::default(),
            observer,
            plan,
            rng,
            issued: 0,
            record_bytes_max: 0,
            room,
            is_healed: false,
            counts: BTreeMap::new(),
            moments: 0,
        };
        run.record_bytes_max = *run.rng.choice(&RECORD_BYTES).expect("some sizes");
        let nodes = run.cluster.nodes();
        run.cluster.run_until("the nodes are ready", |cluster| (0..nodes).all(|node| cluster.is_ready(node)));
        let mut log = options.profile.workload(clients);
        log.begin(&mut run);
        (run, log)
    }

    /// The phase in which things go wrong.
    fn live(&mut self, log: &mut dyn Workload) {
        let weights = self.weights;
        self.begin_faults(&weights);
        while self.issued < self.options.ops {
            let client = self.rng.usize(..self.cluster.clients());
            log.operate(self, client);
            self.disturb(log, &weights);
            let pause = self.draw_pause();
            self.cluster.run_for(pause);
            log.look(self);
        }
    }

    /// Mostly right after the last operation; now and then long enough for something to time out.
    fn draw_pause(&mut self) -> Duration {
        let most_us = match self.rng.u8(..64) {
            0 => 300_000,
            1..8 => 20_000,
            _ => 1_500,
        };
        Duration::from_micros(self.rng.u64(..most_us))
    }

    /// A new moment, after all before it.
    pub(super) fn moment(&mut self) -> Moment {
        self.moments += 1;
        self.moments
    }

    pub(super) fn now(&self) -> Instant {
        self.cluster.world.now()
    }

    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        self.observer.borrow_mut().note(self.now(), what);
    }

    pub(super) fn took(&self, branch: Branch) {
        self.observer.borrow_mut().coverage.took(branch);
    }

    pub(super) fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    pub(super) fn watch(&self, config: &LogletConfig) {
        let members = config.log_servers.iter().map(|member| member.node).collect();
        self.observer.borrow_mut().watch(config.id, members);
    }

    fn into_outcome(mut self) -> Outcome {
        for node in 0..self.cluster.nodes() {
            self.take_report(node);
        }
        let violations = history::check(&self.history);
        let mut faults = self.counts;
        for (kind, count) in self.cluster.world.counts() {
            *faults.entry(kind).or_default() += count;
        }
        let mut observer = self.observer.borrow_mut();
        let trace = self.cluster.world.trace();
        let now = self.cluster.world.now();
        observer.note(now, format_args!("end: {} events, {:016x}", trace.events, trace.hash));
        Outcome {
            ops: self.issued,
            acked: self.history.appends.iter().filter(|append| append.acknowledged().is_some()).count() as u64,
            faults,
            coverage: std::mem::take(&mut observer.coverage),
            violations: violations.into_iter().map(|violation| (violation.invariant, violation.detail)).collect(),
            virtual_time: now.since(Instant::ORIGIN),
            trace: observer.take_trace(),
        }
    }
}
