use super::super::filler::{DELAY, PAUSE};
use super::*;
use crate::proto::loglet::FillFailure;

/// P6: an acknowledgement says that everything before it is committed, on whichever stripe.
#[test]
fn an_append_is_withheld_until_all_below_is_filled() {
    let mut rig = Rig::new(3);
    (1..=3).for_each(|id| rig.append(id, &["x"]));
    rig.acknowledge(2, 0);
    assert_eq!(rig.results(), []);
    rig.acknowledge(0, 0);
    assert_eq!(rig.results(), [(1, appended(0, 3, &["x"]))]);
    rig.acknowledge(1, 0);
    assert_eq!(rig.results(), [(2, appended(1, 3, &["x"])), (3, appended(2, 3, &["x"]))]);
    assert_eq!(rig.core.known_tail(), Offset(3));
}

/// The records of a batch are as far apart as there are stripes, and all of what lies between has to be there.
#[test]
fn a_batch_is_acknowledged_when_all_below_its_last_record_is_filled() {
    let mut rig = Rig::new(2);
    rig.append(1, &["a", "b", "c"]);
    rig.acknowledge(0, 0);
    rig.known(1, 1);
    assert_eq!(rig.results(), []);
    rig.known(1, 2);
    assert_eq!(rig.results(), [(1, appended(0, 2, &["a", "b", "c"]))]);
}

#[test]
fn appends_go_in_turns_by_their_records() {
    let mut rig = Rig::new(2);
    rig.append(1, &["a", "b", "c"]);
    (2..=5).for_each(|id| rig.append(id, &["x"]));
    assert_eq!([rig.ops(0).len(), rig.ops(1).len()], [2, 3]);
    let mut rig = Rig::new(3);
    rig.core.set_near(vec![1]);
    (1..=3).for_each(|id| rig.append(id, &["x"]));
    assert_eq!([0, 1, 2].map(|stripe| rig.ops(stripe).len()), [0, 3, 0], "its own core's");
}

/// Those who begin together do not all begin with the same stripe.
#[test]
fn appenders_begin_with_different_stripes() {
    for turn in 0..6 {
        let mut rig = Rig::new(3);
        rig.core.begin_at(turn);
        rig.append(1, &["x"]);
        assert_eq!(rig.ops(turn as usize % 3).len(), 1);
        (2..=3).for_each(|id| rig.append(id, &["x"]));
        assert_eq!([0, 1, 2].map(|stripe| rig.ops(stripe).len()), [1, 1, 1]);
    }
}

/// P6 a: what releases an acknowledgement is unsealed evidence only.
#[test]
fn a_sealed_tail_releases_nothing() {
    let mut rig = Rig::new(2);
    (1..=2).for_each(|id| rig.append(id, &["x"]));
    rig.acknowledge(1, 0);
    rig.start(9, LogletOp::CheckTail);
    rig.answer(0, |op| matches!(op, LogletOp::CheckTail), tail(1, true));
    assert_eq!(rig.core.known_tail(), Offset(0));
    assert_eq!(rig.results(), [(2, sealed_at(1, 2, &["x"]))], "the chain's stop settles it (P16)");
}

/// P6 d: one stripe that has ended ends the whole: nothing hangs, and the others are sealed.
#[test]
fn a_lost_stripe_ends_the_whole() {
    let seals = |rig: &Rig| (0..3).map(|stripe| rig.ops(stripe).contains(&LogletOp::Seal)).collect::<Vec<_>>();
    for lost in [
        LogletResult::AppendSealed { first: None, stride: 1, records: records(&["x"]) },
        LogletResult::SequencerLost { maybe_stored: true, records: records(&["x"]) },
    ] {
        let mut rig = Rig::new(3);
        (1..=3).for_each(|id| rig.append(id, &["x"]));
        rig.acknowledge(2, 0);
        rig.acknowledge(0, 0);
        assert_eq!(rig.results(), [(1, appended(0, 3, &["x"]))]);
        let ended = match &lost {
            LogletResult::AppendSealed { records, .. } => {
                LogletResult::AppendSealed { first: None, stride: 3, records: records.clone() }
            }
            other => other.clone(),
        };
        rig.answer(1, |op| matches!(op, LogletOp::Append { .. }), lost);
        assert_eq!(rig.results(), [(2, ended), (3, sealed_at(2, 3, &["x"]))]);
        assert_eq!(seals(&rig), [true; 3]);
        rig.append(4, &["y"]);
        let refused = LogletResult::AppendSealed { first: None, stride: 1, records: records(&["y"]) };
        assert_eq!(rig.results(), [(4, refused)], "surely not stored");
        assert_eq!(rig.core.poll_timeout(), None);
    }
}

