use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::chain::{Chain, ChainSegment, InvalidChain};
use super::super::contract::{ExtendOp, LogOp, LogResult, Request};
use super::super::extend::Host;
use super::super::intent::GivenUp;
use super::super::spec::LogletSpec;
use super::append::Appends;
use super::attempt::Attempt;
use super::deleted::DELETED;
use super::deletions::Deletions;
use super::following::Following;
use super::loglets::Loglets;
use super::modify::Modify;
use super::trim::Trim;
use super::trouble::{Haste, Trouble};
use crate::base::{Instant, Limits, LogPos, LogletId, NodeId, Offset, RegisterId, Rng, Version};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, Versioned};
use crate::wire::Member;

/// How long the copying of a segment may take altogether.
const COPY_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a request under way is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Purpose {
    /// A read of the chain, for whoever waits for it.
    Chain,
    /// The next step of an operation, on this loglet or, without one, on the register.
    Operation(OpId, Option<LogletId>),
    /// What a subscription gets from this loglet.
    Subscription(OpId, LogletId),
    /// The next step of the extend.
    Attempt(Option<LogletId>),
    /// The end of a loglet that no chain names.
    Deletion(LogletId),
}

impl Purpose {
    fn loglet(self) -> Option<LogletId> {
        match self {
            Self::Chain => None,
            Self::Operation(_, loglet) | Self::Attempt(loglet) => loglet,
            Self::Subscription(_, loglet) | Self::Deletion(loglet) => Some(loglet),
        }
    }
}

/// What a caller has asked for, apart from appends and subscriptions.
#[derive(Clone, Hash, Debug)]
pub(super) enum Kind {
    CheckTail,
    Read {
        min: LogPos,
        max: LogPos,
        bytes_max: u32,
    },
    Trim(Trim),
    /// Waits for its turn, or is the attempt under way.
    Extend(Box<ExtendOp>),
    /// Waits for the register to say that there is no chain, then for the loglet, then for the write.
    Begin(Box<LogletSpec>),
    Modify(Modify),
    DropIntent(GivenUp),
    Seal,
    Chain,
}

/// One of them.
#[derive(Clone, Hash, Debug)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) deadline: Instant,
    /// A step of it is under way; otherwise it waits for the chain to change.
    pub(super) busy: bool,
}

/// The client of one virtual log (Delos OSDI'20, section 3), without sockets or clock.
///
/// The host opens clients of loglets and carries out requests as [`VirtualLog::poll_request`] asks, tells their results, keeps connections
/// to the nodes of [`VirtualLog::wanted_hosts`] and tells who answers, and afterwards drains [`VirtualLog::poll_request`] and
/// [`VirtualLog::poll_result`], and asks [`VirtualLog::poll_timeout`] when to come back.
///
/// As long as the last loglet takes appends, nothing of the chain is asked: an append costs one request and its result.
#[derive(Clone, Hash, Debug)]
pub struct VirtualLog {
    pub(super) register: RegisterId,
    pub(super) limits: Limits,
    pub(super) now: Instant,
    /// The newest chain known; none before the first answer, or while the log has none.
    pub(super) chain: Option<Chain>,
    /// The register has said that there will be none any more.
    pub(super) deleted: bool,
    /// Who decides the next version of it.
    pub(super) members: Vec<Member>,
    /// The largest tail of the last loglet that is known to be committed, by own acknowledgements and open tails (P1).
    pub(super) committed: Offset,
    pub(super) appends: Appends,
    pub(super) operations: BTreeMap<OpId, Operation>,
    pub(super) subscriptions: BTreeMap<OpId, Following>,
    pub(super) deletions: Deletions,
    pub(super) trouble: Option<Trouble>,
    pub(super) haste: Haste,
    pub(super) attempt: Option<Attempt>,
    /// What the last attempt has made or begun to make, and the next one may put into the chain.
    pub(super) spare: Option<LogletSpec>,
    /// The nodes that answer, in their present lives.
    pub(super) hosts: BTreeMap<NodeId, Host>,
    /// When the chain is read although nobody waits for it.
    pub(super) look_at: Option<Instant>,
    loglets: Loglets,
    purposes: BTreeMap<OpId, Purpose>,
    requests: VecDeque<Request>,
    results: VecDeque<(OpId, LogResult)>,
    next_request: u64,
    /// The state of the random stream.
    seed: u64,
}

