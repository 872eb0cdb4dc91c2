//! The executor: asks the nodes, reads the chains, and carries out what is planned.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::detector::Detector;
use super::loads::Loads;
use super::measuring::Scaler;
use super::pacing::Pacing;
use super::planner::{Action, Aim, Change, Condition, Patience, View, lost, plan};
use super::scaling::Scaling;
use super::sight::Sight;
use crate::base::{ClusterId, Incarnation, Instant, IntentId, Limits, NodeId};
use crate::client::{Chain, Client, ClientOptions, Cluster, LogRecord, NodeInfo, OpError, Root, VirtualLog};
use crate::io::DriverChoice;

/// How control is run.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node that it runs on.
    pub node: NodeId,
    /// Where nodes of the cluster may be found, this one among them.
    pub seeds: Vec<SocketAddr>,
    /// How long it waits before it acts.
    pub patience: Patience,
    /// When it changes the number of a log's stripes.
    pub scaling: Scaling,
}

/// What control has to tell the node that it runs on, for its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Whom this node misses, so that others can ask for it.
    Misses(Vec<NodeId>),
    /// The last decision about each log that may change its number of stripes, with its reason.
    Scaling(BTreeMap<String, String>),
}

/// Control, running. Dropping it ends it; what it is doing may go on for a moment, and may be cut short at any step.
#[derive(Debug)]
pub struct Control {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Time from one look at everything to the next.
const TICK: Duration = Duration::from_millis(250);
/// How often each node is asked who it is.
const HELLO: Duration = Duration::from_millis(500);
/// How often the root and the chains are read.
const REFRESH: Duration = Duration::from_secs(2);
/// How often each node is asked how it is, and how often while somebody is missed.
const STATUS: Duration = Duration::from_secs(10);
const STATUS_SOON: Duration = Duration::from_secs(1);
/// How often it is looked whether all registers are kept by nodes that are there (L8).
const TEND: Duration = Duration::from_secs(20);
/// A question is given up after this, and asked again.
const PATIENCE: Duration = Duration::from_secs(5);

impl Control {
    /// Starts it. `tell` is told what is to be in the node's status, whenever that changes.
    ///
    /// # Errors
    /// Its client or its thread cannot be started.
    pub fn start(config: ControlConfig, tell: impl Fn(Told) + Send + 'static) -> io::Result<Self> {
        let limits = Limits { operation_timeout: PATIENCE, ..Limits::default() };
        // Memory that may be locked, which a ring needs, is for the shards.
        let client = Client::start(ClientOptions { limits, driver: DriverChoice::Epoll, ..ClientOptions::default() })?;
        let (stop, stopped) = channel();
        let mut executor = Executor::new(config, client);
        let run = move || {
            while matches!(stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                executor.tick(&tell);
            }
        };
        let thread = std::thread::Builder::new().name("naxos-control".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("control had panicked");
        }
    }
}

/// A question to a node, under way.
#[derive(Debug)]
struct Asked<T> {
    since: Instant,
    answer: Receiver<Result<T, OpError>>,
}

struct Executor {
    config: ControlConfig,
    client: Client,
    begun_at: std::time::Instant,
    cluster: Option<Cluster>,
    root: Option<Root>,
    logs: BTreeMap<String, (LogRecord, VirtualLog)>,
    chains: BTreeMap<String, Chain>,
    intents: BTreeMap<IntentId, Instant>,
    detector: Detector,
    sight: Sight,
    loads: Loads,
    scaler: Scaler,
    pacing: Pacing,
    hellos: BTreeMap<NodeId, Asked<NodeInfo>>,
    statuses: BTreeMap<NodeId, Asked<Vec<u8>>>,
    refreshed_at: Instant,
    hello_at: Instant,
    status_at: Instant,
    tend_at: Instant,
    told: Vec<NodeId>,
    /// What was told of logs that may change their number of stripes.
    reasons: BTreeMap<String, String>,
    /// One action at a time.
    acting: Option<JoinHandle<()>>,
}

impl Executor {
    fn new(config: ControlConfig, client: Client) -> Self {
        let pacing = Pacing::new(Incarnation::random().0 as u64, config.scaling.rest);
        Self {
            config,
            client,
            begun_at: std::time::Instant::now(),
            cluster: None,
            root: None,
            logs: BTreeMap::new(),
            chains: BTreeMap::new(),
            intents: BTreeMap::new(),
            detector: Detector::default(),
            sight: Sight::default(),
            loads: Loads::default(),
            scaler: Scaler::default(),
            pacing,
            hellos: BTreeMap::new(),
            statuses: BTreeMap::new(),
            refreshed_at: Instant::ORIGIN,
            hello_at: Instant::ORIGIN,
            status_at: Instant::ORIGIN,
            tend_at: Instant::ORIGIN + TEND,
            told: Vec::new(),
            reasons: BTreeMap::new(),
            acting: None,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.begun_at.elapsed().as_nanos() as u64)
    }

