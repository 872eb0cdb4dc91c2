//! The client of a log, its loglets and its register scripted.

use std::time::Duration;

use super::{id, intent, loglet, member, striped};
use crate::base::{Incarnation, Instant, Limits, LogPos, LogletId, Offset, RegisterId, Version};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, Versioned};
use crate::proto::testing::Owned;
use crate::proto::virtual_log::contract::{AppendFailure, ExtendOp, LogOp, LogResult, Request, Run};
use crate::proto::virtual_log::{Chain, Host, LogletSpec, Step, VirtualLog};

struct Rig {
    log: VirtualLog,
    now: Instant,
    chain: Chain,
    deleted: bool,
    created: Vec<LogletId>,
    /// The request for the last of them.
    creation: Option<OpId>,
    /// Those to be deleted.
    removed: Vec<LogletId>,
    /// Whose clients the log has asked for.
    clients: Vec<LogletSpec>,
}

impl Rig {
    /// A log whose chain has one loglet.
    fn new() -> Self {
        Self::begin(loglet(1, 1))
    }

    fn begin(first: impl Into<LogletSpec>) -> Self {
        let log = VirtualLog::new(RegisterId(7), 1, &Limits::default());
        Self {
            log,
            now: Instant::from_nanos(1),
            chain: Chain::begin(first),
            deleted: false,
            created: Vec::new(),
            creation: None,
            removed: Vec::new(),
            clients: Vec::new(),
        }
    }

    fn start(&mut self, op_id: u64, op: LogOp) {
        self.log.handle_op(OpId(op_id), op, self.now);
    }

    /// What is asked of loglets; the register is answered on the way.
    fn requests(&mut self) -> Vec<(LogletId, OpId, LogletOp)> {
        let mut asked = Vec::new();
        while let Some(request) = self.log.poll_request() {
            match request {
                Request::Loglet { loglet, id, op } => asked.push((loglet, id, op)),
                Request::MetaStore { id, op: MetaStoreOp::Read { .. } } => {
                    let (version, value) = match self.deleted {
                        true => (self.chain.version + 1, Chain::deleted(Some(&self.chain))),
                        false => (self.chain.version, self.chain.to_json()),
                    };
                    let newest = Versioned { version: Version(version), members: Vec::new(), value };
                    self.log.handle_metastore(id, MetaStoreResult::Value(newest), self.now);
                }
                Request::MetaStore { id, op: MetaStoreOp::Write { value, .. } } => {
                    self.chain = Chain::from_json(&value).unwrap();
                    let version = Version(self.chain.version);
                    let written = MetaStoreResult::Written { version, handed_over: true };
                    self.log.handle_metastore(id, written, self.now);
                }
                Request::Create { loglet, id } => {
                    self.created.push(loglet);
                    self.creation = Some(id);
                }
                Request::Delete { loglet, .. } => self.removed.push(loglet),
                Request::Open(loglet) => self.clients.push(*loglet),
                Request::MetaStore { op: MetaStoreOp::Prepare { .. }, .. } | Request::Close(_) => {}
                other => panic!("nobody asked for {other:?}"),
            }
        }
        asked
    }

    fn answer(&mut self, request: OpId, result: LogletResult) {
        self.log.handle_loglet(request, result, self.now);
    }

    fn pass_time(&mut self, time: Duration) {
        self.now = self.now + time;
        self.log.handle_timeout(self.now);
    }

    fn results(&mut self) -> Vec<(u64, LogResult)> {
        std::iter::from_fn(|| self.log.poll_result()).map(|(id, result)| (id.0, result)).collect()
    }

    /// These nodes answer, in this life of theirs.
    fn answering(&mut self, nodes: &[u128], life: u128) {
        for node in nodes {
            let host = Host { member: member(*node), incarnation: Incarnation(life) };
            self.log.handle_host(host, self.now);
        }
    }

    /// The last loglet is sealed, and an append waits for another one.
    fn stand_still(&mut self) {
        self.start(1, LogOp::Append { records: records(&["a"]) });
        let (_, request, records) = self.appends().remove(0);
        self.answer(request, LogletResult::AppendSealed { first: None, stride: 1, records });
    }