impl VirtualLog {
    /// A client of the log whose chain is in this register. `seed` is for pauses and the names of new loglets: no other client, of any
    /// process at any time, has the same.
    pub fn new(register: RegisterId, seed: u64, limits: &Limits) -> Self {
        Self {
            register,
            limits: limits.clone(),
            now: Instant::ORIGIN,
            chain: None,
            deleted: false,
            members: Vec::new(),
            committed: Offset::ZERO,
            appends: Appends::default(),
            operations: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            deletions: Deletions::default(),
            trouble: None,
            haste: Haste::default(),
            attempt: None,
            spare: None,
            hosts: BTreeMap::new(),
            look_at: None,
            loglets: Loglets::default(),
            purposes: BTreeMap::new(),
            requests: VecDeque::new(),
            results: VecDeque::new(),
            next_request: 0,
            seed,
        }
    }

    /// The newest chain known.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// What stands in the way of appends, if something does.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Starts an operation; `id` names no other one in progress, except for `Credit` and `Unsubscribe`, which name their subscription.
    pub fn handle_op(&mut self, id: OpId, op: LogOp, now: Instant) {
        self.now = now;
        let kind = match op {
            LogOp::Append { records } => return self.handle_append(id, records, now),
            LogOp::Subscribe { from, credit } => return self.subscribe(id, from, credit),
            LogOp::Credit { bytes } => return self.credit(id, bytes),
            LogOp::Unsubscribe => return self.unsubscribe(id),
            LogOp::CheckTail => Kind::CheckTail,
            LogOp::Read { min, max, bytes_max } => Kind::Read { min, max, bytes_max },
            LogOp::Trim { point } => Kind::Trim(Trim::new(point)),
            LogOp::Extend(op) => Kind::Extend(op),
            LogOp::Begin { loglet } => Kind::Begin(loglet),
            LogOp::Modify { loglet, log_servers } => Kind::Modify(Modify::new(loglet, log_servers)),
            LogOp::DropIntent(intent) => Kind::DropIntent(intent),
            LogOp::Seal => Kind::Seal,
            LogOp::Chain => Kind::Chain,
        };
        if self.deleted {
            return self.give(id, LogResult::Unavailable { reason: DELETED.to_owned() });
        }
        // Copying takes as long as it takes; it ends by itself when it does not come further.
        let allowed = match kind {
            Kind::Modify(_) => COPY_TIME_MAX,
            _ => self.limits.operation_timeout,
        };
        let deadline = now + allowed;
        // The newest chain is asked for, not the one known.
        let is_chain = matches!(kind, Kind::Chain);
        self.operations.insert(id, Operation { kind, deadline, busy: false });
        if is_chain || self.chain.is_none() {
            self.read_chain();
        }
        self.go_on(id);
    }

    /// Takes the next step of an operation that has none under way.
    pub(super) fn go_on(&mut self, id: OpId) {
        let Some(operation) = self.operations.get(&id).filter(|operation| !operation.busy) else { return };
        if self.chain.is_none() {
            return;
        }
        match operation.kind {
            Kind::CheckTail => self.ask_tail(id),
            Kind::Read { min, max, bytes_max } => self.ask_records(id, min, max, bytes_max),
            Kind::Trim(_) => self.trim_on(id),
            Kind::Extend(_) => self.begin_wished(id),
            Kind::Modify(_) => self.modify_on(id),
            Kind::DropIntent(_) => self.drop_intent(id),
            Kind::Seal => self.seal(id),
            Kind::Begin(_) => self.begun_by_another(id),
            // A read of it is under way.
            Kind::Chain => {}
        }
    }

