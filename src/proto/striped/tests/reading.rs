use super::super::filler::{DELAY, LOST_PAUSE};
use super::*;
use crate::proto::loglet::FillFailure;
use crate::wire::Batch;

fn texts(results: Vec<(u64, LogletResult)>) -> Vec<String> {
    let text = |(_, result)| match result {
        LogletResult::Records { first, records } => {
            let batch = Batch::new(records.count, &records.bytes).unwrap();
            batch.verify().unwrap();
            let payloads = batch.records().map(|(payload, _)| String::from_utf8(payload.to_vec()).unwrap());
            format!("{first}: {}", payloads.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    };
    results.into_iter().map(text).collect()
}

fn brings(first: u64, payloads: &[&str]) -> LogletResult {
    LogletResult::Records { first: Offset(first), records: records(payloads) }
}

fn read(min: u64, max: u64, limit: u64) -> LogletOp {
    LogletOp::ReadNext { min: Offset(min), max: Offset(max), limit: Offset(limit), bytes_max: 1000 }
}

fn is_read(op: &LogletOp) -> bool {
    matches!(op, LogletOp::ReadNext { .. })
}

fn is_subscription(op: &LogletOp) -> bool {
    matches!(op, LogletOp::Subscribe { .. })
}

#[test]
fn a_read_puts_the_stripes_in_order_and_leaves_nothing_out() {
    let mut rig = Rig::new(3);
    rig.start(1, read(4, 11, 20));
    let asked = |min, max, limit| LogletOp::ReadNext {
        min: Offset(min),
        max: Offset(max),
        limit: Offset(limit),
        bytes_max: 334,
    };
    assert_eq!([0, 1, 2].map(|stripe| rig.ops(stripe)[0].clone()), [asked(2, 4, 7), asked(1, 4, 7), asked(1, 3, 6)]);
    rig.answer(0, is_read, brings(2, &["6", "9"]));
    rig.answer(2, is_read, brings(1, &["5"]));
    rig.answer(1, is_read, brings(1, &["4", "7", "10"]));
    assert_eq!(texts(rig.results()), ["4: 4 5 6 7"], "8 is missing");
}

/// Below what is read another stripe may lack something, and the whole end there.
#[test]
fn what_is_not_filled_below_is_not_read() {
    let mut rig = Rig::new(2);
    rig.start(1, read(1, 9, 0));
    rig.answer(0, is_read, LogletResult::NothingYet);
    rig.answer(1, is_read, brings(0, &["1"]));
    assert_eq!(rig.results(), [(1, LogletResult::NothingYet)]);
    rig.known(0, 1);
    rig.start(2, read(1, 9, 0));
    rig.answer(0, is_read, LogletResult::NothingYet);
    rig.answer(1, is_read, brings(0, &["1"]));
    assert_eq!(texts(rig.results()), ["1: 1"]);
}

#[test]
fn a_read_of_one_record_asks_one_stripe() {
    let mut rig = Rig::new(3);
    rig.start(1, read(4, 5, 9));
    assert_eq!([0, 1, 2].map(|stripe| rig.ops(stripe).len()), [0, 1, 0]);
    rig.answer(1, is_read, brings(1, &["4"]));
    assert_eq!(texts(rig.results()), ["4: 4"]);
    rig.start(2, read(7, 7, 9));
    assert_eq!(rig.results(), [(2, LogletResult::NothingYet)]);
}

#[test]
fn a_stripe_that_is_trimmed_says_how_far() {
    let mut rig = Rig::new(2);
    rig.start(1, read(1, 9, 9));
    rig.answer(0, is_read, brings(1, &["2"]));
    rig.answer(1, is_read, LogletResult::Trimmed { trim_point: Offset(2) });
    assert_eq!(rig.results(), [(1, LogletResult::Trimmed { trim_point: Offset(4) })]);
    rig.start(2, read(0, 9, 9));
    rig.answer(0, is_read, LogletResult::Trimmed { trim_point: Offset(3) });
    rig.answer(1, is_read, LogletResult::Trimmed { trim_point: Offset(2) });
    assert_eq!(rig.results(), [(2, LogletResult::Trimmed { trim_point: Offset(5) })], "all that a trim has given up");
}

fn following(credit: u32) -> Rig {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::Subscribe { from: Offset(0), limit: Offset(0), credit });
    rig
}

#[test]
fn a_subscription_delivers_in_order_as_stripes_bring() {
    let mut rig = following(1000);
    rig.answer(1, is_subscription, brings(0, &["1", "3"]));
    assert_eq!(rig.results(), []);
    rig.answer(0, is_subscription, brings(0, &["0"]));
    assert_eq!(texts(rig.results()), ["0: 0 1"]);
    rig.answer(0, is_subscription, brings(1, &["2", "4", "6"]));
    assert_eq!(texts(rig.results()), ["2: 2 3 4"]);
}

/// L3, P6: a stripe to which nobody appends holds no subscriber up for longer than the filler's delay.
#[test]
fn a_subscription_has_an_idle_stripe_filled() {
    let mut rig = following(1000);
    rig.answer(1, is_subscription, brings(0, &["1", "3"]));
    rig.pass_time(DELAY);
    assert_eq!(rig.fillers(), [Some(2), None]);
    rig.answer(0, is_fill, filled(2, 2));
    assert_eq!(rig.results(), []);
    rig.answer(0, is_subscription, brings(0, &["0", "2"]));
    assert_eq!(texts(rig.results()), ["0: 0 1 2 3"]);
    assert_eq!(rig.core.poll_timeout(), None);
}

/// L7: who only reads may be the only one whom a sequencer does not answer, and ends nothing.
#[test]
fn a_subscriber_that_reaches_no_sequencer_asks_again_and_seals_nothing() {
    let mut rig = following(1000);
    rig.answer(1, is_subscription, brings(0, &["1"]));
    for _ in 0..2 {
        rig.pass_time(LOST_PAUSE);
        assert_eq!(rig.fillers(), [Some(1), None]);
        rig.answer(0, is_fill, LogletResult::FillFailed(FillFailure::SequencerLost));
        assert!((0..2).all(|stripe| !rig.ops(stripe).contains(&LogletOp::Seal)));
    }
    rig.answer(0, is_subscription, brings(0, &["0"]));
    assert_eq!(texts(rig.results()), ["0: 0 1"]);
}

/// Of a closed segment everything is committed, and no sequencer is asked for what is slow to come.
#[test]
fn what_is_known_to_be_committed_is_waited_for() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::Subscribe { from: Offset(0), limit: Offset(4), credit: 1000 });
    rig.answer(1, is_subscription, brings(0, &["1", "3"]));
    rig.pass_time(LOST_PAUSE);
    assert_eq!(rig.fillers(), [None, None]);
    assert_eq!(rig.core.poll_timeout(), None);
}