/// What a stripe acknowledges after the end may be known to be filled below, and else is the stop's to settle.
#[test]
fn after_the_end_only_what_is_filled_below_is_acknowledged() {
    let mut rig = Rig::new(2);
    (1..=4).for_each(|id| rig.append(id, &["x"]));
    rig.start(9, LogletOp::Seal);
    rig.acknowledge(0, 0);
    rig.acknowledge(1, 0);
    rig.acknowledge(1, 1);
    assert_eq!(rig.results(), [(1, appended(0, 2, &["x"])), (2, appended(1, 2, &["x"])), (4, sealed_at(3, 2, &["x"]))]);
    rig.answer(0, |op| matches!(op, LogletOp::Append { .. }), sealed_at(1, 1, &["x"]));
    assert_eq!(rig.results(), [(3, sealed_at(2, 2, &["x"]))]);
}

/// Want of space ends nothing, and holds nobody up for ever, however often it is met.
#[test]
fn a_stripe_without_space_gives_back_what_waits_for_it() {
    let mut rig = Rig::new(2);
    (1..=2).for_each(|id| rig.append(id, &["x"]));
    let full = LogletResult::AppendNoSpace { first: None, stride: 1, records: records(&["x"]) };
    rig.answer(0, |op| matches!(op, LogletOp::Append { .. }), full);
    let full = LogletResult::AppendNoSpace { first: None, stride: 2, records: records(&["x"]) };
    assert_eq!(rig.results(), [(1, full)]);
    rig.acknowledge(1, 0);
    assert_eq!(rig.results(), []);
    rig.pass_time(DELAY);
    assert_eq!(rig.fillers(), [Some(1), None]);
    rig.answer(0, is_fill, LogletResult::FillFailed(FillFailure::NoSpace));
    let full = LogletResult::AppendNoSpace { first: Some(Offset(1)), stride: 2, records: records(&["x"]) };
    assert_eq!(rig.results(), [(2, full)], "there, or nowhere");
    rig.append(3, &["x"]);
    assert_eq!(rig.ops(0).len(), 1, "it is not ended");
    rig.append(4, &["y"]);
    rig.acknowledge(1, 1);
    assert_eq!(rig.fillers(), [None, None], "it had no space just now");
    rig.pass_time(PAUSE);
    assert_eq!(rig.fillers(), [Some(2), None]);
    rig.answer(0, is_fill, filled(2, 2));
    assert_eq!(rig.results(), [(4, appended(3, 2, &["y"]))]);
}

/// A subscription that waits for a stripe without space asks it now and then, and goes on once there is some.
#[test]
fn a_stripe_without_space_is_asked_now_and_then() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::Subscribe { from: Offset(0), limit: Offset(0), credit: 1000 });
    let is_subscription = |op: &LogletOp| matches!(op, LogletOp::Subscribe { .. });
    rig.answer(1, is_subscription, LogletResult::Records { first: Offset(0), records: records(&["1"]) });
    for _ in 0..3 {
        rig.pass_time(PAUSE);
        assert_eq!(rig.fillers(), [Some(1), None]);
        rig.answer(0, is_fill, LogletResult::FillFailed(FillFailure::NoSpace));
        assert_eq!(rig.fillers(), [None, None]);
    }
}
