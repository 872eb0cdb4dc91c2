use super::bench::{all_numbered, numbered, records};
use super::{Bench, Checked, LogletUnderTest};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult, OpId};

/// One client's appends, many on the way at once, get offsets in their order and without a hole.
pub(crate) fn offsets_are_contiguous<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let mut next = 0;
    let ids: Vec<(OpId, u64)> = (0..20)
        .map(|_| {
            let count = 1 + next % 3;
            let records = records(&all_numbered(next..next + count));
            next += count;
            (bench.start(0, LogletOp::Append { records }), count)
        })
        .collect();
    let mut expected = 0;
    for (id, count) in ids {
        let records = records(&all_numbered(expected..expected + count));
        assert_eq!(bench.wait(id), LogletResult::Appended { first: Offset(expected), stride: 1, records });
        expected += count;
    }
    assert_eq!(bench.read(0, 0, next, next, 100), all_numbered(0..next));
    Ok(())
}

/// Two clients' appends never share an offset, and every one is where it was acknowledged.
pub(crate) fn several_clients_share_one_order<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let ids: Vec<(OpId, Vec<u8>)> = (0..30)
        .map(|number| {
            let payload = numbered(number);
            let op = LogletOp::Append { records: records(&[&payload]) };
            (bench.start((number % 2) as usize, op), payload)
        })
        .collect();
    let mut placed: Vec<Option<Vec<u8>>> = vec![None; 30];
    for (id, payload) in ids {
        let LogletResult::Appended { first, .. } = bench.wait(id) else { panic!("an append has failed") };
        assert_eq!(placed[first.0 as usize].replace(payload), None, "{first} was given twice");
    }
    let placed: Vec<Vec<u8>> = placed.into_iter().map(|payload| payload.expect("no offset was left out")).collect();
    assert_eq!(bench.read(1, 0, 30, 30, 200), placed);
    Ok(())
}

/// Records without a byte and records of the largest size are kept as they are.
pub(crate) fn empty_and_maximal_records_are_kept<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let maximal = vec![0xA5; bench.loglet.record_bytes_max()];
    assert_eq!(bench.append(0, &[b"", b"", b""]), 0);
    assert_eq!(bench.append(0, &[&maximal]), 3);
    assert_eq!(bench.append(0, &[b""]), 4);
    let expected = vec![vec![], vec![], vec![], maximal, vec![]];
    assert_eq!(bench.read(0, 0, 5, 5, 1), expected);
    assert_eq!(bench.read(1, 0, 5, 5, u32::MAX), expected);
    Ok(())
}
