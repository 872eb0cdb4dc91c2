use super::bench::{all_numbered, payloads_of};
use super::{Bench, Checked, LogletUnderTest};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

fn read(min: u64, max: u64, limit: u64, bytes_max: u32) -> LogletOp {
    LogletOp::ReadNext { min: Offset(min), max: Offset(max), limit: Offset(limit), bytes_max }
}

/// Every range comes back exactly, whoever reads it.
pub(crate) fn every_range_reads_back<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..8);
    assert_eq!(bench.check_tail(1), (8, false));
    for min in 0..8 {
        for max in min + 1..=8 {
            let client = (max % 2) as usize;
            assert_eq!(bench.read(client, min, max, 8, 10_000), all_numbered(min..max));
        }
    }
    Ok(())
}

/// At the tail, beyond it and in an empty range there is nothing yet, and no error.
pub(crate) fn at_the_tail_there_is_nothing_yet<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    assert_eq!(bench.run(0, read(0, 100, 0, 1000)), LogletResult::NothingYet);
    bench.append_numbered(0, 0..3);
    assert_eq!(bench.run(0, read(3, 100, 3, 1000)), LogletResult::NothingYet);
    assert_eq!(bench.run(0, read(50, 100, 3, 1000)), LogletResult::NothingYet);
    assert_eq!(bench.run(0, read(2, 2, 3, 1000)), LogletResult::NothingYet);
    assert_eq!(bench.run(0, read(2, 1, 3, 1000)), LogletResult::NothingYet);
    Ok(())
}

/// An answer keeps to about `bytes_max`, and has at least one record however large.
pub(crate) fn bytes_max_bounds_an_answer<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..12);
    for bytes_max in [0, 1, 60, 150] {
        let LogletResult::Records { first, records } = bench.run(0, read(4, 12, 12, bytes_max)) else {
            panic!("no records for {bytes_max} bytes")
        };
        assert_eq!((first, payloads_of(&records)), (Offset(4), all_numbered(4..4 + u64::from(records.count))));
        assert!(
            records.count == 1 || records.bytes.len() <= bytes_max as usize,
            "{} bytes in {} records where {bytes_max} were asked for",
            records.bytes.len(),
            records.count
        );
        assert_eq!(bench.read(0, 0, 12, 12, bytes_max), all_numbered(0..12));
    }
    Ok(())
}

/// What has been read once reads the same for ever, also after the seal.
pub(crate) fn what_was_read_stays<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..6);
    let before = bench.read(1, 0, 6, 6, 1000);
    bench.append_numbered(0, 6..9);
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    assert_eq!(bench.read(1, 0, 6, 6, 1000), before);
    Ok(())
}
