use std::collections::BTreeMap;

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
    let (mut expected, mut placed) = (0, BTreeMap::new());
    for (id, count) in ids {
        let payloads = all_numbered(expected..expected + count);
        let LogletResult::Appended { first, stride, records: back } = bench.wait(id) else { panic!("it has failed") };
        assert_eq!((stride, back), (bench.loglet.stride(), records(&payloads)));
        assert!(first == Offset(expected) || bench.is_striped(), "{first} in the place of {expected}");
        bench.place(&mut placed, first.0, &payloads);
        expected += count;
    }
    bench.holds(0, &placed, 100);
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
    let mut placed = BTreeMap::new();
    for (id, payload) in ids {
        let LogletResult::Appended { first, .. } = bench.wait(id) else { panic!("an append has failed") };
        bench.place(&mut placed, first.0, &[payload]);
    }
    assert!(placed.contains_key(&29) && placed.len() == 30 || bench.is_striped(), "no offset was left out");
    bench.holds(1, &placed, 200);
    Ok(())
}

/// Records without a byte and records of the largest size are kept as they are.
pub(crate) fn empty_and_maximal_records_are_kept<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let maximal = vec![0xA5; bench.loglet.record_bytes_max()];
    let (mut placed, mut next) = (BTreeMap::new(), 0);
    for payloads in [vec![Vec::new(); 3], vec![maximal], vec![Vec::new()]] {
        let first = bench.append(0, &payloads);
        assert!(first == next || bench.is_striped() && first > next, "{first} in the place of {next}");
        bench.place(&mut placed, first, &payloads);
        next += payloads.len() as u64;
    }
    bench.holds(0, &placed, 1);
    bench.holds(1, &placed, u32::MAX);
    Ok(())
}
