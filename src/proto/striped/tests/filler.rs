use super::super::filler::DELAY;
use super::*;
use crate::proto::loglet::FillFailure;

/// An append of one stripe, withheld for another to which nobody appends.
fn withheld() -> Rig {
    let mut rig = Rig::new(2);
    rig.core.set_near(vec![1]);
    rig.append(1, &["x"]);
    rig.acknowledge(1, 0);
    rig
}

#[test]
fn who_holds_others_up_is_asked_after_a_while_and_once() {
    let mut rig = withheld();
    assert_eq!(rig.fillers(), [None, None], "it may be on its way");
    rig.pass_time(DELAY);
    assert_eq!(rig.fillers(), [Some(1), None]);
    rig.append(2, &["y"]);
    rig.acknowledge(1, 1);
    rig.pass_time(DELAY);
    assert_eq!(rig.ops(0).len(), 1, "fillers do not add up (P6 c)");
    rig.answer(0, is_fill, filled(1, 1));
    assert_eq!(rig.results(), [(1, appended(1, 2, &["x"]))]);
    assert_eq!(rig.fillers(), [Some(2), None], "it is idle, and not waited for any more");
    rig.answer(0, is_fill, filled(2, 1));
    assert_eq!(rig.results(), [(2, appended(3, 2, &["y"]))]);
}

/// An idle stripe is filled while the append is under way: it costs no time then.
#[test]
fn an_idle_stripe_is_filled_beside_the_append() {
    let mut rig = withheld();
    rig.pass_time(DELAY);
    rig.answer(0, is_fill, filled(1, 1));
    rig.append(2, &["y", "z"]);
    assert_eq!(rig.fillers(), [Some(3), None]);
    rig.answer(0, is_fill, filled(3, 2));
    rig.acknowledge(1, 1);
    assert_eq!(rig.results()[1..], [(2, appended(3, 2, &["y", "z"]))]);
    // Somebody else appends to it: then it is waited for again.
    rig.known(0, 4);
    rig.append(3, &["x"]);
    rig.append(4, &["x"]);
    assert_eq!(rig.fillers(), [None, None]);
    rig.acknowledge(1, 3);
    rig.acknowledge(1, 4);
    assert_eq!((rig.results().len(), rig.fillers()), (1, vec![None, None]));
    rig.known(0, 5);
    assert_eq!(rig.results().len(), 1);
    assert_eq!(rig.core.poll_timeout(), None, "nobody waits");
}

/// A filler that was placed in part is asked for the rest.
#[test]
fn a_far_filler_is_asked_again() {
    let mut rig = Rig::new(2);
    rig.core.set_near(vec![1]);
    rig.append(1, &["x"]);
    rig.acknowledge(1, 1000);
    rig.pass_time(DELAY);
    assert_eq!(rig.fillers(), [Some(1001), None]);
    rig.answer(0, is_fill, filled(600, 600));
    assert_eq!(rig.fillers(), [Some(1001), None]);
    rig.answer(0, is_fill, filled(1001, 401));
    assert_eq!(rig.results().len(), 1);
}

/// P6 d.
#[test]
fn a_filler_that_nobody_answers_ends_the_whole() {
    for failure in [FillFailure::Sealed, FillFailure::SequencerLost] {
        let mut rig = withheld();
        rig.pass_time(DELAY);
        rig.answer(0, is_fill, LogletResult::FillFailed(failure));
        assert_eq!(rig.results(), [(1, sealed_at(1, 2, &["x"]))]);
        assert!((0..2).all(|stripe| rig.ops(stripe).contains(&LogletOp::Seal)));
    }
}

/// A striped loglet is a loglet: it can be a stripe, and be filled.
#[test]
fn the_whole_is_filled_by_its_stripes() {
    let mut rig = Rig::new(3);
    rig.start(1, LogletOp::FillTo { offset: Offset(7) });
    assert_eq!(rig.fillers(), [Some(3), Some(2), Some(2)]);
    for (stripe, end) in [(0, 3), (1, 2), (2, 2)] {
        rig.answer(stripe, is_fill, filled(end, 1));
    }
    assert_eq!(rig.results(), [(1, filled(7, 3))]);
    rig.start(2, LogletOp::FillTo { offset: Offset(9) });
    rig.answer(1, is_fill, LogletResult::FillFailed(FillFailure::Sealed));
    assert_eq!(rig.results(), [(2, LogletResult::FillFailed(FillFailure::Sealed))]);
    assert!((0..3).all(|stripe| rig.ops(stripe).contains(&LogletOp::Seal)), "an end of one is the end of all");
}
