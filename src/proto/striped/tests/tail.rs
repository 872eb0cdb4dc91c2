use super::*;

fn check(op: &LogletOp) -> bool {
    *op == LogletOp::CheckTail
}

fn seal(op: &LogletOp) -> bool {
    *op == LogletOp::Seal
}

#[test]
fn the_tail_is_open_when_every_stripe_says_so() {
    let mut rig = Rig::new(3);
    rig.start(1, LogletOp::CheckTail);
    rig.answer(0, check, tail(5, false));
    rig.answer(2, check, tail(4, false));
    assert_eq!(rig.results(), []);
    rig.answer(1, check, tail(9, false));
    assert_eq!(rig.results(), [(1, tail(14, false))]);
    assert_eq!(rig.core.known_tail(), Offset(14), "by open answers of all (P1 b)");
}

/// P6 b: tails from before the seal of all say nothing of where the whole ends.
#[test]
fn a_sealed_stripe_has_all_sealed_and_every_tail_taken_again() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::CheckTail);
    rig.answer(1, check, tail(1, true));
    for stripe in [0, 1] {
        // One for the end of the whole, and one that is waited for.
        rig.answer(stripe, seal, LogletResult::Sealed);
        rig.answer(stripe, seal, LogletResult::Sealed);
    }
    rig.answer(0, check, tail(0, false));
    assert_eq!(rig.results(), [], "an answer from before");
    rig.answer(0, check, tail(1, true));
    rig.answer(1, check, tail(1, true));
    assert_eq!(rig.results(), [(1, tail(2, true))]);
    assert_eq!(rig.core.known_tail(), Offset(0), "never by a sealed tail (P1)");
}

#[test]
fn a_seal_is_done_when_every_stripe_is_sealed() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::Seal);
    for (stripe, done) in [(0, false), (0, false), (1, false), (1, true)] {
        rig.answer(stripe, seal, LogletResult::Sealed);
        assert_eq!(rig.results().len(), usize::from(done));
    }
}

/// L10: which stripe cannot be sealed is to be said.
#[test]
fn a_stripe_that_does_not_answer_is_named() {
    for op in [LogletOp::Seal, LogletOp::CheckTail] {
        let mut rig = Rig::new(3);
        rig.start(1, op.clone());
        let silent = LogletResult::Unavailable { reason: "nobody answers".to_owned() };
        (0..2).for_each(|_| {
            if rig.ops(2).contains(&op) {
                rig.answer(2, |asked| *asked == op, silent.clone());
            }
        });
        let reason = "stripe 2: nobody answers".to_owned();
        assert_eq!(rig.results(), [(1, LogletResult::Unavailable { reason })]);
    }
}

#[test]
fn a_deleted_stripe_is_a_deleted_loglet() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::CheckTail);
    rig.answer(0, check, LogletResult::Gone);
    assert_eq!(rig.results(), [(1, LogletResult::Gone)]);
    rig.answer(1, check, tail(3, false));
    assert_eq!(rig.results(), []);
}

#[test]
fn every_stripe_is_made_and_deleted() {
    let mut rig = Rig::new(2);
    rig.core.create(OpId(1), rig.now);
    rig.core.delete(OpId(2), 7, Vec::new(), rig.now);
    rig.fetch();
    let answer = |rig: &mut Rig, result: LogletResult| {
        let Request { stripe, id, .. } = rig.asked.remove(0);
        rig.core.handle_result(stripe, id, result, rig.now);
    };
    answer(&mut rig, LogletResult::Done);
    assert_eq!(rig.results(), []);
    answer(&mut rig, LogletResult::Done);
    assert_eq!(rig.results(), [(1, LogletResult::Done)]);
    assert!(rig.asked.iter().all(|request| matches!(request.ask, Ask::Delete { chain_version: 7, .. })));
    (0..2).for_each(|_| answer(&mut rig, LogletResult::Done));
    assert_eq!(rig.results(), [(2, LogletResult::Done)]);
    rig.core.create(OpId(3), rig.now);
    rig.fetch();
    answer(&mut rig, LogletResult::Gone);
    assert_eq!(rig.results(), [(3, LogletResult::Gone)]);
}

#[test]
fn a_trim_is_that_of_every_stripe() {
    let mut rig = Rig::new(2);
    rig.start(1, LogletOp::Trim { point: Offset(5), committed: Offset(8) });
    let trim = |point, committed| LogletOp::Trim { point: Offset(point), committed: Offset(committed) };
    assert_eq!([rig.ops(0), rig.ops(1)], [vec![trim(3, 4)], vec![trim(2, 4)]]);
    let done = |trim_point, servers| LogletResult::TrimDone { trim_point: Offset(trim_point), servers };
    rig.answer(0, |_| true, done(3, 3));
    rig.answer(1, |_| true, done(2, 2));
    assert_eq!(rig.results(), [(1, done(5, 2))]);
}
