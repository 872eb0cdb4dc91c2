//! What readers cost the disk.

use super::super::testing::{Rig, limits, loglet};
use super::super::windows::{WINDOW_BYTES, WINDOWS_MAX};
use super::super::{ReadOutcome, ReadRequest};
use crate::base::Offset;
use crate::io::op::{Op, Token};
use crate::wire::BatchBuilder;

const RECORD_BYTES: usize = 3000;

/// A restarted journal, so that nothing is in memory, whose loglets `0..loglets` have `records` records each, interleaved.
fn written(loglets: u64, records: u64) -> Rig {
    let mut rig = Rig::new(limits(4));
    for n in 0..records {
        for log in 0..loglets {
            rig.append(loglet(log), n, 1, RECORD_BYTES);
        }
    }
    let mut rig = rig.restart(|_, _| false);
    rig.settle();
    rig
}

/// Beside empty records, which have the same checksum.
#[test]
fn no_ops_are_read_back_as_such_from_memory_and_from_disk() {
    let mut rig = Rig::new(limits(1));
    let mut records = BatchBuilder::default();
    for n in 0..9 {
        match n % 3 {
            0 => records.push(b"a record"),
            1 => records.push_no_op(),
            _ => records.push(b""),
        }
    }
    let write = rig.journal.write_records(loglet(0), Offset(0), records.batch()).unwrap();
    rig.flush(write);
    for _ in 0..2 {
        for from in 0..9 {
            let outcome = rig.read(loglet(0), from, 9, 3000);
            let ReadOutcome::Records { first, records: read } = outcome else { panic!("{from}: {outcome:?}") };
            let skipped: Vec<_> = records.batch().values().skip(from as usize).collect();
            assert_eq!((first, read.batch().values().collect()), (Offset(from), skipped));
        }
        rig = rig.restart(|_, _| false);
        rig.settle();
    }
}

#[test]
fn a_reader_in_order_has_each_stretch_read_once() {
    let mut rig = written(1, 150);
    let (reads, segments) = (rig.disk.reads, rig.journal.counters().segments_in_use);
    for first in 0..150 {
        rig.check(loglet(0), first, first + 1, RECORD_BYTES);
    }
    let reads = rig.disk.reads - reads;
    assert!(reads <= segments as usize, "{reads} reads of {segments} segments");
}

#[test]
fn a_reader_who_wants_more_has_it_fetched_ahead() {
    let mut rig = written(1, 150);
    let bytes_max = u32::try_from(WINDOW_BYTES / 2).unwrap();
    let ask = |rig: &mut Rig, from: u64, to: u64| {
        rig.journal.read(ReadRequest { id: from, loglet: loglet(0), from: Offset(from), to: Offset(to), bytes_max });
        rig.poll();
        rig.disk.in_flight.len()
    };
    assert_eq!(ask(&mut rig, 0, 2), 1, "one that wants little gets no more than that");
    rig.settle();
    assert!(rig.journal.poll_read().is_some());
    assert!(ask(&mut rig, 0, 150) > 0, "the first stretch is in memory, those behind it are on their way");
    rig.settle();
    assert!(matches!(rig.journal.poll_read(), Some((0, ReadOutcome::Records { .. }))));
}

#[test]
fn more_readers_than_windows_are_all_served() {
    let loglets = WINDOWS_MAX as u64 + 5;
    let mut rig = written(loglets, 8);
    for n in 0..8 {
        for log in 0..loglets {
            rig.journal.read(ReadRequest {
                id: log,
                loglet: loglet(log),
                from: Offset(n),
                to: Offset(8),
                bytes_max: RECORD_BYTES as u32,
            });
        }
        rig.settle();
        let mut answered: Vec<u64> = std::iter::from_fn(|| rig.journal.poll_read())
            .map(|(log, outcome)| match outcome {
                ReadOutcome::Records { first, records } => {
                    assert_eq!((first, records.count()), (Offset(n), 1));
                    log
                }
                outcome => panic!("{outcome:?}"),
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(answered, (0..loglets).collect::<Vec<_>>());
    }
}

#[test]
fn a_turn_has_its_share_of_reads_and_the_next_turn_goes_on() {
    let mut rig = written(1, 100);
    rig.check(loglet(0), 0, 100, RECORD_BYTES);
    // All of it is in memory now, so nothing but the share bounds what a turn answers.
    let bytes_max = 20 * RECORD_BYTES as u32;
    let requests = 20;
    for id in 0..requests {
        rig.journal.read(ReadRequest { id, loglet: loglet(0), from: Offset(60), to: Offset(100), bytes_max });
    }
    let mut answered = Vec::new();
    while answered.iter().sum::<u64>() < requests {
        let answers = std::iter::from_fn(|| rig.journal.poll_read());
        answered.push(
            answers.inspect(|(_, outcome)| assert!(matches!(outcome, ReadOutcome::Records { .. }))).count() as u64
        );
        let all = answered.iter().sum::<u64>() == requests;
        assert!(all || !rig.journal.has_reads_due(), "the share is used up");
        rig.poll();
        assert_eq!(rig.journal.has_reads_due(), !all, "only the next turn is waited for");
    }
    assert!(answered.len() as u64 > requests / 4, "{answered:?} answers in turns");
}

#[test]
fn beside_writes_the_disk_has_one_read_at_a_time() {
    let mut rig = written(1, 150);
    let (mut next, mut most) = (0, 0);
    while next < 150 {
        let bytes_max = 128 << 10;
        rig.journal.read(ReadRequest { id: 0, loglet: loglet(0), from: Offset(next), to: Offset(150), bytes_max });
        loop {
            if let Some((_, outcome)) = rig.journal.poll_read() {
                let ReadOutcome::Records { records, .. } = outcome else { panic!("{outcome:?}") };
                next += u64::from(records.count());
                break;
            }
            rig.write(loglet(9), 0, 1, 10).unwrap();
            rig.poll();
            let is_read = |op: &&(Token, Op)| matches!(op.1, Op::Read { .. });
            most = most.max(rig.disk.in_flight.iter().filter(is_read).count());
            while !rig.disk.in_flight.is_empty() {
                rig.complete(0);
            }
        }
    }
    assert_eq!(most, 1);
}
