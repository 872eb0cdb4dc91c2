//! One state: the cluster, what was told, and what may still happen.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::cluster::{Cluster, End, Event, LOGLET, Pair};
use super::history::History;
use super::scenario::{Answers, Faults, Op, Scenario};
use crate::base::Offset;
use crate::proto::log_server::Refused;
use crate::proto::loglet::OpId;
use crate::wire::Message;

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// The client starts the next operation of its program.
    Start(usize),
    /// A message arrives, or a write becomes durable.
    Happen(Event),
    /// The server loses power, and starts again.
    Crash(usize),
    /// The connection is lost; both sides notice.
    Break(Pair),
    /// The next deadline of this core passes.
    Timer(End),
    /// The server's disk takes nothing, for lack of space.
    Fill(usize),
    /// A disk takes nothing for now.
    Hold(usize),
    /// It takes everything again.
    Free(usize),
    /// The sequencer's process ends, and another life of it begins.
    RestartProcess,
    /// The sequencer's host gives the loglet up.
    EndSequencer,
}

#[derive(Clone)]
pub(super) struct State {
    pub(super) cluster: Cluster,
    pub(super) history: History,
    pub(super) left: Faults,
    /// How many operations of its program each client has started.
    pub(super) started: [usize; 2],
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { cluster, history, left, started } = self;
        (cluster, history, left, started).hash(state);
    }
}

/// As the search compares states: by their digests.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digest = |state: &Self| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        digest(self) == digest(other)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("history", &self.history).field("left", &self.left).finish_non_exhaustive()
    }
}

/// The operation's number: the same in whichever order clients start theirs.
fn op_id(client: usize, index: usize) -> OpId {
    OpId((client * 100 + index) as u64)
}

impl Action {
    pub(super) fn is_fault(self) -> bool {
        !matches!(self, Self::Start(_) | Self::Happen(_) | Self::Free(_))
    }
}

