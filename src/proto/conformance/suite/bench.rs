use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Checked, LogletUnderTest, Skipped};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::wire::{Batch, BatchBuilder};

/// Runs one behaviour, and checks what holds for all of them: each operation ends with exactly one result.
pub(crate) fn check<L: LogletUnderTest>(mut loglet: L, behaviour: impl FnOnce(&mut Bench<'_, L>) -> Checked) {
    let mut bench = Bench::new(&mut loglet);
    match behaviour(&mut bench) {
        Ok(()) => bench.finish(),
        Err(Skipped(reason)) => eprintln!("skipped: {reason}"),
    }
}

/// A loglet with the bookkeeping of its operations.
pub(crate) struct Bench<'a, L> {
    pub(crate) loglet: &'a mut L,
    next_id: u64,
    /// Operations that owe a result.
    open: BTreeSet<OpId>,
    subscriptions: BTreeSet<OpId>,
    results: BTreeMap<OpId, VecDeque<LogletResult>>,
}

impl<'a, L: LogletUnderTest> Bench<'a, L> {
    fn new(loglet: &'a mut L) -> Self {
        let (open, subscriptions, results) = Default::default();
        Self { loglet, next_id: 0, open, subscriptions, results }
    }

    /// Starts an operation.
    pub(crate) fn start(&mut self, client: usize, op: LogletOp) -> OpId {
        self.next_id += 1;
        let id = OpId(self.next_id);
        self.open.insert(id);
        if matches!(op, LogletOp::Subscribe { .. }) {
            self.subscriptions.insert(id);
        }
        self.loglet.start(client, id, op);
        id
    }

    /// Tells a subscription something that has no result.
    pub(crate) fn tell(&mut self, client: usize, subscription: OpId, op: LogletOp) {
        self.loglet.start(client, subscription, op);
    }

    /// Takes in one result; none when the loglet is quiet.
    fn receive(&mut self) -> Option<()> {
        let (id, result) = self.loglet.next()?;
        assert!(self.open.contains(&id), "{id:?} has ended or never was, and then came {result:?}");
        let streams = self.subscriptions.contains(&id);
        let last = matches!(result, LogletResult::SubscriptionEnded { .. });
        assert!(streams || !last, "only a subscription ends as one");
        if !streams || last {
            self.open.remove(&id);
        }
        self.results.entry(id).or_default().push_back(result);
        Some(())
    }

    /// The next result of this operation.
    pub(crate) fn wait(&mut self, id: OpId) -> LogletResult {
        loop {
            if let Some(result) = self.results.get_mut(&id).and_then(VecDeque::pop_front) {
                return result;
            }
            self.receive().unwrap_or_else(|| panic!("the loglet is quiet and {id:?} has no result"));
        }
    }

    /// Waits until the loglet is quiet.
    pub(crate) fn settle(&mut self) {
        while self.receive().is_some() {}
    }

    /// Whether this operation has a result that was not taken yet.
    pub(crate) fn has_result(&self, id: OpId) -> bool {
        self.results.get(&id).is_some_and(|results| !results.is_empty())
    }

    /// Runs an operation to its end.
    pub(crate) fn run(&mut self, client: usize, op: LogletOp) -> LogletResult {
        let id = self.start(client, op);
        self.wait(id)
    }

    /// Appends payloads as one batch, which must be acknowledged; returns the first offset.
    pub(crate) fn append<P: AsRef<[u8]>>(&mut self, client: usize, payloads: &[P]) -> u64 {
        let records = records(payloads);
        match self.run(client, LogletOp::Append { records: records.clone() }) {
            LogletResult::Appended { first, stride, records: back } => {
                assert_eq!((stride, back), (self.loglet.stride(), records), "the records come back");
                first.0
            }
            other => panic!("the append has failed: {other:?}"),
        }
    }

    /// Whether offsets go over several stripes.
    pub(crate) fn is_striped(&self) -> bool {
        self.loglet.stride() > 1
    }

