use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::loglet::{Answer, Loglet, numbers, record};
use super::rules::Rule;
use crate::base::{Incarnation, Instant, IntentId, Limits, LogPos, LogletId, NodeId, Offset, RegisterId, Version};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, Versioned};
use crate::proto::virtual_log::contract::{ExtendOp, LogOp, LogResult, Request};
use crate::proto::virtual_log::{Chain, Host, Intent, VirtualLog, Wanted, WantedStripe};
use crate::wire::{LogletConfig, Member, Sequencer};

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Append(u8),
    Read,
    CheckTail,
    Extend,
    /// As an intent says that is written down first: two stripes, the first of them with this node as sequencer.
    Intend(u8),
}

/// A request that waits for its answer.
#[derive(Clone, Hash, Debug)]
struct Asked {
    request: Request,
    /// The offset that an append has been given.
    taken: Option<Offset>,
}

/// A client in its present life.
#[derive(Clone, Hash, Debug)]
struct Client {
    core: VirtualLog,
    now: Instant,
    asked: Vec<Asked>,
    hosts: BTreeSet<NodeId>,
    /// The operation under way, and what had been told when it began.
    busy: Option<LogPos>,
    started: usize,
    lives: u64,
}

/// Clients of one log, its register and its loglets.
#[derive(Clone, Hash, Debug)]
pub(super) struct World {
    versions: Vec<Chain>,
    /// Writes with an unknown end, which may still be made.
    late: Vec<Chain>,
    pub(super) loglets: BTreeMap<LogletId, Loglet>,
    clients: Vec<Client>,
    /// Loglets that have been in the chain.
    pub(super) installed: BTreeSet<LogletId>,
    pub(super) acknowledged: BTreeMap<LogPos, u8>,
    pub(super) read: BTreeMap<LogPos, u8>,
    /// The first position behind all that anybody was told.
    told: LogPos,
    pub(super) broken: BTreeSet<Rule>,
    /// How operations have ended.
    pub(super) endings: BTreeSet<&'static str>,
}

fn member(node: u8) -> Member {
    Member { node: NodeId(node.into()), address: ([10, 0, 0, node], 7000).into() }
}

fn members() -> Vec<Member> {
    (1..4).map(member).collect()
}

fn host(node: NodeId) -> Host {
    Host { member: member(node.0 as u8), incarnation: Incarnation(node.0 + 40) }
}

impl World {
    pub(super) fn new(clients: usize) -> Self {
        let id = LogletId { log: 7, version: 1, nonce: 1 };
        let Host { member, incarnation } = host(NodeId(1));
        let sequencer = Sequencer { node: member.node, incarnation, address: member.address };
        let chain = Chain::begin(LogletConfig { id, sequencer, log_servers: members() });
        let mut world = Self {
            versions: vec![chain],
            late: Vec::new(),
            loglets: BTreeMap::from([(id, Loglet::default())]),
            clients: Vec::new(),
            installed: BTreeSet::from([id]),
            acknowledged: BTreeMap::new(),
            read: BTreeMap::new(),
            told: LogPos::ZERO,
            broken: BTreeSet::new(),
            endings: BTreeSet::new(),
        };
        for client in 0..clients {
            let fresh = world.fresh(client, 0);
            world.clients.push(fresh);
            world.learn_chain(client);
        }
        world
    }

    fn fresh(&self, client: usize, lives: u64) -> Client {
        let seed = 1000 * client as u64 + 100 * lives;
        Client {
            core: VirtualLog::new(RegisterId(7), seed, &Limits::default()),
            now: Instant::from_nanos(1),
            asked: Vec::new(),
            hosts: BTreeSet::new(),
            busy: None,
            started: 0,
            lives,
        }
    }

    /// The client begins with the chain as it is.
    fn learn_chain(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.core.handle_op(OpId(u64::MAX), LogOp::Chain, state.now);
        self.settle(client);
        self.answer(client, 0, Answer::Plain);
    }

    pub(super) fn chain(&self) -> &Chain {
        self.versions.last().expect("it begins with one")
    }

    pub(super) fn is_busy(&self, client: usize) -> bool {
        self.clients[client].busy.is_some()
    }

    pub(super) fn started(&self, client: usize) -> usize {
        self.clients[client].started
    }

