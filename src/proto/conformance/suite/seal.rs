use super::bench::{all_numbered, numbered, records};
use super::{Bench, Checked, Fault, LogletUnderTest};
use crate::proto::loglet::{LogletOp, LogletResult};

fn refused<L: LogletUnderTest>(bench: &mut Bench<'_, L>, client: usize) {
    let records = records(&[b"late"]);
    match bench.run(client, LogletOp::Append { records: records.clone() }) {
        LogletResult::AppendSealed { records: back, .. } => assert_eq!(back, records, "for a retry elsewhere"),
        other => panic!("an append to a sealed loglet: {other:?}"),
    }
}

/// Sealing again is a success, by whomever.
pub(crate) fn sealing_is_idempotent<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..3);
    for client in [0, 1, 0] {
        assert_eq!(bench.run(client, LogletOp::Seal), LogletResult::Sealed);
    }
    assert_eq!(bench.check_tail(1), (3, true));
    Ok(())
}

/// After the seal no append is acknowledged, the tail stands, and everything can be read.
pub(crate) fn nothing_is_acknowledged_after_it<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..3);
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    for client in [0, 1, 0] {
        refused(bench, client);
        assert_eq!(bench.check_tail(client), (3, true));
    }
    assert_eq!(bench.read(0, 0, 3, 3, 1000), all_numbered(0..3));
    Ok(())
}

/// Appends that race with the seal: what is acknowledged lies below every sealed tail, and what was given an offset below the
/// tail is there (P16).
pub(crate) fn racing_appends_are_settled_by_the_tail<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    let mut appends = Vec::new();
    for number in 0..20 {
        let client = (number % 2) as usize;
        appends.push((number, bench.start(client, LogletOp::Append { records: records(&[numbered(number)]) })));
    }
    let first = appends[3].1;
    bench.wait(first);
    let seal = bench.start(1, LogletOp::Seal);
    for number in 20..40 {
        appends.push((number, bench.start(0, LogletOp::Append { records: records(&[numbered(number)]) })));
    }
    assert_eq!(bench.wait(seal), LogletResult::Sealed);
    let (tail, sealed) = bench.check_tail(0);
    assert!(sealed);
    let there = match tail {
        0 => Vec::new(),
        _ => bench.read(1, 0, tail, tail, 1000),
    };
    for (number, id) in appends {
        if id == first {
            continue;
        }
        match bench.wait(id) {
            LogletResult::Appended { first, .. } => {
                assert!(first.0 < tail, "{first} was acknowledged beyond the sealed tail {tail}");
                assert_eq!(there[first.0 as usize], numbered(number));
            }
            LogletResult::AppendSealed { first: Some(first), .. } if first.0 < tail => {
                assert_eq!(there[first.0 as usize], numbered(number));
            }
            LogletResult::AppendSealed { .. } => assert!(!there.contains(&numbered(number)), "{number} is there"),
            other => panic!("an append beside a seal: {other:?}"),
        }
    }
    Ok(())
}

/// A seal is never forgotten, and what it holds neither.
pub(crate) fn it_survives_restarts<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..5);
    assert_eq!(bench.run(1, LogletOp::Seal), LogletResult::Sealed);
    for server in [1, 2] {
        bench.loglet.fault(Fault::Crash(server))?;
        bench.loglet.fault(Fault::Restart(server))?;
        refused(bench, 0);
        assert_eq!(bench.check_tail(1), (5, true));
        assert_eq!(bench.read(1, 0, 5, 5, 1000), all_numbered(0..5));
    }
    Ok(())
}