    fn tick(&mut self, tell: &impl Fn(Told)) {
        let now = self.now();
        self.detector.look(now);
        if now >= self.refreshed_at {
            if let Err(error) = self.refresh() {
                tracing::debug!(%error, "control cannot read the cluster's registers");
            }
            self.refreshed_at = self.now() + REFRESH;
        }
        self.ask(now);
        self.listen(now);
        let missed = self.detector.all_missed(now);
        if missed != self.told {
            tracing::info!(?missed, "other nodes are missed");
            tell(Told::Misses(missed.clone()));
            // Whoever is asked from now on has had the time to miss them as well.
            self.status_at = self.status_at.min(now + STATUS_SOON);
            self.told = missed;
        }
        self.measure(now, tell);
        self.act(now);
    }

    /// Reads the root and the chains.
    fn refresh(&mut self) -> Result<(), OpError> {
        let cluster = match &self.cluster {
            Some(cluster) => cluster.clone(),
            None => self.cluster.insert(self.client.cluster(&self.config.seeds)?).clone(),
        };
        let root = cluster.root().map_err(|error| OpError::Unavailable { reason: error.to_string() })?;
        self.logs.retain(|name, (record, _)| root.logs.get(name).is_some_and(|now| now.log == record.log));
        for (name, record) in &root.logs {
            let open = || (record.clone(), cluster.open_record(record));
            self.logs.entry(name.clone()).or_insert_with(open);
        }
        let reads: Vec<_> = self.logs.iter().map(|(name, (_, log))| (name.clone(), log.start_chain())).collect();
        // Of a log that cannot be read nothing is known.
        let chains = reads.into_iter().filter_map(|(name, read)| Some((name, read.wait().ok()?))).collect();
        let before = std::mem::replace(&mut self.chains, chains);
        let now = self.now();
        for (name, chain) in &self.chains {
            // What else changes a chain, such as a trim, is no sign of trouble.
            let loglets = |chain: &Chain| chain.segments.iter().map(|segment| segment.loglet.clone()).next_back();
            if before.get(name).is_some_and(|before| loglets(before) != loglets(chain)) {
                self.pacing.changed(name, now);
            }
        }
        let pending: Vec<IntentId> = self.chains.values().filter_map(|chain| Some(chain.intent.as_ref()?.id)).collect();
        self.intents.retain(|id, _| pending.contains(id));
        for id in pending {
            self.intents.entry(id).or_insert(now);
        }
        let nodes: Vec<NodeId> = root.nodes.iter().map(|record| record.member.node).collect();
        self.detector.watch(&nodes, now);
        self.loads.retain(&nodes);
        // A log is divided as its chain says. Who has written that may not have come to say it to the root register.
        let following = self.chains.iter().fold(root.clone(), |root, (name, chain)| root.following(name, chain));
        if following != root {
            self.tend_at = self.tend_at.min(now + REFRESH);
        }
        self.root = Some(following);
        Ok(())
    }

    /// Asks every node who it is, and now and then how it is.
    fn ask(&mut self, now: Instant) {
        let Some(root) = &self.root else { return };
        self.hellos.retain(|_, asked| now.since(asked.since) < PATIENCE);
        self.statuses.retain(|_, asked| now.since(asked.since) < PATIENCE);
        let (hello, status) = (now >= self.hello_at, now >= self.status_at);
        for member in root.nodes.iter().map(|record| record.member) {
            if hello && !self.hellos.contains_key(&member.node) {
                let asked = Asked { since: now, answer: self.client.start_hello(member.address) };
                self.hellos.insert(member.node, asked);
            }
            if status && !self.statuses.contains_key(&member.node) {
                let asked = Asked { since: now, answer: self.client.start_status(member.address) };
                self.statuses.insert(member.node, asked);
            }
        }
        if hello {
            self.hello_at = now + HELLO;
        }
        if status {
            let is_measured = root.logs.values().any(|record| !record.range().is_fixed());
            let usual = if is_measured { STATUS.min(self.config.scaling.round) } else { STATUS };
            self.status_at = now + if self.told.is_empty() { usual } else { usual.min(STATUS_SOON) };
        }
    }