    pub(super) fn start(&mut self, client: usize, op: Op) {
        let told = self.told;
        let state = &mut self.clients[client];
        state.started += 1;
        state.busy = Some(told);
        let id = OpId(1 << 32 | state.started as u64);
        let op = match op {
            Op::Append(number) => LogOp::Append { records: record(number) },
            Op::Read => LogOp::Read { min: LogPos::ZERO, max: LogPos::MAX, bytes_max: 1000 },
            Op::CheckTail => LogOp::CheckTail,
            Op::Extend => LogOp::Extend(Box::default()),
            Op::Intend(node) => {
                let replaces = state.core.chain().expect("read at the start").last().loglet.id();
                let stripe = |node| WantedStripe { sequencer: member(node), log_servers: members() };
                let wanted = Wanted::new(vec![stripe(node), stripe(node % 3 + 1)]);
                let intent = Intent {
                    id: IntentId((client as u128 + 1) << 64 | u128::from(id.0)),
                    replaces,
                    wanted: wanted.clone(),
                    stripes: None,
                    since_unix_ms: 0,
                };
                let op = ExtendOp { replaces: Some(replaces), wanted: Some(wanted), intent: Some(intent) };
                LogOp::Extend(Box::new(op))
            }
        };
        state.core.handle_op(id, op, state.now);
        self.settle(client);
    }

    /// What may be answered next: by whom, to which request, and how.
    pub(super) fn possible(&self) -> Vec<(usize, usize, Answer)> {
        let mut possible = Vec::new();
        for (client, state) in self.clients.iter().enumerate() {
            for (index, Asked { request, taken }) in state.asked.iter().enumerate() {
                let answers = match request {
                    Request::Loglet { loglet, op, .. } => self.loglets[loglet].answers(op, *taken),
                    Request::MetaStore { op: MetaStoreOp::Write { .. }, .. } => vec![Answer::Plain, Answer::Unknown],
                    _ => vec![Answer::Plain],
                };
                possible.extend(answers.into_iter().map(|answer| (client, index, answer)));
            }
        }
        possible
    }

    /// A request is answered, or comes further.
    pub(super) fn answer(&mut self, client: usize, index: usize, answer: Answer) {
        let Asked { request, taken } = self.clients[client].asked.remove(index);
        match request {
            Request::Loglet { loglet, op: LogletOp::Append { records }, id }
                if matches!(answer, Answer::Take | Answer::TakeSealed) =>
            {
                let taken = Some(self.loglets.get_mut(&loglet).expect("asked of one").give(&records));
                let request = Request::Loglet { loglet, id, op: LogletOp::Append { records } };
                self.clients[client].asked.insert(index, Asked { request, taken });
            }
            Request::Loglet { loglet, id, op } => {
                let result = self.loglets.get_mut(&loglet).expect("asked of one").answer(op, taken, answer);
                self.tell(client, id, result);
            }
            Request::Create { loglet, id } => {
                // Whoever has begun to make one may go on with it; one that was deleted stays so (P5).
                let made = self.loglets.entry(loglet).or_default();
                assert_eq!(*made.maker.get_or_insert(client), client, "a loglet is made by one client (P5)");
                let result = if made.deleted { LogletResult::Gone } else { LogletResult::Done };
                self.tell(client, id, result);
            }
            Request::Delete { loglet, id, .. } => {
                // Its creation may not have come this far, or come later.
                self.loglets.entry(loglet).or_default().deleted = true;
                self.tell(client, id, LogletResult::Done);
            }
            Request::MetaStore { id, op } => {
                let result = self.register(op, answer);
                let state = &mut self.clients[client];
                state.core.handle_metastore(id, result, state.now);
            }
            other => unreachable!("no program asks for {other:?}"),
        }
        self.settle(client);
    }

    fn tell(&mut self, client: usize, id: OpId, result: LogletResult) {
        let state = &mut self.clients[client];
        state.core.handle_loglet(id, result, state.now);
    }

    fn newest(&self) -> Versioned {
        let chain = self.chain();
        Versioned { version: Version(chain.version), members: members(), value: chain.to_json() }
    }