    /// So much time passes, a little at a time; nothing is answered but the register.
    fn pass_long(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.requests();
            self.pass_time(Duration::from_millis(20));
        }
        self.requests();
    }

    /// Somebody else ends the last loglet at this tail, and puts another behind it.
    fn extend(&mut self, tail: u64) {
        let last = self.chain.last().loglet.id();
        let next = loglet(self.chain.version + 1, 50);
        self.chain = self.chain.extended(last, Offset(tail), next, None).unwrap();
    }

    /// The streams that were begun: the request, its loglet, and the credit that it has now.
    fn opened(&mut self) -> Vec<(OpId, LogletId, u32)> {
        let mut streams: Vec<(OpId, LogletId, u32)> = Vec::new();
        for (loglet, id, op) in self.requests() {
            match op {
                LogletOp::Subscribe { credit, .. } => streams.push((id, loglet, credit)),
                LogletOp::Credit { bytes, .. } => {
                    streams.iter_mut().filter(|stream| stream.0 == id).for_each(|stream| stream.2 += bytes);
                }
                _ => {}
            }
        }
        streams
    }

    fn appends(&mut self) -> Vec<(LogletId, OpId, Records)> {
        let is_append = |(loglet, id, op)| match op {
            LogletOp::Append { records } => Some((loglet, id, records)),
            _ => None,
        };
        self.requests().into_iter().filter_map(is_append).collect()
    }
}

fn records(payloads: &[&str]) -> Records {
    let Owned { count, bytes } = Owned::of(payloads);
    Records { count, bytes }
}

/// P16: what a sealed loglet had given offsets is settled by the stop, record by record, and the rest goes on in order.
#[test]
fn a_batch_across_the_stop_is_divided_and_keeps_its_order() {
    let mut rig = Rig::new();
    rig.start(1, LogOp::Append { records: records(&["a", "b", "c"]) });
    rig.start(2, LogOp::Append { records: records(&["d"]) });
    let sent = rig.appends();
    assert_eq!(sent.iter().map(|(loglet, ..)| *loglet).collect::<Vec<_>>(), [id(1, 1); 2]);
    let sealed = |first, records: &Records| LogletResult::AppendSealed { first, stride: 1, records: records.clone() };
    rig.answer(sent[1].1, sealed(None, &sent[1].2));
    rig.answer(sent[0].1, sealed(Some(Offset(5)), &sent[0].2));
    assert!(rig.appends().is_empty(), "the loglet has no stop yet");
    rig.start(3, LogOp::Append { records: records(&["e"]) });
    assert!(rig.appends().is_empty(), "later ones wait behind");
    rig.extend(6);
    rig.pass_time(Duration::from_millis(10));
    let again = rig.appends();
    assert!(again.iter().all(|(loglet, ..)| *loglet == id(2, 50)));
    let payloads: Vec<_> = again.iter().map(|(.., records)| records.clone()).collect();
    assert_eq!(payloads, [records(&["b", "c"]), records(&["d"]), records(&["e"])]);
    assert_eq!(rig.results(), []);
    let mut first = 0;
    for (_, request, records) in again {
        let count = u64::from(records.count);
        rig.answer(request, LogletResult::Appended { first: Offset(first), stride: 1, records });
        first += count;
    }
    let run = |count, first| Run { count, first: LogPos(first), stride: 1 };
    let runs = vec![run(1, 5), run(2, 6)];
    let whole = records(&["a", "b", "c"]);
    assert_eq!(
        rig.results(),
        [
            (1, LogResult::AppendedApart { runs, failure: None, records: whole }),
            (2, LogResult::Appended { at: run(1, 8), records: records(&["d"]) }),
            (3, LogResult::Appended { at: run(1, 9), records: records(&["e"]) }),
        ]
    );
}