    /// Takes in what they have answered.
    fn listen(&mut self, now: Instant) {
        let Self { hellos, statuses, detector, sight, loads, config, .. } = self;
        hellos.retain(|node, asked| match asked.answer.try_recv() {
            Ok(Ok(info)) if info.node == *node => {
                detector.heard(*node, info.incarnation, now);
                false
            }
            Err(TryRecvError::Empty) => true,
            // Nobody is there, or somebody else.
            Ok(_) | Err(TryRecvError::Disconnected) => false,
        });
        statuses.retain(|node, asked| match asked.answer.try_recv() {
            Ok(answer) => {
                let status = answer.ok().and_then(|json| serde_json::from_slice(&json).ok());
                if let Some(status) = status {
                    sight.told(*node, &status, now);
                    loads.told(*node, &status, config.scaling.round);
                }
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => false,
        });
    }

    /// Measures the logs that may change their number of stripes, and says what follows.
    fn measure(&mut self, now: Instant, tell: &impl Fn(Told)) {
        let Some(root) = &self.root else { return };
        let decided = self.scaler.look(root, &self.told, &self.chains, &self.loads, &self.config.scaling, now);
        let reasons = self.scaler.reasons(&self.config.scaling);
        for log in decided {
            tracing::info!(log, reason = reasons.get(&log), "the load of a log");
        }
        if reasons != self.reasons {
            tell(Told::Scaling(reasons.clone()));
            self.reasons = reasons;
        }
    }

    fn conditions(&self, root: &Root, now: Instant) -> BTreeMap<NodeId, Condition> {
        let nodes: Vec<NodeId> = root.nodes.iter().map(|record| record.member.node).collect();
        let voters: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != self.config.node).collect();
        let condition = |node: &NodeId| {
            let missed = self.detector.missed(*node, now);
            let others = missed.map_or(0, |missed| {
                // What they say must be about this absence, and not long ago.
                let since = now.as_nanos().saturating_sub(missed.min(2 * PATIENCE).as_nanos() as u64);
                self.sight.votes(*node, &voters, Instant::from_nanos(since))
            });
            Condition {
                missed,
                votes: usize::from(missed.is_some()) + others,
                failed: self.sight.failed_since(*node).map(|since| now.since(since)),
                steady: self.detector.is_steady(*node, now),
                incarnation: self.detector.incarnation(*node),
            }
        };
        nodes.iter().map(|node| (*node, condition(node))).collect()
    }

    /// Does the next thing that is planned, if it is this node's turn.
    fn act(&mut self, now: Instant) {
        if self.acting.as_ref().is_some_and(|acting| !acting.is_finished()) {
            return;
        }
        // What it has changed is read before anything else is done.
        if self.acting.take().is_some() {
            self.refreshed_at = now;
            return;
        }
        let Some(root) = &self.root else { return };
        let nodes = self.conditions(root, now);
        let intents = self.intents.iter().map(|(id, since)| (*id, now.since(*since))).collect();
        let patience = self.config.patience;
        let scaling = &self.scaler.wanted(&self.chains);
        let view = View { root, chains: &self.chains, nodes: &nodes, intents: &intents, patience, scaling };
        let (planned, lost) = (plan(&view), lost(&view));
        let is_before =
            |(node, condition): &(&NodeId, &Condition)| **node < self.config.node && condition.missed.is_none();
        let rank = nodes.iter().filter(is_before).count();
        let work: Box<dyn FnOnce() + Send> = match (self.pacing.next(planned, rank, now), &self.cluster) {
            (Some(action), _) => {
                let (Some((_, log)), Some(seen)) = (self.logs.get(&action.log), self.chains.get(&action.log)) else {
                    return;
                };
                let (log, seen) = (log.clone(), seen.clone());
                Box::new(move || carry_out(&log, &seen, &action))
            }
            (None, Some(cluster)) if rank == 0 && now >= self.tend_at => {
                self.tend_at = now + TEND;
                let cluster = cluster.clone();
                Box::new(move || tend(&cluster, &lost))
            }
            (None, _) => return,
        };
        match std::thread::Builder::new().name("naxos-action".to_owned()).spawn(work) {
            Ok(acting) => self.acting = Some(acting),
            Err(error) => tracing::error!(%error, "cannot start a thread"),
        }
    }
}

/// Sees to it that all registers, also of logs that nobody reconfigures, are kept by nodes that are there (L8), and that the root register
/// says of each log what its chain does.
fn tend(cluster: &Cluster, lost: &[NodeId]) {
    if let Err(error) = cluster.follow_chains() {
        tracing::debug!(%error, "control cannot bring the list of logs in line with their chains");
    }
    match cluster.tend_registers(lost) {
        Ok(failures) => failures.into_iter().for_each(|(log, error)| {
            tracing::warn!(log = log.as_deref().unwrap_or("(root)"), %error, "a register could not be given to others");
        }),
        Err(error) => tracing::debug!(%error, "control cannot read the root register"),
    }
}

fn carry_out(log: &VirtualLog, seen: &Chain, action: &Action) {
    let Action { log: name, loglet, change, aim, reason } = action;
    tracing::info!(log = name, %loglet, reason, "control acts");
    let done = match change {
        Change::Extend(wanted) if *aim == Aim::Mend => log.extend_from(*loglet, wanted.clone(), None).map(drop),
        // The log takes appends, and whoever is cut short on the way leaves it to others to go on (P15).
        Change::Extend(wanted) => log.extend_seen(seen, Some(wanted.clone()), true).map(drop),
        Change::Fulfil(intent) => {
            let fulfilled = log.extend_from(*loglet, intent.wanted.clone(), Some(intent.clone())).map(drop);
            // It cannot be carried out now: a log that goes on is worth more (P15).
            fulfilled.or_else(|error| {
                tracing::warn!(log = name, intent = %intent.id, %error, "an intent is given up");
                log.drop_intent(intent.id, &error.to_string()).map(drop)
            })
        }
        Change::Modify(log_servers) => log.modify(*loglet, log_servers.clone()).map(drop),
    };
    match done {
        Ok(()) => tracing::info!(log = name, %loglet, "control has acted"),
        Err(error) => tracing::warn!(log = name, %loglet, %error, "control could not do it"),
    }
}
