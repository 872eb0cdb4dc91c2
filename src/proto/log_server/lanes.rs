use super::loglet::{Fate, Loglet};
use super::shared::{Output, Shared};
use crate::base::Offset;
use crate::base::mutants::{self, Mutant};
use crate::proto::peer::PeerId;
use crate::wire::Message;

/// Connections of one loglet's sequencer that are answered: one for each shard that a node may have. Of more, the one that was heard
/// first is forgotten, until it is heard again.
const LANES_MAX: usize = 256;

/// Answers to stores, which have no number and are cumulative: each is owed at most once on each connection.
#[derive(Clone, Copy, Hash, Debug, Default)]
pub(super) struct Owes {
    pub(super) stored: bool,
    pub(super) behind: bool,
    pub(super) sealed: bool,
    pub(super) no_space: bool,
}

/// A connection on which the configured sequencer stores: its only one, or that of one of its lanes, which share the offsets and nothing
/// else here. Each is answered what it waits for, whoever stored last.
#[derive(Clone, Hash, Debug)]
pub(super) struct Lane {
    pub(super) peer: PeerId,
    /// The last tail told here as a success, or the tail when it was first heard.
    told: Offset,
    /// Where the furthest store that came on it ended.
    stored_to: Offset,
    /// Where the last store that came on it began: what the lane has below is not coming any more, or comes again behind a `Behind`. None
    /// before it has stored anything.
    position: Option<Offset>,
    pub(super) owes: Owes,
}

/// The lanes of a loglet's sequencer, in the order in which they were heard first.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Lanes {
    all: Vec<Lane>,
    /// The loglet is in the line of those that owe something.
    queued: bool,
}

impl Lanes {
    /// A connection that has been heard.
    pub(super) fn of(&mut self, peer: PeerId) -> Option<&mut Lane> {
        self.all.iter_mut().find(|lane| lane.peer == peer)
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.all.iter().any(|lane| lane.peer == peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.all.iter()
    }

    /// All of them owe something from now on, or do not.
    pub(super) fn each(&mut self, owe: impl Fn(&mut Owes)) {
        self.all.iter_mut().for_each(|lane| owe(&mut lane.owes));
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.all.retain(|lane| lane.peer != peer);
    }

    /// Where every lane that stores here has come to, or gone beyond.
    pub(super) fn position(&self) -> Offset {
        self.all.iter().filter_map(|lane| lane.position).min().unwrap_or(Offset::MAX)
    }
}

impl Loglet {
    /// Notes where the sequencer is heard. What it does not know on a new connection it asks for by storing it again.
    pub(super) fn hear(&mut self, peer: PeerId) {
        if self.lanes.contains(peer) {
            return;
        }
        if self.lanes.all.len() == LANES_MAX {
            self.lanes.all.remove(0);
        }
        let (told, owes) = (self.local_tail(), Owes { no_space: self.no_space, ..Owes::default() });
        self.lanes.all.push(Lane { peer, told, stored_to: Offset::ZERO, position: None, owes });
    }

    /// A store of `first..end` came on this connection.
    pub(super) fn hear_store(&mut self, peer: PeerId, first: Offset, end: Offset) {
        self.hear(peer);
        let lane = self.lanes.of(peer).expect("heard just now");
        lane.position = Some(first);
        lane.stored_to = lane.stored_to.max(end);
    }

    /// This connection is owed something.
    pub(super) fn owe(&mut self, peer: PeerId, owe: impl FnOnce(&mut Owes)) {
        // One that is forgotten, as too many are there, is told when it is heard again.
        if let Some(lane) = self.lanes.of(peer) {
            owe(&mut lane.owes);
        }
    }

    /// Something that came early was dropped, which was sent on this connection or on any other that has sent something not yet taken.
    pub(super) fn owe_behind(&mut self, peer: PeerId) {
        let next = self.next;
        for lane in self.lanes.all.iter_mut().filter(|lane| lane.peer == peer || lane.stored_to > next) {
            lane.owes.behind = true;
        }
    }

    /// Those lanes that wait for it learn how far this server is, whoever has raised the tail. If a client's known tail or a copy from
    /// another server overtakes a store on its way, that store has no answer of its own any more, and without this one the lane would keep
    /// its place in the window for ever. One that waits for nothing is left alone, unless there is no other: what the rest store is none
    /// of its business, and would wake it at every unit.
    fn owe_tails(&mut self) {
        let (tail, is_only) = (self.local_tail(), self.lanes.all.len() == 1);
        for lane in &mut self.lanes.all {
            lane.owes.stored |= lane.told < tail && (is_only || lane.told < lane.stored_to);
        }
    }

    /// Whether something owed on a connection may be said now.
    fn is_due(&self, owes: &Owes) -> bool {
        match self.fate {
            _ if self.deleting => false,
            Fate::Open if self.no_space => owes.stored || owes.no_space,
            Fate::Open => owes.stored || owes.behind,
            _ if mutants::is(Mutant::AckAfterSeal) && owes.stored => true,
            Fate::Sealing => false,
            Fate::Sealed => (owes.stored || owes.behind || owes.sealed) && self.catch_up.is_none(),
        }
    }

    pub(super) fn queue_owed(&mut self, shared: &mut Shared) {
        if !shared.failed && self.is_open() && self.cell.written {
            self.owe_tails();
        }
        if !self.lanes.queued && self.lanes.iter().any(|lane| self.is_due(&lane.owes)) {
            self.lanes.queued = true;
            shared.owing.push_back(self.id);
        }
    }

    /// The next answer owed to the sequencer, decided now: what was a success when it was owed is none any more if the loglet has
    /// been sealed since (P2). None takes the loglet off the queue.
    pub(super) fn owed(&mut self) -> Option<Output> {
        for index in 0..self.lanes.all.len() {
            if let Some(message) = self.owed_on(index) {
                return Some(Output::Send { to: self.lanes.all[index].peer, message });
            }
        }
        self.lanes.queued = false;
        None
    }

    fn owed_on(&mut self, index: usize) -> Option<Message<'static>> {
        let (loglet, tail, followed) = (self.id, self.local_tail(), !self.subscriptions.is_empty());
        let is_sealed = self.tells_sealed();
        let lane = &mut self.lanes.all[index];
        let owes = &mut lane.owes;
        match self.fate {
            _ if self.deleting => None,
            Fate::Open | Fate::Sealing | Fate::Sealed
                if (self.fate == Fate::Open || mutants::is(Mutant::AckAfterSeal))
                    && std::mem::take(&mut owes.stored) =>
            {
                lane.told = tail;
                Some(Message::Stored { loglet, tail, followed })
            }
            Fate::Open if self.no_space => {
                std::mem::take(&mut owes.no_space).then_some(Message::NoSpace { request: 0, loglet })
            }
            Fate::Open if std::mem::take(&mut owes.behind) => {
                lane.position = lane.position.map(|position| position.min(tail));
                Some(Message::Behind { request: 0, loglet, tail, known_tail: self.known_tail })
            }
            Fate::Sealed if is_sealed && (owes.stored || owes.behind || owes.sealed) => {
                *owes = Owes::default();
                Some(self.sealed_message(0))
            }
            _ => None,
        }
    }
}
