//! Reads a log back and compares it with what was acknowledged, in constant memory.
//!
//! Records tell who appended them ([`RecordKey`]), so nothing has to be kept of each: a ledger of one client is its count,
//! the few sequences that failed, and a sum over (sequence, offset) of all acknowledgements, which the records read must
//! reproduce. A client stops at its first failure, so the failed ones are at most what it had in flight. Of a log that is trimmed
//! meanwhile the sum is kept for each of the last stretches apart, and only those that are left must be reproduced.

use std::collections::BTreeSet;

use serde::Serialize;

use super::payload::{RecordKey, mix};
use super::stretches::{Stretches, Sum};
use crate::base::Offset;

/// What one client did. Sequences are issued in order from 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    issued: u64,
    acknowledged: u64,
    failed: BTreeSet<u64>,
    placed: u64,
    /// The same in parts, of a log that is trimmed.
    stretches: Option<Stretches>,
    /// Of every append, by its sequence, where a history is wanted.
    timings: Option<Vec<Timing>>,
}

/// One append, in nanoseconds from the start of the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timing {
    /// Not later than it was asked for.
    pub(super) invoked: u64,
    /// Not earlier than its end, if that is known.
    pub(super) ended: Option<u64>,
    /// Where it was acknowledged.
    pub(super) offset: Option<Offset>,
}

/// One term of the sum over acknowledgements; addition makes it independent of the order.
fn place(sequence: u64, offset: Offset) -> u64 {
    mix(mix(sequence.wrapping_add(1)).wrapping_add(offset.0))
}

impl Ledger {
    /// Number of appends so far, which is the next sequence.
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// Number of acknowledged appends.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A ledger that also keeps when each append began and ended: 40 bytes each.
    pub(super) fn recording() -> Self {
        Self { timings: Some(Vec::new()), ..Self::default() }
    }

    /// A ledger of a log that is trimmed meanwhile, at multiples of `stretch`.
    pub(super) fn of_trimmed(stretch: u64) -> Self {
        Self { stretches: Some(Stretches::of(stretch)), ..Self::default() }
    }

    /// Forgets where the appends below a trim point went; it still counts them.
    pub(super) fn forget_below(&mut self, trim_point: Offset) {
        if let Some(stretches) = &mut self.stretches {
            stretches.forget_below(trim_point);
        }
    }

    /// The acknowledgements at or above a trim point.
    fn kept(&self, trim_point: Offset) -> Sum {
        let first_failed = self.failed.first().copied().unwrap_or(self.issued);
        match &self.stretches {
            Some(stretches) => stretches.from(trim_point, Sum::none(first_failed)),
            None => {
                assert_eq!(trim_point, Offset::ZERO, "of a log that is trimmed the ledger is another one");
                Sum { first: 0, acknowledged: self.acknowledged, placed: self.placed }
            }
        }
    }

    /// What was kept.
    pub(super) fn timings(&self) -> &[Timing] {
        self.timings.as_deref().unwrap_or_default()
    }

    /// Books that the next append begins. Times are nanoseconds from the start of the load.
    pub fn issue(&mut self, invoked: u64) {
        self.issued += 1;
        if let Some(timings) = &mut self.timings {
            timings.push(Timing { invoked, ended: None, offset: None });
        }
    }

    /// Books where an append that was issued has been acknowledged.
    pub fn acknowledge(&mut self, sequence: u64, offset: Offset, ended: u64) {
        assert!(sequence < self.issued, "only what was issued is acknowledged");
        if let Some(timings) = &mut self.timings {
            let timing = &mut timings[sequence as usize];
            (timing.ended, timing.offset) = (Some(ended), Some(offset));
        }
        self.acknowledged += 1;
        let placed = place(sequence, offset);
        self.placed = self.placed.wrapping_add(placed);
        if let Some(stretches) = &mut self.stretches {
            stretches.add(sequence, offset, placed);
        }
    }

    /// Books that an append that was issued has failed, or that nobody knows.
    pub fn fail(&mut self, sequence: u64) {
        assert!(sequence < self.issued, "only what was issued fails");
        self.failed.insert(sequence);
    }
}

/// The outcome of a verification. Everything but the first three is zero when the log kept its word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verified {
    /// Appends that were acknowledged, warm-up included.
    pub acked: u64,
    /// Of these, how many were read back equal, byte for byte.
    pub read_back: u64,
    /// Of these, how many were trimmed, and so can be read by nobody.
    pub trimmed: u64,
    /// Acknowledged, not trimmed, and not in the log.
    pub missing: u64,
    /// Records that are not what their numbers say, or that nobody appended.
    pub corrupt: u64,
    /// Records that are in the log again.
    pub duplicate: u64,
    /// Clients whose records are not all at the offsets that were acknowledged.
    pub misplaced_clients: u64,
    /// In the log though their append failed, which is allowed.
    pub unacknowledged: u64,
}