/// P6, P16: the records of a batch lie apart in a loglet of several stripes, and the stop divides them all the same.
#[test]
fn a_batch_of_one_stripe_is_divided_where_its_own_records_end() {
    let mut rig = Rig::new();
    rig.start(1, LogOp::Append { records: records(&["a", "b", "c"]) });
    rig.start(2, LogOp::Append { records: records(&["d", "e"]) });
    let sent = rig.appends();
    let second = LogletResult::Appended { first: Offset(0), stride: 4, records: sent[1].2.clone() };
    rig.answer(sent[1].1, second);
    let at = Run { count: 2, first: LogPos(0), stride: 4 };
    assert_eq!(rig.results(), [(2, LogResult::Appended { at, records: records(&["d", "e"]) })]);
    let sealed = LogletResult::AppendSealed { first: Some(Offset(1)), stride: 4, records: sent[0].2.clone() };
    rig.answer(sent[0].1, sealed);
    rig.extend(6);
    rig.pass_time(Duration::from_millis(10));
    let (_, request, rest) = rig.appends().remove(0);
    assert_eq!(rest, records(&["c"]), "the others are at 1 and at 5");
    rig.answer(request, LogletResult::Appended { first: Offset(0), stride: 4, records: rest });
    let runs = [(2, 1), (1, 6)].map(|(count, first)| Run { count, first: LogPos(first), stride: 4 });
    let divided = LogResult::AppendedApart { runs: runs.into(), failure: None, records: records(&["a", "b", "c"]) };
    assert_eq!(rig.results(), [(1, divided)]);
}

/// Nobody ends it, and nobody can: it does not wait for ever, and says what may have become of it.
#[test]
fn an_append_that_nobody_takes_ends_with_its_doubt() {
    let mut rig = Rig::new();
    rig.start(1, LogOp::Append { records: records(&["a"]) });
    let (_, request, given) = rig.appends().remove(0);
    rig.answer(request, LogletResult::SequencerLost { maybe_stored: true, records: given });
    rig.start(2, LogOp::Append { records: records(&["b"]) });
    for _ in 0..400 {
        rig.requests();
        rig.pass_time(Duration::from_millis(100));
    }
    let failed = |maybe_stored, payload| LogResult::AppendedApart {
        runs: Vec::new(),
        failure: Some(AppendFailure::Unavailable { maybe_stored }),
        records: records(&[payload]),
    };
    assert_eq!(rig.results(), [(1, failed(true, "a")), (2, failed(false, "b"))]);
}

/// A later try that surely stored nothing says nothing about an earlier one.
#[test]
fn the_doubt_of_one_try_outlives_the_next() {
    let mut rig = Rig::new();
    rig.start(1, LogOp::Append { records: records(&["a"]) });
    let (_, request, given) = rig.appends().remove(0);
    rig.answer(request, LogletResult::SequencerLost { maybe_stored: true, records: given });
    rig.extend(3);
    rig.pass_time(Duration::from_millis(10));
    let (loglet, request, given) = rig.appends().remove(0);
    assert_eq!(loglet, id(2, 50));
    rig.answer(request, LogletResult::AppendNoSpace { first: None, stride: 1, records: given });
    let failure = Some(AppendFailure::Unavailable { maybe_stored: true });
    let doubtful = LogResult::AppendedApart { runs: Vec::new(), failure, records: records(&["a"]) };
    assert_eq!(rig.results(), [(1, doubtful)]);
}

/// P1: whatever a loglet returns at or beyond its stop is no part of the log.
#[test]
fn nothing_at_or_beyond_a_stop_is_returned() {
    let mut rig = Rig::new();
    rig.extend(2);
    rig.start(1, LogOp::Read { min: LogPos(0), max: LogPos::MAX, bytes_max: 1000 });
    let (from, request, op) = rig.requests().remove(0);
    let LogletOp::ReadNext { max, limit, .. } = op else { panic!("a read") };
    assert_eq!((from, max, limit), (id(1, 1), Offset(2), Offset(2)));
    let too_much = LogletResult::Records { first: Offset(0), records: records(&["a", "b", "zombie"]) };
    rig.answer(request, too_much.clone());
    let inside = LogResult::Records { first: LogPos(0), records: records(&["a", "b"]) };
    assert_eq!(rig.results(), [(1, inside.clone())]);
    // A subscription goes on in the next loglet.
    rig.start(2, LogOp::Subscribe { from: LogPos(0), credit: 1000 });
    let (_, request, _) = rig.requests().remove(0);
    rig.answer(request, too_much);
    assert_eq!(rig.results(), [(2, inside)]);
    let next = rig.requests();
    let LogletOp::Subscribe { from, .. } = &next.last().unwrap().2 else { panic!("{next:?}") };
    assert_eq!((next.last().unwrap().0, *from), (id(2, 50), Offset(0)));
}