impl State {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut cluster = Cluster::with_lanes(3, 2, scenario.lanes, 1);
        scenario.apart.iter().for_each(|server| cluster.isolate(*server));
        cluster.results.clear();
        cluster.settle_digests();
        Self { cluster, history: History::default(), left: scenario.faults, started: [0; 2] }
    }

    /// Whether every client has run its program to the end.
    pub(super) fn is_answered(&self, scenario: &Scenario) -> bool {
        let is_through = |client: usize| {
            let length = scenario.programs[client].len();
            self.started[client] == length && !(0..length).any(|op| self.history.is_under_way(op_id(client, op)))
        };
        (0..2).all(is_through)
    }

    /// All that can happen next.
    pub(super) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions: Vec<Action> = self.cluster.possible().into_iter().map(Action::Happen).collect();
        for client in 0..2 {
            let index = self.started[client];
            let Some(op) = scenario.programs[client].get(index) else { continue };
            let before = (0..index).filter(|before| self.history.is_under_way(op_id(client, *before)));
            let waits = |before: usize| {
                !op.is_pipelined() || *op == Op::Append && scenario.programs[client][before] != Op::Append
            };
            if !before.into_iter().any(waits) {
                actions.push(Action::Start(client));
            }
        }
        if self.left.crashes > 0 {
            actions.extend(scenario.crashing.iter().map(|server| Action::Crash(*server)));
        }
        if self.left.breaks > 0 {
            actions.extend(self.cluster.connected_pairs().map(Action::Break));
        }
        if self.left.timers > 0 {
            actions.extend(self.cluster.due().into_iter().map(Action::Timer));
        }
        for (server, state) in self.cluster.servers.iter().enumerate() {
            if state.disk.refuse_records || state.disk.refuse.is_some() {
                actions.push(Action::Free(server));
                continue;
            }
            if self.left.full > 0 {
                actions.push(Action::Fill(server));
            }
            if self.left.busy > 0 {
                actions.push(Action::Hold(server));
            }
        }
        if self.left.processes > 0 {
            actions.push(Action::RestartProcess);
        }
        if self.left.ends > 0 && self.cluster.process.sequencer(LOGLET).is_some() {
            actions.push(Action::EndSequencer);
        }
        actions
    }

    /// Takes a step, with all that follows at once. `reached` gets what the step shows.
    pub(super) fn step(&mut self, action: Action, scenario: &Scenario, reached: &mut impl FnMut(&'static str)) {
        match action {
            Action::Start(client) => self.start(client, scenario),
            Action::Happen(event) => self.happen(event, reached),
            Action::Crash(server) => {
                self.left.crashes -= 1;
                self.cluster.crash(server);
                self.cluster.restart(server);
            }
            Action::Break(pair) => {
                self.left.breaks -= 1;
                self.cluster.lose_connection(pair);
            }
            Action::Timer(end) => {
                self.left.timers -= 1;
                self.cluster.pass_deadline(end);
            }
            Action::Fill(server) => {
                self.left.full -= 1;
                self.cluster.servers[server].disk.refuse_records = true;
            }
            Action::Hold(server) => {
                self.left.busy -= 1;
                self.cluster.servers[server].disk.refuse = Some(Refused::Busy);
            }
            Action::Free(server) => {
                let disk = &mut self.cluster.servers[server].disk;
                (disk.refuse_records, disk.refuse) = (false, None);
            }
            Action::RestartProcess => {
                self.left.processes -= 1;
                self.cluster.restart_process();
            }
            Action::EndSequencer => {
                self.left.ends -= 1;
                self.cluster.end_sequencer();
            }
        }
        self.cluster.pump();
        self.take_results(reached);
        while let Some(event) = self.at_once(scenario) {
            self.happen(event, reached);
            self.cluster.pump();
            self.take_results(reached);
        }
        self.cluster.results.clear();
        self.cluster.settle_digests();
        self.history.check(&self.cluster);
    }

    /// What does not wait for its turn: connections are made, and disks read, and near ones hear each other, as soon as they can.
    fn at_once(&self, scenario: &Scenario) -> Option<Event> {
        let near = |pair| scenario.near && matches!(pair, (End::Client(_), End::Sequencer | End::Lane(_)));
        let prompt = |pair| match pair {
            (End::Client(_), End::Server(_)) => scenario.answers != Answers::AtAnyTime,
            (End::Sequencer | End::Lane(_), End::Server(_)) => scenario.answers == Answers::Prompt,
            _ => false,
        };
        self.cluster.possible().into_iter().find(|event| match *event {
            Event::Connect(_) | Event::Read(_) | Event::LaneStopped => true,
            Event::Forth(pair) => near(pair),
            Event::Back(pair) => near(pair) || prompt(pair),
            Event::Remains(_) | Event::Land(_) => false,
        })
    }

    fn start(&mut self, client: usize, scenario: &Scenario) {
        let index = self.started[client];
        self.started[client] += 1;
        let (op, id) = (scenario.programs[client][index], op_id(client, index));
        match op {
            Op::Append => self.history.ask_append(id),
            Op::CheckTail | Op::CheckTailBeside => self.history.ask_tail(id),
            Op::Read => self.history.ask_read(id),
            Op::FillTo(to) => self.history.ask_fill(id, to),
            Op::Seal | Op::Trim(_) | Op::Create => self.history.ask_other(id),
            Op::Delete => {
                self.history.ask_other(id);
                self.history.delete();
            }
        }
        match op.contract(id.0, self.history.committed()) {
            Some(op) => self.cluster.start_as(client, id, op),
            None => {
                let now = self.cluster.now;
                let version = self.cluster.config.id.version;
                let core = &mut self.cluster.clients[client];
                if op == Op::Create { core.create(id, now) } else { core.delete(id, version, Vec::new(), now) }
            }
        }
    }

    fn happen(&mut self, event: Event, reached: &mut impl FnMut(&'static str)) {
        self.note_message(event, reached);
        self.cluster.happen(event);
    }

    fn note_message(&mut self, event: Event, reached: &mut impl FnMut(&'static str)) {
        let returned = |end: End| matches!(end, End::Server(server) if self.cluster.servers[server].lives > 1);
        let seen = self.cluster.next_message(event, |pair, message| match (pair, message) {
            ((End::Client(_), _), Message::Repair { .. }) => Some(("a hole is repaired", pair)),
            ((End::Client(_), _), Message::AwaitTail { .. }) => Some(("a server is waited for", pair)),
            ((End::Client(_), _), Message::Tail { .. }) => Some(("a server answers open", pair)),
            ((_, to), Message::Stored { .. } | Message::Sealed { .. }) if returned(to) => {
                Some(("a server that is back votes", pair))
            }
            _ => None,
        });
        let Some((what, (from, to))) = seen else { return };
        reached(what);
        match (what, from, to) {
            ("a hole is repaired", ..) => self.history.repaired = true,
            ("a server is waited for", End::Client(client), _) => self.history.awaits[client] = true,
            ("a server answers open", End::Client(client), to) => {
                self.history.heard_open[client] = true;
                if returned(to) {
                    reached("a server that is back votes");
                }
            }
            _ => {}
        }
    }

    fn take_results(&mut self, reached: &mut impl FnMut(&'static str)) {
        for (id, result) in std::mem::take(&mut self.cluster.fresh) {
            let client = (id.0 / 100) as usize;
            let ended = self.history.judge(client, id, &result, &self.cluster);
            reached(ended);
        }
        let known: Option<Offset> = self.cluster.process.sequencer(LOGLET).map(|sequencer| sequencer.known_tail());
        if known > Some(Offset::ZERO) {
            reached("the known tail moves");
        }
    }
}
