use super::bench::{numbered, records};
use super::{Bench, Checked, LogletUnderTest};
use crate::proto::loglet::{LogletOp, LogletResult};

/// A new loglet is open and empty.
pub(crate) fn a_fresh_loglet_is_open_and_empty<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    assert_eq!(bench.check_tail(0), (0, false));
    assert_eq!(bench.check_tail(1), (0, false));
    Ok(())
}

/// Whoever asks after an acknowledgement hears of it.
pub(crate) fn the_tail_covers_what_was_acknowledged<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    for number in 0..10 {
        bench.append_numbered(0, number..number + 1);
        assert_eq!(bench.check_tail(1), (number + 1, false), "nothing else was appended");
    }
    Ok(())
}

/// Among appends on the way, each tail covers what was acknowledged when it was asked for, and none sinks.
pub(crate) fn tails_never_sink_among_appends<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let (mut acknowledged, mut highest) = (0, 0);
    for round in 0..10 {
        let appends: Vec<_> =
            (0..3).map(|n| bench.start(0, LogletOp::Append { records: records(&[numbered(round * 3 + n)]) })).collect();
        let (tail, sealed) = bench.check_tail(1);
        assert!(!sealed && tail >= acknowledged && tail >= highest, "{tail} after {acknowledged} and {highest}");
        highest = tail;
        for append in appends {
            let LogletResult::Appended { first, .. } = bench.wait(append) else { panic!("an append has failed") };
            acknowledged = first.0 + 1;
        }
    }
    assert_eq!(bench.check_tail(0), (30, false));
    Ok(())
}
