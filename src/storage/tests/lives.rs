//! Writing, reading and starting again.

use crate::base::{CellKey, Limits, Offset};
use crate::storage::testing::{Disk, Rig, limits, loglet};
use crate::storage::{ReadOutcome, State, Work};

fn key(kind: u8) -> CellKey {
    CellKey { loglet: loglet(1), kind }
}

#[test]
fn an_empty_directory_opens_with_its_reserve() {
    let mut rig = Rig::new(limits(2));
    assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
    let recovered = rig.journal.take_recovered();
    assert_eq!((recovered.life, recovered.cells.len(), recovered.damage.len()), (1, 0, 0));
    rig.settle();
    assert_eq!(rig.journal.prepared_bytes(), 4 * (128 << 10));
}

#[test]
fn records_are_read_back_over_many_segments_and_lives() {
    for (depth, block) in [(1, 512), (2, 4096), (4, 512)] {
        let mut rig = Rig::with_disk(Disk::new(), limits(depth), block, 1);
        let (a, b) = (loglet(1), loglet(2));
        for round in 0..4_u64 {
            for n in round * 60..(round + 1) * 60 {
                rig.append(a, n * 3, 3, 700);
                rig.append(b, n, 1, 100);
            }
            rig.check(a, 0, (round + 1) * 180, 700);
            rig.check(b, 0, (round + 1) * 60, 100);
            rig = rig.restart(|_, _| false);
            assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
            let recovered = rig.journal.take_recovered();
            assert_eq!(recovered.damage, [], "depth {depth}, round {round}");
            assert_eq!(recovered.life, round + 2);
            assert_eq!(recovered.loglets, [a, b]);
            assert_eq!(rig.stored(a), [(0, (round + 1) * 180)]);
            rig.check(a, 0, (round + 1) * 180, 700);
            rig.check(b, 0, (round + 1) * 60, 100);
        }
        assert!(rig.journal.counters().segments_in_use >= 5);
    }
}

#[test]
fn cells_survive_rolling_over_many_segments() {
    let mut rig = Rig::new(limits(2));
    rig.journal.write_cell(key(1), b"seal").unwrap();
    rig.journal.write_cell(key(2), b"gone").unwrap();
    rig.journal.write_cell(key(3), &[7; 3000]).unwrap();
    rig.journal.remove_cell(key(2)).unwrap();
    for n in 0..400 {
        rig.append(loglet(1), n, 1, 4000);
        rig.journal.trim(loglet(1), Offset(n));
    }
    let write = rig.journal.write_cell(key(4), b"late").unwrap();
    rig.flush(write);
    assert!(rig.journal.counters().segments_recycled > 5);
    for _ in 0..3 {
        rig = rig.restart(|_, _| false);
        let recovered = rig.journal.take_recovered();
        let cells: Vec<_> = recovered.cells.iter().map(|(key, value)| (key.kind, value.len())).collect();
        assert_eq!(cells, [(1, 4), (3, 3000), (4, 4)]);
        assert_eq!(recovered.damage, []);
        rig.settle();
    }
}

#[test]
fn a_record_larger_than_a_unit_has_a_unit_of_its_own() {
    let mut rig = Rig::new(limits(4));
    for n in 0..40 {
        rig.append(loglet(1), n * 2, 1, 9000);
        rig.append(loglet(1), n * 2 + 1, 1, 9000);
    }
    rig = rig.restart(|_, _| false);
    rig.check(loglet(1), 0, 80, 9000);
}

#[test]
fn reads_say_what_is_missing_and_respect_their_bounds() {
    let mut rig = Rig::new(limits(2));
    rig.append(loglet(1), 10, 4, 100);
    rig.append(loglet(1), 20, 1, 100);
    for _ in 0..2 {
        let missing = |from, to| ReadOutcome::Missing { from: Offset(from), to: Offset(to) };
        assert_eq!(rig.read(loglet(1), 5, 30, 1000), missing(5, 10));
        assert_eq!(rig.read(loglet(1), 5, 8, 1000), missing(5, 8));
        assert_eq!(rig.read(loglet(1), 14, 30, 1000), missing(14, 20));
        assert_eq!(rig.read(loglet(1), 21, 30, 1000), missing(21, 30));
        assert_eq!(rig.read(loglet(9), 0, 3, 1000), missing(0, 3));
        for (from, to, bytes_max, expected) in
            [(10, 14, 1000, 4), (11, 13, 1000, 2), (13, 14, 1, 1), (10, 14, 0, 1), (10, 14, 216, 2), (10, 30, 9999, 4)]
        {
            match rig.read(loglet(1), from, to, bytes_max) {
                ReadOutcome::Records { first, records } => assert_eq!((first.0, records.count()), (from, expected)),
                outcome => panic!("{outcome:?}"),
            }
        }
        rig = rig.restart(|_, _| true);
    }
}