    /// Where the records of an append are that begins there.
    pub(crate) fn place<P: AsRef<[u8]>>(&self, placed: &mut BTreeMap<u64, Vec<u8>>, first: u64, payloads: &[P]) {
        for (payload, offset) in payloads.iter().zip((first..).step_by(self.loglet.stride() as usize)) {
            let before = placed.insert(offset, payload.as_ref().to_vec());
            assert_eq!(before, None, "{offset} was given twice");
        }
    }

    /// Reads everything up to the last of these records: they are where they were acknowledged, and nothing else is in the loglet, but for
    /// the no-ops of one that is striped.
    pub(crate) fn holds(&mut self, client: usize, placed: &BTreeMap<u64, Vec<u8>>, bytes_max: u32) {
        let end = placed.last_key_value().map_or(0, |(last, _)| last + 1);
        let there = self.read(client, 0, end, end, bytes_max);
        for (offset, payload) in (0..).zip(there) {
            match placed.get(&offset) {
                Some(expected) => assert_eq!(&payload, expected, "at {offset}"),
                None => assert!(self.is_striped() && payload == NO_OP, "{payload:?} at {offset}"),
            }
        }
    }

    /// Appends `count` numbered records, one batch each.
    pub(crate) fn append_numbered(&mut self, client: usize, range: std::ops::Range<u64>) {
        for number in range {
            assert_eq!(self.append(client, &[numbered(number)]), number);
        }
    }

    /// The tail and whether it is sealed.
    pub(crate) fn check_tail(&mut self, client: usize) -> (u64, bool) {
        match self.run(client, LogletOp::CheckTail) {
            LogletResult::Tail { tail, sealed } => (tail.0, sealed),
            other => panic!("no tail: {other:?}"),
        }
    }

    /// Reads `[min, max)` below `limit` in as many reads as it takes, each of about `bytes_max`.
    pub(crate) fn read(&mut self, client: usize, min: u64, max: u64, limit: u64, bytes_max: u32) -> Vec<Vec<u8>> {
        let (mut at, mut payloads) = (min, Vec::new());
        while at < max.min(limit) {
            let (min, max, limit) = (Offset(at), Offset(max), Offset(limit));
            match self.run(client, LogletOp::ReadNext { min, max, limit, bytes_max }) {
                LogletResult::Records { first, records } => {
                    assert_eq!(first, min, "a read begins where it was asked to");
                    at += u64::from(records.count);
                    payloads.extend(payloads_of(&records));
                }
                other => panic!("no records at {at}: {other:?}"),
            }
        }
        assert!(at <= max, "nothing beyond what was asked for");
        payloads
    }

    fn finish(mut self) {
        self.settle();
        let left: Vec<_> = self.open.difference(&self.subscriptions).collect();
        assert!(left.is_empty(), "{left:?} have no result");
    }
}

/// What stands for a no-op among payloads; nobody appends it.
pub(crate) const NO_OP: &[u8] = b"\0no-op";

/// These payloads as an append wants them; and no-ops, where they stand, as a read finds them.
pub(crate) fn records<P: AsRef<[u8]>>(payloads: &[P]) -> Records {
    let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
    for payload in payloads {
        match payload.as_ref() {
            NO_OP => builder.push_no_op(),
            payload => builder.push(payload),
        }
    }
    builder.write_to(&mut bytes);
    Records { count: builder.count(), bytes }
}

/// The payloads of records and no-ops, whose checksums must match.
pub(crate) fn payloads_of(records: &Records) -> Vec<Vec<u8>> {
    let batch = Batch::new(records.count, &records.bytes).expect("records are a batch");
    assert_eq!(batch.verify(), Ok(()), "records match their checksums");
    batch.values().map(|payload| payload.unwrap_or(NO_OP).to_vec()).collect()
}

/// Record number `number`: unique, of varying length.
pub(crate) fn numbered(number: u64) -> Vec<u8> {
    let mut payload = format!("record {number} ").into_bytes();
    payload.resize(payload.len() + (number as usize * 7) % 40, b'.');
    payload
}

/// The records `range`.
pub(crate) fn all_numbered(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(numbered).collect()
}
