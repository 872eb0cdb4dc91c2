//! What clients were told, and what must hold because of it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cluster::{Cluster, LOGLET};
use super::super::suite::NO_OP;
use crate::base::Offset;
use crate::proto::loglet::{LogletResult, OpId, Records};
use crate::wire::Batch;

/// What must always hold. Each is a property of the model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Rule {
    /// No acknowledged append lies at or beyond a tail that may become the stop.
    AcknowledgedBelowStop,
    /// No `(X, open)` lies beyond a tail that may become the stop (P18).
    OpenBelowStop,
    /// No known tail, of a client, a server or the sequencer, lies beyond a tail that may become the stop (P1).
    KnownBelowStop,
    /// Nothing that was asked for after a completed seal is acknowledged, or answered open.
    NothingAfterSeal,
    /// A checkTail covers what was acknowledged and found before it was asked for.
    TailCovers,
    /// An append comes behind what was acknowledged and found before it was asked for (P18).
    AppendsInOrder,
    /// An offset has one value, on every disk and for everybody.
    OneValue,
    /// What is acknowledged, or lies below a returned tail, is durable on a majority.
    DurableOnMajority,
    /// A read returns nothing beyond what is known to be committed.
    ReadBelowLimit,
    /// No core meets a state that it rules out.
    Assertion,
}

impl Rule {
    pub(super) const ALL: [Self; 10] = [
        Self::AcknowledgedBelowStop,
        Self::OpenBelowStop,
        Self::KnownBelowStop,
        Self::NothingAfterSeal,
        Self::TailCovers,
        Self::AppendsInOrder,
        Self::OneValue,
        Self::DurableOnMajority,
        Self::ReadBelowLimit,
        Self::Assertion,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedBelowStop => "no acknowledged append at or beyond a sealed tail",
            Self::OpenBelowStop => "no open tail beyond a sealed tail",
            Self::KnownBelowStop => "no known tail beyond a sealed tail",
            Self::NothingAfterSeal => "nothing acknowledged or open after a completed seal",
            Self::TailCovers => "a checkTail covers what was acknowledged and found",
            Self::AppendsInOrder => "an append comes behind what was acknowledged and found",
            Self::OneValue => "one value for each offset",
            Self::DurableOnMajority => "what was promised is durable on a majority",
            Self::ReadBelowLimit => "no read beyond its limit",
            Self::Assertion => "no assertion fails",
        }
    }
}

/// What was asked, and what bounds the answer.
#[derive(Clone, Copy, Hash, Debug)]
enum Asked {
    Append { least: u64, after_seal: bool },
    Tail { least: u64, after_seal: bool },
    Read { limit: u64 },
    Fill { to: u64 },
    Other,
}

/// All that clients have been told.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct History {
    asked: BTreeMap<OpId, Asked>,
    values: BTreeMap<u64, Vec<u8>>,
    /// The end of the highest acknowledged append, or what a fill has reached.
    acknowledged: u64,
    /// The largest `(X, open)`.
    open: u64,
    /// The smallest `(X, sealed)`: any of them may become the stop.
    sealed: Option<u64>,
    seal_complete: bool,
    deleted: bool,
    /// A record was copied to a lower server on behalf of the checkTails under way.
    pub(super) repaired: bool,
    /// Clients whose checkTail has had an open answer, and whose checkTail waits for a server to catch up.
    pub(super) heard_open: [bool; 2],
    pub(super) awaits: [bool; 2],
    pub(super) broken: BTreeSet<Rule>,
}

impl History {
    pub(super) fn is_under_way(&self, id: OpId) -> bool {
        self.asked.contains_key(&id)
    }

    /// The largest tail that a client may take for committed.
    pub(super) fn committed(&self) -> u64 {
        self.acknowledged.max(self.open)
    }

    pub(super) fn ask_append(&mut self, id: OpId) {
        let least = self.committed();
        self.asked.insert(id, Asked::Append { least, after_seal: self.seal_complete });
    }

    pub(super) fn ask_tail(&mut self, id: OpId) {
        let least = self.committed();
        self.asked.insert(id, Asked::Tail { least, after_seal: self.seal_complete });
    }

    pub(super) fn ask_read(&mut self, id: OpId) {
        let limit = self.committed();
        self.asked.insert(id, Asked::Read { limit });
    }

    pub(super) fn ask_fill(&mut self, id: OpId, to: u64) {
        self.asked.insert(id, Asked::Fill { to });
    }

    pub(super) fn ask_other(&mut self, id: OpId) {
        self.asked.insert(id, Asked::Other);
    }

    fn require(&mut self, holds: bool, rule: Rule) {
        if !holds {
            self.broken.insert(rule);
        }
    }

    fn note(&mut self, first: u64, records: &Records) {
        let batch = Batch::new(records.count, &records.bytes).expect("results are batches");
        for (offset, payload) in (first..).zip(batch.values()) {
            let payload = payload.unwrap_or(NO_OP);
            let known = self.values.entry(offset).or_insert_with(|| payload.to_vec());
            if known != payload {
                self.broken.insert(Rule::OneValue);
            }
        }
    }

