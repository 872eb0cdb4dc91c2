use super::bench::{all_numbered, numbered, records};
use super::{Bench, Checked, Fault, LogletUnderTest};
use crate::proto::loglet::{LogletOp, LogletResult};

/// With one server down everything goes on, and the server catches up when it is back.
pub(crate) fn one_lost_server_stops_nothing<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..3);
    bench.loglet.fault(Fault::Crash(2))?;
    bench.append_numbered(0, 3..9);
    assert_eq!(bench.check_tail(1), (9, false));
    assert_eq!(bench.read(1, 0, 9, 9, 1000), all_numbered(0..9));
    bench.loglet.fault(Fault::Restart(2))?;
    bench.append_numbered(0, 9..12);
    // The one that was away is needed now.
    bench.loglet.fault(Fault::Crash(1))?;
    bench.append_numbered(0, 12..15);
    assert_eq!(bench.check_tail(1), (15, false));
    assert_eq!(bench.read(1, 0, 15, 15, 1000), all_numbered(0..15));
    bench.loglet.fault(Fault::Restart(1))
}

/// Nothing is acknowledged before it is durable on a majority.
pub(crate) fn an_acknowledgement_waits_for_a_majoritys_disks<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..1);
    bench.loglet.fault(Fault::HoldDisk(1))?;
    bench.loglet.fault(Fault::HoldDisk(2))?;
    let id = bench.start(0, LogletOp::Append { records: records(&[numbered(1)]) });
    bench.settle();
    assert!(!bench.has_result(id), "one copy is durable");
    bench.loglet.fault(Fault::ReleaseDisk(1))?;
    assert!(matches!(bench.wait(id), LogletResult::Appended { .. }));
    // The copy that was still on its way is lost, and the other two remain.
    bench.loglet.fault(Fault::Crash(2))?;
    bench.loglet.fault(Fault::ReleaseDisk(2))?;
    bench.loglet.fault(Fault::Restart(2))?;
    assert_eq!(bench.check_tail(1), (2, false));
    assert_eq!(bench.read(1, 0, 2, 2, 1000), all_numbered(0..2));
    Ok(())
}

/// Without a majority nothing is acknowledged; with it again, everything is, once.
pub(crate) fn without_a_majority_appends_wait<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..2);
    bench.loglet.fault(Fault::Cut(1))?;
    bench.loglet.fault(Fault::Cut(2))?;
    let ids: Vec<_> =
        (2..6).map(|number| bench.start(0, LogletOp::Append { records: records(&[numbered(number)]) })).collect();
    bench.settle();
    assert!(ids.iter().all(|id| !bench.has_result(*id)));
    bench.loglet.fault(Fault::Heal(2))?;
    for (number, id) in (2..).zip(ids) {
        let LogletResult::Appended { first, .. } = bench.wait(id) else { panic!("an append has failed") };
        assert_eq!(first.0, number);
    }
    assert_eq!(bench.read(0, 0, 6, 6, 1000), all_numbered(0..6));
    Ok(())
}
