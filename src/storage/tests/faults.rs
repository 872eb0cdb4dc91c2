//! Failing operations, and bytes that change at rest.

use zerocopy::IntoBytes;

use crate::base::mutants::{self, Mutant};
use crate::base::{CellKey, NodeId, Offset};
use crate::io::op::{Completion, Op, Outcome};
use crate::storage::format::{FLAG_FIRST, FLAG_INDEX, HEADER_BYTES, Header};
use crate::storage::testing::{Rig, limits, loglet, payload};
use crate::storage::{DamageCause, Failure, Full, FullReason, Journal, JournalConfig, ReadOutcome, State};

/// Completes the first write in flight with `result`.
fn complete_write(rig: &mut Rig, result: std::io::Result<usize>) {
    let at = rig.disk.writes_in_flight()[0];
    let (token, op) = rig.disk.in_flight.remove(at);
    let Op::Write { buf, .. } = op else { unreachable!() };
    rig.journal.handle(Completion { token, outcome: Outcome::Written { buf, result } });
}

#[test]
fn a_failed_or_short_write_poisons_for_good_and_the_first_reason_stays() {
    for short in [false, true] {
        let mut rig = Rig::new(limits(4));
        rig.settle();
        rig.append(loglet(1), 0, 1, 100);
        for n in 1..5 {
            rig.write(loglet(1), n, 1, 600).unwrap();
            rig.poll();
        }
        let durable = rig.journal.durable();
        complete_write(&mut rig, if short { Ok(512) } else { Err(std::io::ErrorKind::InvalidData.into()) });
        assert_eq!(rig.journal.state(), State::Failed);
        while !rig.disk.writes_in_flight().is_empty() {
            complete_write(&mut rig, Ok(0));
        }
        rig.poll();
        assert!(rig.disk.writes_in_flight().is_empty(), "nothing is tried again");
        assert_eq!(rig.journal.durable(), durable);
        match rig.journal.failure().unwrap() {
            Failure::Write { .. } => assert!(!short),
            Failure::ShortWrite { written: 512, .. } => assert!(short),
            failure => panic!("{failure}"),
        }
        let full = Full { reason: FullReason::Failed };
        assert_eq!(rig.write(loglet(1), 9, 1, 1), Err(full));
        let key = CellKey { loglet: loglet(1), kind: 0 };
        assert_eq!(rig.journal.write_cell(key, b""), Err(full));
        assert_eq!(rig.journal.remove_cell(key), Err(full));
        rig.check(loglet(1), 0, 1, 100);
    }
}

#[test]
fn a_failed_read_answers_damaged_and_poisons_nothing() {
    let mut rig = Rig::new(limits(2));
    for n in 0..60 {
        rig.append(loglet(1), n, 1, 4000);
    }
    rig.settle();
    let path = rig.disk.units()[0].0.clone();
    rig.disk.unreadable = Some((path, 0..1 << 20));
    let outcome = rig.read(loglet(1), 0, 60, 100_000);
    assert!(matches!(outcome, ReadOutcome::Damaged { from: Offset(0), to } if to > Offset(0)), "{outcome:?}");
    assert_eq!(rig.journal.state(), State::Open);
    rig.disk.unreadable = None;
    rig.check(loglet(1), 0, 60, 4000);
}

/// The mutant that no whole cluster shows, for clients verify every record themselves.
#[test]
fn a_journal_that_skips_checksums_serves_wrong_bytes() {
    let mut rig = Rig::new(limits(1));
    rig.append(loglet(1), 0, 20, 100);
    let mut rig = rig.restart(|_, _| true);
    rig.settle();
    let units = rig.disk.units();
    let (path, header) = units.iter().find(|(_, header)| !header.has(FLAG_FIRST) && header.entries.get() > 0).unwrap();
    rig.disk.flip(path, header.position.get() + HEADER_BYTES as u64 + 20 * 8 + 5);
    let mut read = |mutant| {
        mutants::select(mutant);
        let outcome = rig.read(loglet(1), 0, 1, 1000);
        mutants::select(None);
        outcome
    };
    assert!(matches!(read(None), ReadOutcome::Damaged { .. }));
    let ReadOutcome::Records { records, .. } = read(Some(Mutant::SkipUnitChecksum)) else { panic!("it is noticed") };
    assert!(records.batch().records().any(|(record, _)| record != payload(loglet(1), 0, 100)));
}

#[test]
fn a_read_never_serves_bytes_whose_checksum_fails() {
    let mut rig = Rig::new(limits(2));
    for n in 0..30 {
        rig.append(loglet(1), 2 * n, 2, 1000);
    }
    rig.settle();
    let units: Vec<_> = rig.disk.units();
    let (path, header) = units.iter().find(|(_, header)| !header.has(FLAG_FIRST) && header.entries.get() > 0).unwrap();
    // The second of two records of one entry.
    rig.disk.flip(path, header.position.get() + HEADER_BYTES as u64 + 16 + 1500);
    match rig.read(loglet(1), 0, 60, 100_000) {
        ReadOutcome::Records { records, .. } => assert_eq!(records.count(), 1),
        outcome => panic!("{outcome:?}"),
    }
    let damaged = ReadOutcome::Damaged { from: Offset(1), to: Offset(2) };
    assert_eq!(rig.read(loglet(1), 1, 60, 100_000), damaged);
    rig.check(loglet(1), 2, 60, 1000);
    // A lost header takes the whole unit.
    rig.disk.flip(path, header.position.get());
    assert_eq!(rig.read(loglet(1), 0, 60, 100_000), ReadOutcome::Damaged { from: Offset(0), to: Offset(2) });
    assert_eq!(rig.journal.counters().reads_damaged, 3);
}