impl Verified {
    /// Counts another log's records as well.
    pub fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.read_back += other.read_back;
        self.trimmed += other.trimmed;
        self.missing += other.missing;
        self.corrupt += other.corrupt;
        self.duplicate += other.duplicate;
        self.misplaced_clients += other.misplaced_clients;
        self.unacknowledged += other.unacknowledged;
    }

    /// Whether every acknowledged record that was not trimmed was found once, where it was said to be, and nothing foreign.
    pub fn holds(&self) -> bool {
        self.missing == 0
            && self.corrupt == 0
            && self.duplicate == 0
            && self.misplaced_clients == 0
            && self.read_back + self.trimmed == self.acked
    }
}

/// Compares records, given in log order, with ledgers.
pub struct Checker<'a> {
    seed: u64,
    record_bytes: usize,
    clients: Vec<Client<'a>>,
    next: Offset,
    verified: Verified,
    scratch: Vec<u8>,
}

struct Client<'a> {
    ledger: &'a Ledger,
    /// What is to be found.
    kept: Sum,
    seen: Seen,
    read_back: u64,
    present: u64,
    placed: u64,
}

impl<'a> Checker<'a> {
    /// Client numbers in the records are indices of `ledgers`. The log begins at offset 0.
    pub fn new(seed: u64, record_bytes: usize, ledgers: &'a [Ledger]) -> Self {
        Self::trimmed(seed, record_bytes, ledgers, Offset::ZERO)
    }

    /// As [`Checker::new`], for a log that was trimmed and begins at `trim_point` now. A record that was acknowledged below it
    /// must not come again.
    pub(super) fn trimmed(seed: u64, record_bytes: usize, ledgers: &'a [Ledger], trim_point: Offset) -> Self {
        let client = |ledger: &'a Ledger| {
            let kept = ledger.kept(trim_point);
            let seen = Seen { next: kept.first, ahead: BTreeSet::new() };
            Client { ledger, kept, seen, read_back: 0, present: 0, placed: 0 }
        };
        Self {
            seed,
            record_bytes,
            clients: ledgers.iter().map(client).collect(),
            next: trim_point,
            verified: Verified::default(),
            scratch: Vec::with_capacity(record_bytes),
        }
    }

    /// The offset that must come next.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Takes the record at [`Checker::next`].
    pub fn record(&mut self, record: &[u8]) {
        self.place(Some(record));
    }

    /// Takes what is at [`Checker::next`]: a record, or a no-op, which is nobody's. What was acknowledged there is missing then.
    pub(super) fn place(&mut self, place: Option<&[u8]>) {
        if let Some(record) = place {
            self.record_at(self.next, record);
        }
        self.next = self.next + 1;
    }

    /// Takes a record of a log that has offsets of its own kind. They need not be dense, or in order over several clients.
    pub fn record_at(&mut self, offset: Offset, record: &[u8]) {
        let known = RecordKey::parse(record).filter(|key| key.seed == self.seed);
        let client = known.and_then(|key| self.clients.get_mut(usize::try_from(key.client).ok()?));
        let (Some(key), Some(client)) = (known, client) else {
            self.verified.corrupt += 1;
            return;
        };
        if key.sequence >= client.ledger.issued {
            self.verified.corrupt += 1;
            return;
        }
        if !client.seen.insert(key.sequence) {
            self.verified.duplicate += 1;
            return;
        }
        let equal = key.matches(record, self.record_bytes, &mut self.scratch);
        self.verified.corrupt += u64::from(!equal);
        if client.ledger.failed.contains(&key.sequence) {
            self.verified.unacknowledged += 1;
            return;
        }
        client.present += 1;
        client.read_back += u64::from(equal);
        client.placed = client.placed.wrapping_add(place(key.sequence, offset));
    }

    /// Ends the comparison; call it when everything below the tail has been read.
    pub fn finish(self) -> Verified {
        let mut verified = self.verified;
        for client in self.clients {
            verified.acked += client.ledger.acknowledged;
            verified.read_back += client.read_back;
            verified.trimmed += client.ledger.acknowledged - client.kept.acknowledged;
            let missing = client.kept.acknowledged.saturating_sub(client.present);
            verified.missing += missing;
            verified.misplaced_clients += u64::from(missing == 0 && client.placed != client.kept.placed);
        }
        verified
    }
}

/// The sequences seen: all below `next`, and those in `ahead`. One client's records come in order, so that `ahead` is
/// empty but for what failed appends left out.
#[derive(Default)]
struct Seen {
    next: u64,
    ahead: BTreeSet<u64>,
}

/// Sequences beyond a gap that are remembered. When there are more, the gap is taken as missing for good, and a record of it
/// that comes later is booked as a duplicate: in either case the verification has failed by then.
const AHEAD_MAX: usize = 1 << 20;

impl Seen {
    /// False when it was there already.
    fn insert(&mut self, sequence: u64) -> bool {
        if sequence < self.next {
            return false;
        }
        if sequence > self.next {
            let fresh = self.ahead.insert(sequence);
            if self.ahead.len() <= AHEAD_MAX {
                return fresh;
            }
            self.next = self.ahead.pop_first().expect("it is over its bound");
        }
        self.next += 1;
        while self.ahead.first() == Some(&self.next) {
            self.ahead.pop_first();
            self.next += 1;
        }
        true
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