/// L5: who only follows hears of a new chain although nobody tells.
#[test]
fn a_subscription_that_stands_still_looks_at_the_chain() {
    let mut rig = Rig::new();
    rig.start(1, LogOp::Subscribe { from: LogPos(0), credit: 1000 });
    let (_, request, _) = rig.requests().remove(0);
    rig.answer(request, LogletResult::Records { first: Offset(0), records: records(&["a"]) });
    rig.extend(3);
    rig.pass_time(Limits::default().stall + Duration::from_millis(1));
    let told = rig.requests();
    let limit = told.iter().find_map(|(loglet, _, op)| match op {
        LogletOp::Credit { limit, .. } if *loglet == id(1, 1) => Some(*limit),
        _ => None,
    });
    assert_eq!(limit, Some(Offset(3)), "its server is told where the loglet ends: {told:?}");
}

/// Segments behind the present one are begun before their turn; what they bring is given in its turn, and nothing beyond a stop.
#[test]
fn closed_segments_are_read_ahead_and_given_in_their_order() {
    let mut rig = Rig::new();
    for round in 0..7 {
        let last = rig.chain.last().loglet.id();
        rig.chain = rig.chain.extended(last, Offset(2), loglet(rig.chain.version + 1, 50 + round), None).unwrap();
    }
    const CREDIT: u32 = 2 << 20;
    rig.start(1, LogOp::Subscribe { from: LogPos(1), credit: CREDIT });
    let mut streams = rig.opened();
    assert_eq!(streams.len(), 5, "the present one, and four ahead");
    let granted: u32 = streams.iter().map(|stream| stream.2).sum();
    assert_eq!(granted, CREDIT, "no more is on the way than the caller has granted");
    let two = |first: u64| {
        let texts = [format!("r{first}"), format!("r{}", first + 1)];
        records(&texts.each_ref().map(String::as_str))
    };
    // The third comes first, with one record beyond its stop.
    let late = records(&["r4", "r5", "no part of the log"]);
    rig.answer(streams[2].0, LogletResult::Records { first: Offset(0), records: late });
    assert_eq!(rig.results(), [], "its turn has not come");
    rig.answer(streams[1].0, LogletResult::Records { first: Offset(0), records: two(2) });
    assert_eq!(rig.results(), []);
    rig.answer(streams[0].0, LogletResult::Records { first: Offset(1), records: records(&["r1"]) });
    let given = rig.results();
    let given: Vec<_> = given
        .into_iter()
        .map(|(_, result)| match result {
            LogResult::Records { first, records } => (first, records),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(given, [(LogPos(1), records(&["r1"])), (LogPos(2), two(2)), (LogPos(4), two(4))]);
    streams.extend(rig.opened());
    assert_eq!(streams.len(), 7, "all closed segments by now; the last is not closed, and in its turn");
    // A loglet that cannot is asked again in its turn, and not before.
    rig.answer(streams[4].0, LogletResult::Unavailable { reason: "not now".to_owned() });
    assert_eq!((rig.results(), rig.opened().len()), (Vec::new(), 0));
    rig.answer(streams[3].0, LogletResult::Records { first: Offset(0), records: two(6) });
    let again = rig.opened();
    assert_eq!(again[0].1, streams[4].1, "its turn has come");
    assert_eq!(again.len(), 3, "with those behind it");
    for (stream, first) in again.iter().zip([8, 10, 12]) {
        rig.answer(stream.0, LogletResult::Records { first: Offset(0), records: two(first) });
    }
    assert_eq!(rig.results().len(), 4);
    assert_eq!(rig.opened().len(), 1, "the open one");
}

/// Nobody waits for a log that is deleted, and nobody goes on asking about it.
#[test]
fn whatever_waits_for_a_deleted_log_ends() {
    let mut rig = Rig::new();
    for (op, payload) in [(1, "a"), (2, "b")] {
        rig.start(op, LogOp::Append { records: records(&[payload]) });
    }
    rig.start(3, LogOp::Subscribe { from: LogPos(0), credit: 100 });
    let asked = rig.requests();
    let appends: Vec<_> = asked.iter().filter(|(.., op)| matches!(op, LogletOp::Append { .. })).collect();
    rig.start(4, LogOp::CheckTail);
    rig.requests();
    rig.deleted = true;
    let sealed = LogletResult::AppendSealed { first: Some(Offset(5)), stride: 1, records: records(&["a"]) };
    rig.answer(appends[0].1, sealed);
    rig.requests();
    let deleted = LogResult::Unavailable { reason: "the log has been deleted".to_owned() };
    let lost = |maybe_stored, payload| LogResult::AppendedApart {
        runs: Vec::new(),
        failure: Some(AppendFailure::Deleted { maybe_stored }),
        records: records(&[payload]),
    };
    assert_eq!(rig.results(), [(4, deleted.clone()), (1, lost(true, "a")), (3, deleted.clone())]);
    // What was with the loglet ends when that says so, and what comes now at once.
    rig.answer(appends[1].1, LogletResult::AppendSealed { first: None, stride: 1, records: records(&["b"]) });
    rig.start(5, LogOp::Append { records: records(&["c"]) });
    rig.start(6, LogOp::Chain);
    rig.start(7, LogOp::Subscribe { from: LogPos(0), credit: 100 });
    let expected = [(2, lost(false, "b")), (5, lost(false, "c")), (6, deleted.clone()), (7, deleted)];
    assert_eq!(rig.results(), expected);
    assert_eq!(rig.log.poll_timeout(), None);
}

/// Whoever reads the error knows neither structures nor fields.
#[test]
fn an_extend_that_takes_too_long_says_in_words_at_what() {
    let mut rig = Rig::begin(striped(1, 9, &[1, 2]));
    rig.start(1, LogOp::Extend(Box::default()));
    rig.requests();
    for node in [1, 2] {
        rig.log.handle_host(Host { member: member(node), incarnation: Incarnation(5) }, rig.now);
    }
    rig.requests();
    let [made] = rig.created[..] else { panic!("{:?}", rig.created) };
    rig.pass_time(Limits::default().operation_timeout);
    let reason = format!("the extend took too long, making loglet {made}");
    assert_eq!(rig.results(), [(1, LogResult::Unavailable { reason })]);
    let last = || rig.chain.last().loglet.clone();
    assert_eq!(Step::Seal(last()).to_string(), "sealing loglet 7-1-9");
    assert_eq!(Step::CheckTail(last()).to_string(), "finding the tail of loglet 7-1-9");
    assert_eq!(Step::Write(rig.chain.clone()).to_string(), "writing version 1 of the chain");
}

/// P15: an intent is about the loglet that its writer has seen.
#[test]
fn an_intent_about_a_loglet_that_is_not_the_last_is_overtaken() {
    let mut rig = Rig::new();
    let intent = intent(9, id(1, 1));
    rig.extend(2);
    let (wanted, replaces) = (Some(intent.wanted.clone()), None);
    rig.start(1, LogOp::Extend(Box::new(ExtendOp { replaces, wanted, intent: Some(intent) })));
    assert!(rig.requests().is_empty());
    assert_eq!(rig.results(), [(1, LogResult::Overtaken(Box::new(rig.chain.clone())))]);
}

/// P15: what was intended and cannot be done holds nobody up for long.
#[test]
fn an_intent_whose_sequencer_does_not_answer_gives_way_to_the_next_wish() {
    let mut rig = Rig::new();
    rig.chain = rig.chain.intending(intent(9, id(1, 1))).unwrap();
    rig.start(1, LogOp::Extend(Box::default()));
    rig.requests();
    assert!(rig.log.wanted_hosts().contains(&member(2)), "it is given a chance");
    rig.answering(&[1, 3], 5);
    rig.pass_time(Limits::default().stall - Duration::from_nanos(1));
    rig.requests();
    assert!(rig.chain.intent.is_some(), "it still is");
    rig.pass_time(Duration::from_nanos(1));
    rig.requests();
    assert_eq!(rig.chain.intent, None);
    let [made] = rig.created[..] else { panic!("{:?}", rig.created) };
    assert_eq!(made.version, rig.chain.version + 1, "what is to come behind the last loglet");
}

/// A deleted loglet says so at once, as often as it is asked.
#[test]
fn a_subscription_in_a_deleted_loglet_waits_for_the_next_chain() {
    let mut rig = Rig::new();
    rig.extend(2);
    rig.start(1, LogOp::Subscribe { from: LogPos(0), credit: 1000 });
    let (_, request, _) = rig.requests().remove(0);
    rig.answer(request, LogletResult::Gone);
    assert!(rig.requests().is_empty(), "nothing is asked before time passes");
    rig.chain = rig.chain.trimmed(LogPos(2)).unwrap().truncated().unwrap().0;
    rig.pass_time(Duration::from_millis(5));
    assert!(rig.requests().is_empty());
    assert_eq!(rig.results(), [(1, LogResult::Trimmed { trim_point: LogPos(2) })]);
}

/// A trim that drops many loglets deletes a few at a time, and has ended when all are deleted.
#[test]
fn a_trim_deletes_what_it_drops_a_few_at_a_time() {
    let mut rig = Rig::new();
    for round in 0..20 {
        let last = rig.chain.last().loglet.id();
        rig.chain = rig.chain.extended(last, Offset(2), loglet(rig.chain.version + 1, 50 + round), None).unwrap();
    }
    rig.start(1, LogOp::Trim { point: LogPos(40) });
    let (mut under_way, mut deleted, mut most) = (Vec::new(), 0, 0);
    loop {
        while let Some(request) = rig.log.poll_request() {
            match request {
                Request::MetaStore { id, op: MetaStoreOp::Read { .. } } => {
                    let value = rig.chain.to_json();
                    let newest = Versioned { version: Version(rig.chain.version), members: Vec::new(), value };
                    rig.log.handle_metastore(id, MetaStoreResult::Value(newest), rig.now);
                }
                Request::MetaStore { id, op: MetaStoreOp::Write { expected, .. } } => {
                    let version = expected.next();
                    rig.log.handle_metastore(id, MetaStoreResult::Written { version, handed_over: true }, rig.now);
                }
                Request::Loglet { id, op: LogletOp::CheckTail, .. } => {
                    rig.answer(id, LogletResult::Tail { tail: Offset(0), sealed: false });
                }
                Request::Delete { id, live, .. } => {
                    assert_eq!(live.len(), 1, "the last loglet is left");
                    under_way.push(id);
                }
                Request::Open(_) | Request::Close(_) => {}
                other => panic!("nobody asked for {other:?}"),
            }
        }
        most = most.max(under_way.len());
        let Some(id) = under_way.pop() else { break };
        assert_eq!(rig.results(), [], "it waits for the deletions");
        deleted += 1;
        rig.answer(id, LogletResult::Gone);
    }
    assert_eq!((deleted, most), (20, 8));
    assert_eq!(rig.results(), [(1, LogResult::TrimDone { trim_point: LogPos(40) })]);
}

/// What is read ahead does not come before the rest of a segment whose loglet says that it is deleted.
#[test]
fn what_is_read_ahead_waits_for_a_deleted_segment() {
    let mut rig = Rig::new();
    rig.extend(2);
    rig.extend(2);
    rig.start(1, LogOp::Subscribe { from: LogPos(0), credit: 1 << 20 });
    let opened = rig.opened();
    assert!(opened.len() > 1, "the second closed segment is read ahead");
    rig.answer(opened[0].0, LogletResult::Gone);
    let (first, records) = (Offset(0), records(&["a", "b"]));
    rig.answer(opened[1].0, LogletResult::Records { first, records });
    assert_eq!(rig.results(), []);
}

/// No silent growth: with a majority away nothing can be put behind a loglet, and nothing is made for it, however long that takes.
#[test]
fn without_a_majority_no_loglet_is_made() {
    let mut rig = Rig::new();
    rig.stand_still();
    rig.answering(&[1], 5);
    rig.pass_long(Duration::from_secs(8));
    assert_eq!(rig.created, []);
    rig.answering(&[3], 5);
    rig.pass_long(Duration::from_millis(100));
    rig.created.dedup();
    assert_eq!(rig.created.len(), 1);
}

/// Attempts that follow one another leave no loglet each, and what they leave goes when it is known to be in no chain (P5).
#[test]
fn attempts_that_come_to_nothing_go_on_with_the_loglet_that_they_have_begun() {
    let mut rig = Rig::new();
    rig.stand_still();
    rig.answering(&[1, 2, 3], 5);
    rig.pass_long(Duration::from_secs(9));
    let first = rig.created[0];
    assert!(rig.created.len() > 2, "it is tried again: {:?}", rig.created);
    assert!(rig.created.iter().all(|made| *made == first), "{:?}", rig.created);
    // The sequencer's node begins another life: what was made for the one before cannot be used.
    rig.answering(&[1, 2, 3], 6);
    rig.created.clear();
    rig.pass_long(Duration::from_secs(5));
    let second = rig.created[0];
    assert!(second != first && rig.created.iter().all(|made| *made == second), "{:?}", rig.created);
    assert_eq!(rig.removed, [], "the chain may still name them");
    rig.extend(0);
    rig.pass_long(Duration::from_secs(1));
    assert_eq!(rig.removed, [first, second]);
}

/// Who has refused one may take another.
#[test]
fn a_loglet_that_cannot_be_made_is_not_tried_again() {
    let mut rig = Rig::new();
    rig.stand_still();
    rig.answering(&[1, 2, 3], 5);
    rig.pass_long(Duration::from_millis(200));
    let request = rig.creation.expect("it is made");
    rig.answer(request, LogletResult::Sealed);
    rig.pass_long(Duration::from_millis(200));
    let [first, second] = rig.created[..] else { panic!("{:?}", rig.created) };
    assert_ne!(first, second);
}

/// Its loglet ends as `result` says, and the nodes that answer are these. Returns who sequences the stripes of the one behind it.
fn replaced(sequencers: &[u128], answering: &[u128], result: impl Fn(Records) -> LogletResult) -> Vec<u128> {
    let mut rig = Rig::begin(striped(1, 10, sequencers));
    rig.start(1, LogOp::Append { records: records(&["a"]) });
    let (_, request, appended) = rig.appends().remove(0);
    rig.answer(request, result(appended));
    let hosts = rig.log.wanted_hosts();
    assert_eq!(hosts.iter().map(|host| host.node.0).collect::<Vec<_>>(), [1, 2, 3], "all that it may be made of");
    rig.answering(answering, 5);
    while rig.created.is_empty() {
        // A sequencer that seems to be well is tried once more (L7).
        for (_, request, records) in rig.appends() {
            rig.answer(request, result(records));
        }
        rig.pass_time(Duration::from_millis(20));
        assert!(rig.now < Instant::from_nanos(1_000_000_000), "nothing is put behind it");
    }
    let made = rig.clients.last().expect("the one that is created");
    assert_eq!((made.id(), made.stripes().len()), (rig.created[0], sequencers.len()), "a clone has as many stripes");
    assert_eq!(made.stripes()[0].log_servers, loglet(1, 1).log_servers);
    made.sequencers().map(|sequencer| sequencer.node.0).collect()
}

#[test]
fn a_clone_of_a_sealed_loglet_keeps_the_sequencers_that_answer() {
    let sealed = |records| LogletResult::AppendSealed { first: None, stride: 1, records };
    assert_eq!(replaced(&[1, 2, 3], &[1, 2, 3], sealed), [1, 2, 3]);
    assert_eq!(replaced(&[1, 2, 3, 1], &[1, 3], sealed), [1, 3, 3, 1], "the one that sequences the fewest takes over");
}

/// One lost sequencer ends the whole loglet (P6); only its stripes move.
#[test]
fn the_stripes_of_a_lost_sequencer_go_to_those_that_sequence_the_fewest() {
    let lost = |records| LogletResult::SequencerLost { maybe_stored: true, records };
    assert_eq!(replaced(&[1, 2, 3], &[1, 3], lost), [1, 3, 3]);
    assert_eq!(replaced(&[1, 1, 2, 3], &[2, 3], lost), [2, 3, 2, 3]);
    assert_eq!(replaced(&[1, 2], &[2, 3], lost), [3, 2]);
    // All seem to be well, and one of them has given up: nobody knows which.
    assert_eq!(replaced(&[1, 2, 3], &[1, 2, 3], lost), [2, 3, 1]);
}

/// Who has an append with a loglet waits for its answer there, whatever LogServers the loglet has got meanwhile.
#[test]
fn an_append_keeps_the_client_of_its_loglet_until_it_is_over() {
    let mut rig = Rig::new();
    rig.start(1, LogOp::Append { records: records(&["a"]) });
    let (_, append, given) = rig.appends().remove(0);
    rig.extend(6);
    let mut changed = rig.chain.segments[0].loglet.first().clone();
    changed.log_servers = [1, 2, 4].map(member).to_vec();
    rig.chain = rig.chain.modified(changed).unwrap();
    rig.start(2, LogOp::Chain);
    rig.requests();
    let clients = rig.clients.clone();
    let read = LogOp::Read { min: LogPos(0), max: LogPos(3), bytes_max: 100 };
    rig.start(3, read.clone());
    let (_, request, _) = rig.requests().remove(0);
    assert_eq!(rig.clients, clients, "the one that has the append is not replaced");
    rig.answer(request, LogletResult::Unavailable { reason: "nobody is there".to_owned() });
    rig.answer(append, LogletResult::AppendSealed { first: Some(Offset(5)), stride: 1, records: given });
    rig.results();
    rig.start(4, read);
    rig.requests();
    assert_eq!(rig.clients.last(), Some(&rig.chain.segments[0].loglet), "and then it is");
}

/// P7, of one stripe: its copies end where the stripe does, and the other stripes stay.
#[test]
fn a_stripe_gets_other_log_servers_up_to_where_it_ends() {
    let mut rig = Rig::begin(striped(1, 10, &[1, 2]));
    let (first, stripe) = (id(1, 10), id(1, 10).stripe(1));
    rig.chain = rig.chain.extended(first, Offset(15), loglet(2, 50), None).unwrap();
    rig.start(1, LogOp::Read { min: LogPos(1), max: LogPos(9), bytes_max: 100 });
    let (_, read, _) = rig.requests().remove(0);
    rig.answer(read, LogletResult::Unavailable { reason: "nobody is there".to_owned() });
    rig.results();
    let log_servers = [1, 2, 4].map(member).to_vec();
    rig.start(2, LogOp::Modify { loglet: stripe, log_servers: log_servers.clone() });
    let Some(Request::Restore { id, config, stop, targets }) = rig.log.poll_request() else { panic!("no copies") };
    assert_eq!((config.id, stop, targets), (stripe, Offset(7), vec![2]));
    rig.answer(id, LogletResult::Done);
    let Some(Request::MetaStore { id: write, op: MetaStoreOp::Write { value, .. } }) = rig.log.poll_request() else {
        panic!("no write")
    };
    let chain = Chain::from_json(&value).unwrap();
    assert_eq!(chain.segments[0].loglet.stripes()[1].log_servers, log_servers);
    assert_eq!(chain.segments[0].loglet.stripes()[0], rig.chain.segments[0].loglet.stripes()[0]);
    rig.log.handle_metastore(
        write,
        MetaStoreResult::Written { version: Version(chain.version), handed_over: true },
        rig.now,
    );
    let Some(Request::Remove { config, live, .. }) = rig.log.poll_request() else { panic!("a copy stays") };
    assert_eq!((config.id, config.log_servers), (stripe, vec![member(3)]));
    assert_eq!(live, [first.stripe(0), chain.last().loglet.id()], "the other stripe is still there (P5)");
    assert_eq!(rig.results(), [(2, LogResult::Chain(Box::new(chain.clone())))]);
    rig.chain = chain;
    rig.start(3, LogOp::Read { min: LogPos(1), max: LogPos(9), bytes_max: 100 });
    rig.requests();
    assert_eq!(rig.clients.last(), Some(&rig.chain.segments[0].loglet), "who knew the old ones is replaced");
}
