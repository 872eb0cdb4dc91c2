use std::collections::BTreeMap;

use super::bench::{all_numbered, numbered, records};
use super::{Bench, Checked, Fault, LogletUnderTest, NO_OP};
use crate::base::Offset;
use crate::proto::loglet::{FillFailure, LogletOp, LogletResult};

fn to(offset: u64) -> LogletOp {
    LogletOp::FillTo { offset: Offset(offset) }
}

/// Fills, request by request, and returns how many no-ops that has placed.
fn fill<L: LogletUnderTest>(bench: &mut Bench<'_, L>, client: usize, offset: u64) -> u64 {
    let (mut reached, mut sum) = (0, 0);
    while reached < offset {
        match bench.run(client, to(offset)) {
            LogletResult::Filled { known_tail, placed } => {
                assert!(known_tail.0 > reached, "each request gets further than {reached}");
                (reached, sum) = (known_tail.0, sum + placed);
            }
            other => panic!("a fill: {other:?}"),
        }
    }
    sum
}

fn no_ops(count: usize) -> Vec<Vec<u8>> {
    vec![NO_OP.to_vec(); count]
}

/// They are records like others, wherever they are looked for, and appends go on behind them (P17).
pub(crate) fn offsets_nobody_appended_at_are_given_to_no_ops<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..3);
    assert_eq!(fill(bench, 1, 6), 3);
    assert_eq!(bench.check_tail(0), (6, false));
    let first = bench.append(0, &[numbered(6), Vec::new()]);
    assert!(first == 6 || bench.is_striped() && first > 6, "{first}");
    let mut placed: BTreeMap<_, _> = (0..).zip([all_numbered(0..3), no_ops(3)].concat()).collect();
    bench.place(&mut placed, first, &[numbered(6), Vec::new()]);
    bench.holds(0, &placed, 1000);
    assert_eq!(bench.read(1, 4, 6, 8, 1000), no_ops(2), "no-ops alone are something to read");
    Ok(())
}

/// P6 c, one after the other.
pub(crate) fn what_is_given_out_is_not_filled_again<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..3);
    assert_eq!(fill(bench, 1, 3), 0);
    assert_eq!(fill(bench, 1, 5), 2);
    for (client, offset) in [(0, 5), (1, 5), (0, 2)] {
        assert_eq!(fill(bench, client, offset), 0);
    }
    assert_eq!(bench.check_tail(0), (5, false));
    Ok(())
}

/// P6 c: beside each other and beside appends, they place what is missing and nothing more.
pub(crate) fn fills_at_once_do_not_add_up<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let (mut appends, mut fills) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let client = (number % 2) as usize;
        fills.push(bench.start(client, to(8)));
        appends.push((number, bench.start(client, LogletOp::Append { records: records(&[numbered(number)]) })));
        fills.push(bench.start(client, to(6)));
    }
    let mut filled = 0;
    for id in fills {
        match bench.wait(id) {
            LogletResult::Filled { known_tail, placed } => {
                assert!(known_tail.0 >= 6, "{known_tail}");
                filled += placed;
            }
            other => panic!("a fill: {other:?}"),
        }
    }
    let acknowledged: Vec<_> = appends
        .into_iter()
        .map(|(number, id)| match bench.wait(id) {
            LogletResult::Appended { first, .. } => (first.0, numbered(number)),
            other => panic!("an append beside fills: {other:?}"),
        })
        .collect();
    let (tail, sealed) = bench.check_tail(0);
    assert!(!sealed && tail >= 8 && filled <= 8, "{filled} no-ops, and a tail of {tail}");
    // Who waits for a stripe has it filled as well.
    assert!(filled + 6 == tail || bench.is_striped() && filled + 6 < tail, "each offset was given out once");
    let there = bench.read(0, 0, tail, tail, 1000);
    assert_eq!(there.iter().filter(|payload| *payload == NO_OP).count() as u64, tail - 6);
    acknowledged.into_iter().for_each(|(offset, payload)| assert_eq!(there[offset as usize], payload));
    Ok(())
}

/// One request places a bounded number, and says how far that is.
pub(crate) fn a_far_offset_is_reached_by_asking_again<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let far = 200;
    assert_eq!(fill(bench, 0, far), far);
    assert_eq!(bench.check_tail(1), (far, false));
    Ok(())
}

/// P6 d: whoever waits for a filler hears that there is none any more.
pub(crate) fn a_sealed_loglet_is_not_filled<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..2);
    let racing = bench.start(0, to(4));
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    let raced = bench.wait(racing);
    let (tail, sealed) = bench.check_tail(1);
    match raced {
        LogletResult::Filled { known_tail, .. } => assert!(known_tail.0 <= tail, "{known_tail} of {tail} (P1)"),
        LogletResult::FillFailed(FillFailure::Sealed) => {}
        other => panic!("a fill beside a seal: {other:?}"),
    }
    assert!(sealed);
    for client in [0, 1] {
        assert_eq!(bench.run(client, to(9)), LogletResult::FillFailed(FillFailure::Sealed));
        let (again, sealed) = bench.check_tail(client);
        // Another stripe's no-ops may have been on their way to a disk.
        assert!(sealed && (again == tail || bench.is_striped()), "{again} after {tail}");
    }
    Ok(())
}

/// A no-op is stored: it is found after a crash, and copied to who lacks it (P17).
pub(crate) fn no_ops_survive_restarts_and_repairs<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..2);
    bench.loglet.fault(Fault::Crash(1))?;
    assert_eq!(fill(bench, 1, 5), 3);
    let first = bench.append(0, &[numbered(5)]);
    assert!(first == 5 || bench.is_striped() && first > 5, "{first}");
    bench.loglet.fault(Fault::Restart(1))?;
    bench.loglet.fault(Fault::Crash(2))?;
    bench.loglet.fault(Fault::Restart(2))?;
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    assert_eq!(bench.check_tail(0), (first + 1, true));
    bench.loglet.fault(Fault::Crash(2))?;
    let mut placed: BTreeMap<_, _> = (0..).zip([all_numbered(0..2), no_ops(3)].concat()).collect();
    bench.place(&mut placed, first, &[numbered(5)]);
    bench.holds(0, &placed, 1000);
    Ok(())
}