#[test]
fn a_rotten_first_unit_of_the_last_segment_is_damage_not_a_free_file() {
    let mut rig = Rig::new(limits(2));
    rig.settle();
    rig.append(loglet(1), 0, 1, 600);
    rig = rig.restart(|_, _| false);
    rig.settle();
    rig.journal.write_cell(CellKey { loglet: loglet(1), kind: 1 }, b"seal").unwrap();
    rig.append(loglet(1), 1, 1, 600);
    rig.settle();
    let (path, header) = rig.disk.units().into_iter().rfind(|(_, header)| header.has(FLAG_FIRST)).unwrap();
    assert_eq!(header.life.get(), 2);
    rig.disk.flip(&path, 50);
    rig = rig.restart(|_, _| false);
    let recovered = rig.journal.take_recovered();
    assert!(recovered.damage.iter().any(|damage| !damage.table_survived), "{:?}", recovered.damage);
    assert_eq!(rig.stored(loglet(1)), [(0, 2)], "what can be read still counts");
    assert_eq!(recovered.cells.len(), 1);
}

#[test]
fn a_named_segment_that_is_gone_is_damage() {
    let mut rig = Rig::new(limits(2));
    for n in 0..100 {
        rig.append(loglet(1), n, 1, 4000);
    }
    rig.settle();
    let (path, header) = rig.disk.units().into_iter().find(|(_, header)| header.has(FLAG_FIRST)).unwrap();
    rig.disk.files.remove(&path);
    rig = rig.restart(|_, _| false);
    let damage = rig.journal.take_recovered().damage;
    assert_eq!(damage.len(), 1);
    assert_eq!((damage[0].segment, damage[0].cause), (header.segment.get(), DamageCause::SegmentMissing));
}

#[test]
fn a_lost_cell_is_named_unless_it_was_written_again() {
    for again in [false, true] {
        let mut rig = Rig::new(limits(2));
        rig.settle();
        let key = CellKey { loglet: loglet(1), kind: 1 };
        rig.journal.write_cell(key, &[1; 100]).unwrap();
        rig.settle();
        let first = rig.disk.units().into_iter().rfind(|(_, header)| header.entries.get() == 1).unwrap();
        if again {
            rig.journal.write_cell(key, &[2; 100]).unwrap();
            rig.settle();
        }
        rig.disk.flip(&first.0, first.1.position.get() + HEADER_BYTES as u64);
        rig = rig.restart(|_, _| false);
        let recovered = rig.journal.take_recovered();
        assert_eq!(recovered.damage.len(), 1);
        assert!(recovered.damage[0].table_survived);
        assert_eq!(recovered.damage[0].cells_lost, if again { vec![] } else { vec![key] });
        assert_eq!(recovered.cells.len(), usize::from(again));
    }
}

#[test]
fn an_unreadable_end_is_damage_not_tearing() {
    let mut rig = Rig::new(limits(2));
    rig.settle();
    rig.append(loglet(1), 0, 1, 600);
    let (path, header) = rig.disk.units().into_iter().rfind(|(_, header)| !header.has(FLAG_INDEX)).unwrap();
    let at = header.position.get();
    rig.disk.unreadable = Some((path, at..at + 512));
    rig = rig.restart(|_, _| false);
    let damage = rig.journal.take_recovered().damage;
    assert!(
        damage.iter().any(|damage| damage.cause == DamageCause::Unreadable && !damage.table_survived),
        "{damage:?}"
    );
}

#[test]
fn files_of_another_node_are_refused() {
    let mut rig = Rig::new(limits(2));
    rig.settle();
    let config = JournalConfig { node: NodeId(6), ..rig.journal.config.clone() };
    let mut disk = std::mem::take(&mut rig.disk);
    let mut journal = Journal::open(config);
    while journal.state() == State::Opening {
        while let Some(op) = journal.poll_op() {
            disk.in_flight.push(op);
        }
        journal.handle(disk.complete(0));
    }
    assert!(matches!(journal.failure(), Some(Failure::Foreign { node: NodeId(5), .. })));
}

#[test]
fn a_unit_that_says_more_than_any_journal_counts_to_is_damage() {
    type Change = fn(&mut Header);
    let changes: [Change; 3] = [
        |header| header.sequence = u64::MAX.into(),
        |header| header.life = u64::MAX.into(),
        |header| header.segment = u64::MAX.into(),
    ];
    for (change, first) in changes.into_iter().flat_map(|change| [(change, true), (change, false)]) {
        let mut rig = Rig::new(limits(1));
        for n in 0..4 {
            rig.append(loglet(1), n, 1, 300);
        }
        rig.settle();
        let units = rig.disk.units();
        let is_first = |header: &Header| header.has(FLAG_FIRST);
        let (path, mut header) =
            units.into_iter().find(|(_, header)| is_first(header) == first).expect("there are both");
        change(&mut header);
        header.header_checksum = header.compute_checksum().into();
        let at = header.position.get() as usize;
        rig.disk.files.get_mut(&path).unwrap()[at..at + HEADER_BYTES].copy_from_slice(header.as_bytes());
        let mut rig = rig.restart(|_, _| false);
        assert_eq!(rig.journal.state(), State::Open);
        let damage = rig.journal.take_recovered().damage;
        assert!(damage.iter().any(|damage| damage.cause == DamageCause::Unit && !damage.table_survived), "{damage:?}");
        rig.settle();
    }
}