/// One that begins where not everything below is known to be filled finds out first.
#[test]
fn a_subscription_begins_when_all_below_is_filled() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::Subscribe { from: Offset(5), limit: Offset(3), credit: 1000 });
    rig.answer(1, is_subscription, brings(2, &["5"]));
    assert_eq!(rig.results(), []);
    rig.pass_time(DELAY);
    assert_eq!(rig.fillers(), [Some(3), Some(2)], "which have it already, for all that is known");
    rig.known(1, 3);
    rig.known(0, 3);
    assert_eq!(texts(rig.results()), ["5: 5"]);
}

/// No more than was granted, and one record beyond it at the most; each stripe can always send the next one.
#[test]
fn credit_is_shared_and_given_again_when_delivered() {
    let record = "0123456789";
    let mut rig = following(40);
    let credit = |rig: &Rig, stripe| match &rig.ops(stripe)[0] {
        LogletOp::Subscribe { credit, .. } => *credit,
        other => panic!("{other:?}"),
    };
    assert_eq!([credit(&rig, 0), credit(&rig, 1)], [20, 20]);
    rig.answer(1, is_subscription, brings(0, &[record, record]));
    rig.answer(0, is_subscription, brings(0, &[record, record]));
    let bytes = |results: Vec<(u64, LogletResult)>| {
        let bytes = results.into_iter().map(|(_, result)| match result {
            LogletResult::Records { records, .. } => records.bytes.len(),
            other => panic!("{other:?}"),
        });
        bytes.sum::<usize>()
    };
    assert_eq!(bytes(rig.results()), 54, "a third record where 40 bytes are granted, and not the fourth");
    let granted = |rig: &Rig, stripe: usize| -> u32 {
        let bytes = |op: LogletOp| if let LogletOp::Credit { bytes, .. } = op { bytes } else { 0 };
        rig.ops(stripe).into_iter().map(bytes).sum()
    };
    assert_eq!([granted(&rig, 0), granted(&rig, 1)], [36, 18], "what was delivered");
    rig.start(1, LogletOp::Credit { limit: Offset(9), bytes: 15 });
    assert_eq!(bytes(rig.results()), 18);
    let limits = (0..2).map(|stripe| match rig.ops(stripe).last() {
        Some(LogletOp::Credit { limit, .. }) => limit.0,
        other => panic!("{other:?}"),
    });
    assert_eq!(limits.collect::<Vec<_>>(), [5, 4]);
}

#[test]
fn it_ends_where_a_sealed_stripe_has_no_more() {
    let ended = |sealed| LogletResult::SubscriptionEnded { sealed };
    let mut rig = following(1000);
    rig.answer(1, is_subscription, brings(0, &["1"]));
    rig.answer(1, is_subscription, ended(true));
    rig.answer(0, is_subscription, brings(0, &["0"]));
    assert_eq!(texts(rig.results()), ["0: 0 1"], "2 may come");
    rig.answer(0, is_subscription, brings(1, &["2"]));
    assert_eq!(texts(rig.results()), ["2: 2", "SubscriptionEnded { sealed: true }"]);
    assert_eq!(rig.ops(0).last(), Some(&LogletOp::Unsubscribe));
    let mut rig = following(1000);
    rig.start(1, LogletOp::Unsubscribe);
    assert_eq!(rig.results(), [(1, ended(false))]);
    rig.answer(0, is_subscription, brings(0, &["0"]));
    assert_eq!(rig.results(), []);
}

#[test]
fn trimmed_and_gone_are_said_before_the_end() {
    let ended = LogletResult::SubscriptionEnded { sealed: false };
    let mut rig = following(1000);
    rig.answer(1, is_subscription, LogletResult::Trimmed { trim_point: Offset(3) });
    assert_eq!(rig.results(), [(1, LogletResult::Trimmed { trim_point: Offset(6) }), (1, ended.clone())]);
    let mut rig = following(1000);
    rig.answer(0, is_subscription, LogletResult::Gone);
    assert_eq!(rig.results(), [(1, LogletResult::Gone), (1, ended)]);
}