    /// Takes a result; returns what it shows the model to have reached.
    pub(super) fn judge(&mut self, client: usize, id: OpId, result: &LogletResult, cluster: &Cluster) -> &'static str {
        let asked = self.asked.remove(&id).expect("one result for one operation");
        match (asked, result) {
            (Asked::Append { least, after_seal }, LogletResult::Appended { first, records, .. }) => {
                self.note(first.0, records);
                self.acknowledged = self.acknowledged.max(first.0 + u64::from(records.count));
                self.require(first.0 >= least, Rule::AppendsInOrder);
                self.require(!after_seal, Rule::NothingAfterSeal);
                self.require_durable(self.acknowledged, cluster);
                "an append is acknowledged"
            }
            (Asked::Append { .. }, LogletResult::AppendSealed { first: Some(_), .. }) => {
                "an append ends sealed, with an offset"
            }
            (Asked::Append { .. }, _) => "an append ends otherwise",
            (Asked::Tail { least, after_seal }, LogletResult::Tail { tail, sealed }) => {
                self.require(tail.0 >= least, Rule::TailCovers);
                self.require_durable(tail.0, cluster);
                let (repaired, heard_open, awaits) = (self.repaired, self.heard_open[client], self.awaits[client]);
                (self.heard_open[client], self.awaits[client]) = (false, false);
                if !sealed {
                    self.require(!after_seal, Rule::NothingAfterSeal);
                    self.open = self.open.max(tail.0);
                    return if awaits { "row: none sealed, waited" } else { "row: none sealed, equal" };
                }
                self.seal_complete = true;
                self.sealed = Some(self.sealed.map_or(tail.0, |before| before.min(tail.0)));
                match (heard_open, repaired) {
                    (true, _) => "row: mixed",
                    (false, true) => "row: all sealed, repaired",
                    (false, false) => "row: all sealed, equal",
                }
            }
            (Asked::Fill { to }, LogletResult::Filled { known_tail, .. }) => {
                assert!(known_tail.0 >= to, "one batch reaches {to}");
                self.acknowledged = self.acknowledged.max(known_tail.0);
                self.require_durable(known_tail.0, cluster);
                "a fill is answered"
            }
            (Asked::Fill { .. }, LogletResult::FillFailed(_)) => "a fill has failed",
            (Asked::Read { limit }, LogletResult::Records { first, records }) => {
                self.note(first.0, records);
                let known = cluster.clients[client].known_tail().0;
                self.require(first.0 + u64::from(records.count) <= limit.max(known), Rule::ReadBelowLimit);
                "records are read"
            }
            (Asked::Read { .. }, LogletResult::Trimmed { .. }) => "a read meets the trim point",
            (_, LogletResult::Sealed) => {
                self.seal_complete = true;
                "a seal is complete"
            }
            (_, LogletResult::TrimDone { .. }) => "a trim is done",
            (_, LogletResult::Gone) => "a deleted loglet is gone",
            (_, LogletResult::SequencerLost { .. }) => "the sequencer is lost",
            (_, LogletResult::Done) => "the loglet is created or deleted",
            (_, LogletResult::NothingYet) => "a read finds nothing yet",
            (_, LogletResult::Unavailable { .. }) => "an operation takes too long",
            (_, other) => panic!("not an answer to what was asked: {other:?}"),
        }
    }

    /// From here on disks need not hold what was promised: the chain no longer names the loglet.
    pub(super) fn delete(&mut self) {
        self.deleted = true;
    }

    fn require_durable(&mut self, end: u64, cluster: &Cluster) {
        let holds = |offset| {
            let copies = cluster.servers.iter().filter(|server| server.disk.is_safe(LOGLET, Offset(offset))).count();
            copies > cluster.servers.len() / 2
        };
        self.require(self.deleted || (0..end).all(holds), Rule::DurableOnMajority);
    }

    /// What must hold between what was told and what the cores know and the disks hold.
    pub(super) fn check(&mut self, cluster: &Cluster) {
        if let Some(stop) = self.sealed {
            let statuses = cluster.servers.iter().filter_map(|server| server.core.as_ref()?.loglets().next());
            let servers = statuses.map(|loglet| loglet.known_tail.0);
            let clients = cluster.clients.iter().map(|client| client.known_tail().0);
            let lanes = (0..cluster.process.lanes()).filter_map(|lane| cluster.process.lane(lane));
            let known = servers.chain(clients).chain(lanes.map(|lane| lane.known_tail().0)).max().unwrap_or(0);
            self.require(self.acknowledged <= stop, Rule::AcknowledgedBelowStop);
            self.require(self.open <= stop, Rule::OpenBelowStop);
            self.require(known <= stop, Rule::KnownBelowStop);
        }
        let disks = cluster.servers.iter().flat_map(|server| server.disk.records_of(LOGLET));
        let told = self.values.iter().map(|(offset, value)| (Offset(*offset), value.clone()));
        let mut values: BTreeMap<Offset, Vec<u8>> = BTreeMap::new();
        let mut one = true;
        for (offset, value) in disks.chain(told) {
            one &= *values.entry(offset).or_insert_with(|| value.clone()) == value;
        }
        self.require(one, Rule::OneValue);
    }
}