#[test]
fn only_durable_records_are_read() {
    let mut rig = Rig::new(limits(2));
    rig.settle();
    rig.write(loglet(1), 0, 1, 100).unwrap();
    rig.poll();
    assert_eq!(rig.read_now(loglet(1), 0, 1), ReadOutcome::Missing { from: Offset(0), to: Offset(1) });
    rig.settle();
    let reads = rig.disk.reads;
    rig.check(loglet(1), 0, 1, 100);
    assert_eq!(rig.disk.reads, reads, "the tail is read from memory");
    assert_eq!(rig.journal.counters().reads_from_memory, 1);
}

#[test]
fn what_is_done_for_a_loglet_is_counted_for_it_alone() {
    let mut rig = Rig::new(limits(2));
    let one = 100 + u64::from(Limits::RECORD_OVERHEAD);
    rig.append(loglet(1), 0, 3, 100);
    rig.append(loglet(1), 3, 1, 100);
    rig.append(loglet(2), 0, 1, 100);
    rig.settle();
    rig.check(loglet(1), 0, 4, 100);
    let work = |rig: &Rig, log| rig.journal.work(loglet(log));
    let (entries, reads) = (work(&rig, 1).entries, work(&rig, 1).reads);
    assert!(entries == 2 && reads > 0);
    assert_eq!(work(&rig, 1), Work { entries, entry_bytes: 4 * one, reads, read_bytes: 4 * one });
    assert_eq!(work(&rig, 2), Work { entries: 1, entry_bytes: one, ..Work::default() });
    rig.journal.remove(loglet(1));
    assert_eq!(work(&rig, 1), Work::default());
}

#[test]
fn a_repaired_record_replaces_the_older_copy() {
    let mut rig = Rig::new(limits(2));
    for n in 0..50 {
        rig.append(loglet(1), n, 1, 3000);
    }
    rig.append(loglet(1), 3, 1, 3000);
    rig.append(loglet(1), 10, 2, 1500);
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.stored(loglet(1)), [(0, 50)]);
    rig.check(loglet(1), 0, 10, 3000);
    rig.check(loglet(1), 10, 12, 1500);
    rig.check(loglet(1), 12, 50, 3000);
}

#[test]
fn an_idle_journal_claims_what_it_wrote_and_only_once() {
    let mut rig = Rig::new(limits(4));
    rig.settle();
    let before = rig.journal.counters().claims;
    rig.append(loglet(1), 0, 1, 10);
    rig.settle();
    rig.settle();
    assert_eq!(rig.journal.counters().claims, before + 1);
    rig.append(loglet(1), 1, 1, 10);
    rig.journal.close();
    rig.poll();
    assert_eq!(rig.disk.writes_in_flight().len(), 1, "a clean stop claims by itself");
}

#[test]
fn a_start_scans_one_segment_however_many_restarts_there_were() {
    // Few index points, so that the index blocks of these small segments have room for all lives.
    let limits = crate::base::Limits { segments_max: 60, index_granularity_bytes: 64 << 10, ..limits(2) };
    let mut rig = Rig::new(limits);
    for life in 0..20_u64 {
        // Some lives roll over, so that the index comes from a block as well as from a unit.
        let count = if life % 5 == 4 { 60 } else { 5 };
        let first = rig.stored(loglet(1)).last().map_or(0, |range| range.1);
        for n in first..first + count {
            rig.append(loglet(1), n, 1, 3000);
        }
        rig.settle();
        let (files, segments, reads) = (rig.disk.files.len(), rig.journal.counters().segments_in_use, rig.disk.reads);
        rig = rig.restart(|_, _| false);
        assert_eq!(rig.journal.take_recovered().damage, []);
        assert_eq!(rig.stored(loglet(1)), [(0, first + count)]);
        let expected = files + 1 + segments as usize + 1;
        assert_eq!(rig.disk.reads - reads, expected, "first blocks, the anchor's two, index blocks, one scan");
    }
    let end = rig.stored(loglet(1))[0].1;
    rig.check(loglet(1), 0, end, 3000);
}

#[test]
fn a_torn_carried_index_costs_a_scan_and_nothing_else() {
    let mut rig = Rig::new(limits(2));
    for life in 0..4_u64 {
        for n in life * 5..(life + 1) * 5 {
            rig.append(loglet(1), n, 1, 3000);
        }
        // What the next start writes beside its head is lost with the power.
        rig = rig.restart(|_, _| false);
        rig.poll();
        if life > 0 {
            assert!(!rig.disk.writes_in_flight().is_empty(), "the carried index is on its way");
        }
        rig = rig.restart(|at, sector| (at + sector) % 2 == 0);
        assert_eq!(rig.journal.take_recovered().damage, []);
        assert_eq!(rig.stored(loglet(1)), [(0, (life + 1) * 5)]);
    }
    rig.check(loglet(1), 0, 20, 3000);
}