    /// All that waits for the chain looks at it again.
    pub(super) fn go_on_all(&mut self) {
        self.settle_appends();
        let subscriptions: Vec<OpId> = self.subscriptions.keys().copied().collect();
        subscriptions.into_iter().for_each(|id| self.follow(id));
        self.go_on_operations();
    }

    pub(super) fn go_on_operations(&mut self) {
        let operations: Vec<OpId> = self.operations.keys().copied().collect();
        operations.into_iter().for_each(|id| self.go_on(id));
    }

    /// Ends an operation, unless it has ended before, by its deadline.
    pub(super) fn end(&mut self, id: OpId, result: LogResult) {
        if self.operations.remove(&id).is_some() {
            self.results.push_back((id, result));
        }
    }

    pub(super) fn give(&mut self, id: OpId, result: LogResult) {
        self.results.push_back((id, result));
    }

    /// A loglet's answer to a request. A subscription has several.
    pub fn handle_loglet(&mut self, id: OpId, result: LogletResult, now: Instant) {
        self.now = now;
        if let Some(append) = self.appends.position(id) {
            return self.append_ended(append, result);
        }
        let Some(&purpose) = self.purposes.get(&id) else { return };
        if !matches!(purpose, Purpose::Subscription(..)) {
            self.purposes.remove(&id);
        }
        match purpose {
            Purpose::Chain | Purpose::Operation(_, None) => unreachable!("these ask the MetaStore"),
            Purpose::Operation(op, Some(loglet)) => self.loglet_answered(op, loglet, result),
            Purpose::Subscription(op, loglet) => self.subscription_brings(op, id, loglet, result),
            Purpose::Attempt(_) => self.attempt_answered(result),
            Purpose::Deletion(_) => self.deletion_ended(id),
        }
        self.release_idle();
    }

