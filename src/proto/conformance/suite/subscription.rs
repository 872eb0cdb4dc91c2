use super::bench::{all_numbered, numbered, payloads_of, records};
use super::{Bench, Checked, LogletUnderTest, Skipped};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult, OpId};

fn subscribe(from: u64, limit: u64, credit: u32) -> LogletOp {
    LogletOp::Subscribe { from: Offset(from), limit: Offset(limit), credit }
}

/// Takes deliveries until everything below `to` has come; each offset once and in order.
fn take<L: LogletUnderTest>(bench: &mut Bench<'_, L>, id: OpId, from: u64, to: u64) -> Vec<Vec<u8>> {
    let (mut next, mut payloads) = (from, Vec::new());
    while next < to {
        match bench.wait(id) {
            LogletResult::Records { first, records } => {
                assert_eq!(first, Offset(next), "each offset once, in order");
                next += u64::from(records.count);
                payloads.extend(payloads_of(&records));
            }
            other => panic!("no records at {next}: {other:?}"),
        }
    }
    assert_eq!(next, to, "nothing beyond what has been appended");
    payloads
}

/// A subscriber sees everything from its start on, while it is appended.
pub(crate) fn every_offset_comes_once_and_in_order<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..5);
    let early = bench.start(1, subscribe(0, 5, 1 << 20));
    let late = bench.start(1, subscribe(3, 5, 1 << 20));
    let appends: Vec<_> =
        (5..25).map(|number| bench.start(0, LogletOp::Append { records: records(&[numbered(number)]) })).collect();
    for append in appends {
        assert!(matches!(bench.wait(append), LogletResult::Appended { .. }));
    }
    assert_eq!(take(bench, early, 0, 25), all_numbered(0..25));
    assert_eq!(take(bench, late, 3, 25), all_numbered(3..25));
    Ok(())
}

/// A subscription that begins at the tail waits for what comes.
pub(crate) fn one_at_the_tail_waits<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..2);
    let id = bench.start(1, subscribe(2, 2, 1 << 20));
    bench.settle();
    assert!(!bench.has_result(id));
    bench.append_numbered(0, 2..4);
    assert_eq!(take(bench, id, 2, 4), all_numbered(2..4));
    Ok(())
}

/// No more than was granted is delivered, and one record at the most beyond it; a grant lets it go on.
pub(crate) fn credit_is_respected<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    if !bench.loglet.takes_credit() {
        return Err(Skipped("the subscriber grants its own credit"));
    }
    bench.append_numbered(0, 0..30);
    let grant = 130;
    let id = bench.start(1, subscribe(0, 30, grant));
    let (mut next, mut granted, mut taken) = (0, grant as usize, 0);
    while next < 30 {
        bench.settle();
        let before = next;
        while bench.has_result(id) {
            let LogletResult::Records { first, records } = bench.wait(id) else { panic!("it has ended") };
            assert_eq!(first, Offset(next));
            next += u64::from(records.count);
            assert!(taken < granted, "{taken} of {granted} bytes were used, and more came");
            taken += records.bytes.len();
        }
        assert!(next > before || taken >= granted, "there is credit, and nothing comes");
        granted += grant as usize;
        bench.tell(1, id, LogletOp::Credit { limit: Offset(30), bytes: grant });
    }
    Ok(())
}

/// After `Unsubscribe` comes the end, and nothing after it.
pub(crate) fn unsubscribe_ends_it<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    if !bench.loglet.takes_credit() {
        return Err(Skipped("a subscriber that has gone is told nothing"));
    }
    bench.append_numbered(0, 0..3);
    let id = bench.start(1, subscribe(0, 3, 1 << 20));
    take(bench, id, 0, 3);
    bench.tell(1, id, LogletOp::Unsubscribe);
    assert_eq!(bench.wait(id), LogletResult::SubscriptionEnded { sealed: false });
    bench.append_numbered(0, 3..6);
    bench.settle();
    assert!(!bench.has_result(id));
    Ok(())
}

/// It ends with the seal, after everything that is known to be committed.
pub(crate) fn the_seal_ends_it_after_the_last_record<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let id = bench.start(0, subscribe(0, 0, 1 << 20));
    bench.append_numbered(0, 0..7);
    assert_eq!(take(bench, id, 0, 7), all_numbered(0..7));
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    assert_eq!(bench.wait(id), LogletResult::SubscriptionEnded { sealed: true });
    Ok(())
}

/// A subscription to a sealed loglet delivers up to its limit, which is the stop, and ends.
pub(crate) fn a_sealed_loglet_is_delivered_up_to_its_stop<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..7);
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    assert_eq!(bench.check_tail(0), (7, true));
    let id = bench.start(0, subscribe(2, 7, 1 << 20));
    assert_eq!(take(bench, id, 2, 7), all_numbered(2..7));
    assert_eq!(bench.wait(id), LogletResult::SubscriptionEnded { sealed: true });
    Ok(())
}

/// One that stands below the trim point is told so, and ends.
pub(crate) fn a_trim_ends_it<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..7);
    let trim = LogletOp::Trim { point: Offset(4), committed: Offset(7) };
    assert!(matches!(bench.run(0, trim), LogletResult::TrimDone { .. }));
    let mut from = 1;
    while from < 4 {
        let id = bench.start(0, subscribe(from, 7, 1 << 20));
        let LogletResult::Trimmed { trim_point } = bench.wait(id) else { panic!("{from} is trimmed") };
        // One stripe's trim point may be all that is known.
        assert!(trim_point == Offset(4) || bench.is_striped() && (from + 1..4).contains(&trim_point.0), "{trim_point}");
        assert_eq!(bench.wait(id), LogletResult::SubscriptionEnded { sealed: false });
        from = trim_point.0;
    }
    let id = bench.start(0, subscribe(from, 7, 1 << 20));
    assert_eq!(take(bench, id, 4, 7), all_numbered(4..7));
    Ok(())
}
