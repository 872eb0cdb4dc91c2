use super::bench::all_numbered;
use super::{Bench, Checked, Fault, LogletUnderTest};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

fn trim<L: LogletUnderTest>(bench: &mut Bench<'_, L>, point: u64, committed: u64) -> u64 {
    match bench.run(0, LogletOp::Trim { point: Offset(point), committed: Offset(committed) }) {
        LogletResult::TrimDone { trim_point, .. } => trim_point.0,
        other => panic!("no trim: {other:?}"),
    }
}

fn read(min: u64, limit: u64) -> LogletOp {
    LogletOp::ReadNext { min: Offset(min), max: Offset(1 << 40), limit: Offset(limit), bytes_max: 10_000 }
}

/// Below the trim point reads say where to go on, above it nothing changes, and the tail stands.
pub(crate) fn what_is_below_is_gone_and_the_tail_stands<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..10);
    assert_eq!(trim(bench, 6, 10), 6);
    for min in [0, 5] {
        assert_eq!(bench.run(0, read(min, 10)), LogletResult::Trimmed { trim_point: Offset(6) });
    }
    assert_eq!(bench.read(0, 6, 10, 10, 1000), all_numbered(6..10));
    assert_eq!(bench.check_tail(1), (10, false));
    bench.append_numbered(0, 10..12);
    assert_eq!(bench.read(0, 6, 12, 12, 1000), all_numbered(6..12));
    Ok(())
}

/// The same or a lower point changes nothing.
pub(crate) fn a_trim_is_idempotent_and_never_sinks<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..10);
    assert_eq!([6, 6, 2, 0].map(|point| trim(bench, point, 10)), [6; 4]);
    assert_eq!(bench.run(0, read(5, 10)), LogletResult::Trimmed { trim_point: Offset(6) });
    assert_eq!(bench.read(0, 6, 10, 10, 1000), all_numbered(6..10));
    Ok(())
}

/// A point beyond what is committed is clipped: appends that are still to come are not trimmed (P3).
pub(crate) fn it_is_clipped_to_what_is_committed<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..4);
    assert_eq!(trim(bench, 1 << 40, 4), 4);
    bench.append_numbered(0, 4..6);
    assert_eq!(bench.check_tail(1), (6, false));
    assert_eq!(bench.read(0, 4, 6, 6, 1000), all_numbered(4..6));
    assert_eq!(bench.run(0, read(3, 6)), LogletResult::Trimmed { trim_point: Offset(4) });
    Ok(())
}

/// Everything trimmed, and every server restarted that may be: the tail is where it was (P3).
pub(crate) fn the_tail_survives_it_and_restarts<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..8);
    assert_eq!(trim(bench, 8, 8), 8);
    for server in [1, 2] {
        bench.loglet.fault(Fault::Crash(server))?;
        bench.loglet.fault(Fault::Restart(server))?;
    }
    assert_eq!(bench.check_tail(1), (8, false));
    assert_eq!(bench.run(0, read(7, 8)), LogletResult::Trimmed { trim_point: Offset(8) });
    bench.append_numbered(0, 8..9);
    assert_eq!(bench.read(0, 8, 9, 9, 1000), all_numbered(8..9));
    Ok(())
}