    fn loglet_answered(&mut self, id: OpId, loglet: LogletId, result: LogletResult) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.busy = false;
        match operation.kind {
            Kind::CheckTail => self.tail_found(id, loglet, result),
            Kind::Read { .. } => self.records_read(id, loglet, result),
            Kind::Trim(_) => self.trim_answered(id, loglet, result),
            Kind::Modify(_) => self.copies_made(id, result),
            Kind::Seal => self.seal_answered(id, result),
            Kind::Begin(_) => self.first_loglet_made(id, result),
            Kind::Extend(_) | Kind::DropIntent(_) | Kind::Chain => unreachable!("these ask no loglet by themselves"),
        }
    }

    /// The MetaStore's answer to a request.
    pub fn handle_metastore(&mut self, id: OpId, result: MetaStoreResult, now: Instant) {
        self.now = now;
        let Some(purpose) = self.purposes.remove(&id) else { return };
        match purpose {
            Purpose::Chain => self.chain_read(result),
            Purpose::Operation(op, _) => {
                let Some(operation) = self.operations.get_mut(&op) else { return };
                operation.busy = false;
                match operation.kind {
                    Kind::Begin(_) => self.first_chain_written(op, result),
                    Kind::Modify(_) => self.modified_written(op, result),
                    Kind::DropIntent(_) => self.intent_dropped(op, result),
                    _ => self.trim_written(op, result),
                }
            }
            Purpose::Attempt(_) => self.attempt_written(result),
            Purpose::Subscription(..) | Purpose::Deletion(_) => unreachable!("these ask loglets"),
        }
        self.release_idle();
    }

    /// A node has answered, in this life of it.
    pub fn handle_host(&mut self, host: Host, now: Instant) {
        self.now = now;
        self.hosts.insert(host.member.node, host);
        self.drive_attempt();
        self.go_on_operations();
        self.act();
    }

    /// The connection to a node is gone.
    pub fn handle_host_lost(&mut self, node: NodeId, now: Instant) {
        self.now = now;
        self.hosts.remove(&node);
    }

    /// The next request.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The next result.
    pub fn poll_result(&mut self) -> Option<(OpId, LogResult)> {
        self.results.pop_front()
    }

    /// When to call [`VirtualLog::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let trouble = self
            .trouble
            .as_ref()
            .map(|trouble| (trouble.next(self.attempt.is_some()), "virtual log: its last loglet takes no appends"));
        let look = self.look_at.map(|at| (at, "virtual log: the chain may have changed"));
        let operations = self.operations.values().map(|operation| operation.deadline).min();
        let operations = operations.map(|at| (at, "virtual log: an operation takes too long"));
        let append = self.appends.deadline(&self.limits).map(|at| (at, "virtual log: an append takes too long"));
        let attempt = self.attempt.as_ref().map(|attempt| (attempt.deadline, "virtual log: an extend takes too long"));
        [trouble, look, operations, append, attempt].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.expire_attempt();
        self.expire_appends();
        let late = self.operations.iter().filter(|(_, operation)| operation.deadline <= now);
        let late: Vec<OpId> = late.map(|(id, _)| *id).collect();
        for id in late {
            let reason = self.why();
            let result = self.trimmed(id).unwrap_or(LogResult::Unavailable { reason });
            self.end(id, result);
        }
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.read_chain();
        }
        self.look_around();
        self.act();
    }

    /// For people who look for what stands still.
    pub fn describe(&self) -> String {
        let Self { chain, trouble, attempt, appends, operations, subscriptions, hosts, purposes, committed, .. } = self;
        let chain = chain.as_ref().map(|chain| (chain.version, chain.last().loglet.id(), chain.segments.len()));
        let hosts: Vec<_> = hosts.keys().collect();
        format!(
            "chain {chain:?}, committed {committed}, trouble {trouble:?}, attempt {attempt:?}, {appends:?}, \
             operations {operations:?}, subscriptions {subscriptions:?}, hosts {hosts:?}, asked {purposes:?}"
        )
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        let mut random = Rng::with_seed(self.seed);
        let number = random.u64(..below.max(1));
        self.seed = random.get_seed();
        number
    }

    pub(super) fn next_request(&mut self, purpose: Purpose) -> OpId {
        self.next_request += 1;
        let id = OpId(self.next_request);
        self.purposes.insert(id, purpose);
        id
    }

    /// A number for an append, which its queue knows.
    pub(super) fn next_append(&mut self) -> OpId {
        self.next_request += 1;
        OpId(self.next_request)
    }

    /// The requests of a given-up attempt have no reader: its answers must not reach the next one.
    pub(super) fn forget_attempt_requests(&mut self) {
        self.purposes.retain(|_, purpose| !matches!(purpose, Purpose::Attempt(_)));
    }

    /// Makes sure that the host has a client of the last loglet.
    pub(super) fn open_last(&mut self) {
        let last = &self.chain.as_ref().expect("asked only once there is a chain").last().loglet;
        if !self.loglets.is_newest(last.id()) {
            self.requests.extend(self.loglets.used(last));
        }
    }

    /// Makes sure that the host has a client of the loglet.
    pub(super) fn open(&mut self, loglet: &LogletSpec) {
        // It has other LogServers now. Who is still served by the old ones stays with them until they say that it is gone.
        let id = loglet.id();
        let is_busy = || self.appends.uses(id) || self.purposes.values().any(|purpose| purpose.loglet() == Some(id));
        if self.loglets.is_outdated(loglet) && !is_busy() {
            self.loglets.forget(id);
            self.requests.push_back(Request::Close(id));
        }
        self.requests.extend(self.loglets.used(loglet));
    }

    pub(super) fn request(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    pub(super) fn ask_loglet(&mut self, loglet: &LogletSpec, purpose: Purpose, op: LogletOp) -> OpId {
        self.open(loglet);
        let id = self.next_request(purpose);
        self.request(Request::Loglet { loglet: loglet.id(), id, op });
        id
    }

    pub(super) fn create_loglet(&mut self, loglet: &LogletSpec, purpose: Purpose) {
        self.open(loglet);
        let (loglet, id) = (loglet.id(), self.next_request(purpose));
        self.request(Request::Create { loglet, id });
    }

    pub(super) fn forget_request(&mut self, id: OpId) {
        self.purposes.remove(&id);
    }

    pub(super) fn ask_metastore(&mut self, purpose: Purpose, write: Option<&Chain>) {
        let id = self.next_request(purpose);
        let register = self.register;
        let op = match write {
            None => MetaStoreOp::Read { register },
            Some(chain) => MetaStoreOp::Write {
                register,
                expected: Version(chain.version - 1),
                value: chain.to_json(),
                members: self.members.clone(),
            },
        };
        self.request(Request::MetaStore { id, op });
    }

    /// Has the next write of the chain prepared, by and by.
    pub(super) fn prepare_write(&mut self) {
        let expected = Version(self.chain.as_ref().expect("asked only once there is a chain").version);
        self.next_request += 1;
        let (id, register) = (OpId(self.next_request), self.register);
        self.request(Request::MetaStore { id, op: MetaStoreOp::Prepare { register, expected } });
    }

    pub(super) fn is_asked(&self, wanted: Purpose) -> bool {
        self.purposes.values().any(|purpose| *purpose == wanted)
    }

    fn release_idle(&mut self) {
        let Self { loglets, purposes, appends, chain, .. } = self;
        let last = chain.as_ref().map(|chain| chain.last().loglet.id());
        let is_busy = |loglet| {
            last == Some(loglet)
                || appends.uses(loglet)
                || purposes.values().any(|purpose| purpose.loglet() == Some(loglet))
        };
        let idle = loglets.take_idle(is_busy);
        self.requests.extend(idle.into_iter().map(Request::Close));
    }

    /// The last segment, of a chain that is there.
    pub(super) fn last(&self) -> &ChainSegment {
        self.chain.as_ref().expect("asked only once there is a chain").last()
    }

    /// Takes in a version of the register.
    pub(super) fn learn(&mut self, versioned: Versioned) -> Result<(), String> {
        let Versioned { version, members, value } = versioned;
        if version == Version::BIRTH {
            self.members = members;
            self.make_first_loglets();
            return Err("the log has no chain yet: its creation has not been finished".to_owned());
        }
        let chain = Chain::from_json(&value).map_err(|error| match error {
            InvalidChain::Deleted { .. } => {
                self.deleted();
                DELETED.to_owned()
            }
            error => format!("the register holds no chain: {error}"),
        })?;
        if chain.version != version.0 {
            return Err(format!("the register's version {version} holds version {} of the chain", chain.version));
        }
        if self.chain.as_ref().is_none_or(|known| known.version <= chain.version) {
            self.members = members;
            self.adopt(chain);
        }
        Ok(())
    }

    /// A version of the chain has not been written for an operation, or nobody knows: the newest one says how it goes on.
    pub(super) fn chain_not_written(&mut self, id: OpId, result: MetaStoreResult) {
        match result {
            MetaStoreResult::Conflict(newest) => {
                if let Err(reason) = self.learn(newest) {
                    self.end(id, LogResult::Unavailable { reason });
                }
            }
            MetaStoreResult::Unknown => self.read_chain(),
            other => {
                let reason = super::trouble::reason(other);
                self.end(id, LogResult::Unavailable { reason });
            }
        }
    }

    /// Goes on with a chain that is at least as new as the one known.
    pub(super) fn adopt(&mut self, chain: Chain) {
        let last = |chain: &Chain| chain.last().loglet.id();
        if self.chain.as_ref().map(last) != Some(last(&chain)) {
            self.committed = Offset::ZERO;
            self.trouble = None;
        }
        self.chain = Some(chain);
        self.decide_left_over();
        self.go_on_all();
        self.delete_next();
    }
}