    fn register(&mut self, op: MetaStoreOp, answer: Answer) -> MetaStoreResult {
        let value = match op {
            MetaStoreOp::Read { .. } => return MetaStoreResult::Value(self.newest()),
            MetaStoreOp::Write { value, .. } => value,
            MetaStoreOp::Prepare { .. } => unreachable!("nobody waits for it"),
        };
        let chain = Chain::from_json(&value).expect("only chains are written");
        if answer == Answer::Unknown {
            self.late.push(chain);
            return MetaStoreResult::Unknown;
        }
        let version = Version(chain.version);
        match self.write(chain) {
            true => MetaStoreResult::Written { version, handed_over: true },
            false => MetaStoreResult::Conflict(self.newest()),
        }
    }

    fn write(&mut self, chain: Chain) -> bool {
        let fits = chain.version == self.chain().version + 1;
        if fits {
            self.judge(&chain);
            self.versions.push(chain);
        }
        fits
    }

    /// Writes that may be made although nobody waits for them any more.
    pub(super) fn late(&self) -> usize {
        self.late.len()
    }

    pub(super) fn write_late(&mut self, index: usize) {
        let chain = self.late.remove(index);
        self.write(chain);
        self.check();
    }

    /// The client's next deadline passes.
    pub(super) fn pass_deadline(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let Some((deadline, _)) = state.core.poll_timeout() else { return };
        state.now = deadline.max(state.now);
        state.core.handle_timeout(state.now);
        self.settle(client);
    }

    pub(super) fn has_deadline(&self, client: usize) -> bool {
        self.clients[client].core.poll_timeout().is_some()
    }

    /// The client's process ends, and another one goes on with the next operation. A write of the register may still arrive.
    pub(super) fn restart(&mut self, client: usize) {
        let Client { asked, started, lives, .. } = self.clients[client].clone();
        for Asked { request, .. } in asked {
            if let Request::MetaStore { op: MetaStoreOp::Write { value, .. }, .. } = request {
                self.late.push(Chain::from_json(&value).expect("only chains are written"));
            }
        }
        self.clients[client] = Client { started, ..self.fresh(client, lives + 1) };
        self.learn_chain(client);
        self.endings.insert("restarted");
    }

    /// Takes what the core has to say.
    fn settle(&mut self, client: usize) {
        loop {
            let state = &mut self.clients[client];
            let wanted = state.core.wanted_hosts();
            if let Some(new) = wanted.iter().find(|member| !state.hosts.contains(&member.node)) {
                state.hosts.insert(new.node);
                state.core.handle_host(host(new.node), state.now);
            } else if let Some(request) = state.core.poll_request() {
                let is_hint = matches!(request, Request::MetaStore { op: MetaStoreOp::Prepare { .. }, .. });
                if !is_hint && !matches!(request, Request::Open(_) | Request::Close(_)) {
                    state.asked.push(Asked { request, taken: None });
                }
            } else if let Some((id, result)) = state.core.poll_result() {
                self.ended(client, id, result);
            } else {
                break;
            }
        }
        self.check();
    }

    fn ended(&mut self, client: usize, id: OpId, result: LogResult) {
        if id == OpId(u64::MAX) {
            return;
        }
        let began = self.clients[client].busy.take().expect("one is under way");
        let ending = match result {
            LogResult::Appended { at, records } => {
                for (position, number) in (at.first.0..).map(LogPos).zip(numbers(&records)) {
                    let is_new = self.acknowledged.insert(position, number).is_none();
                    self.broken.extend((!is_new).then_some(Rule::Lost));
                    self.broken.extend((position < began).then_some(Rule::Stale));
                    self.told = self.told.max(position + 1);
                }
                "appended"
            }
            LogResult::AppendedApart { .. } => "not appended",
            LogResult::Tail(tail) => {
                self.broken.extend((tail < began).then_some(Rule::Stale));
                self.told = self.told.max(tail);
                "tail"
            }
            LogResult::Records { first, records } => {
                for (position, number) in (first.0..).map(LogPos).zip(numbers(&records)) {
                    let before = self.read.insert(position, number);
                    self.broken.extend(before.is_some_and(|before| before != number).then_some(Rule::OtherValue));
                }
                "records"
            }
            LogResult::NothingYet => "nothing to read",
            LogResult::Chain(_) => "extended",
            LogResult::Overtaken(_) => "overtaken",
            LogResult::Pending(_) => "pending",
            LogResult::Unavailable { .. } => "unavailable",
            other => unreachable!("no program ends as {other:?}"),
        };
        self.endings.insert(ending);
    }

    /// Covers every field of every core, what was asked and what was told, so that equal digests mean equal futures.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}
