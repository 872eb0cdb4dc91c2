//! The executions of P9, each as a test, and their neighbours.

use std::path::PathBuf;

use crate::base::{CellKey, Offset, Rng};
use crate::storage::State;
use crate::storage::format::{FLAG_CLAIM, FLAG_FIRST, FLAG_INDEX, HEADER_BYTES, Header};
use crate::storage::testing::{Rig, limits, loglet};

fn key(kind: u8) -> CellKey {
    CellKey { loglet: loglet(1), kind }
}

/// Units of the caller's data, in order of sequence.
fn data_units(rig: &Rig) -> Vec<(PathBuf, Header)> {
    let is_data = |header: &Header| !header.has(FLAG_CLAIM | FLAG_FIRST | FLAG_INDEX) && header.entries.get() > 0;
    rig.disk.units().into_iter().filter(|(_, header)| is_data(header)).collect()
}

/// Submits `count` units of one record each, without completing any.
fn submit(rig: &mut Rig, first: u64, count: u64) {
    for n in first..first + count {
        rig.write(loglet(1), n, 1, 600).unwrap();
        rig.poll();
    }
    let in_flight = rig.disk.writes_in_flight().len();
    assert_eq!(in_flight as u64, count, "one unit for each record");
}

#[test]
fn p9a_an_acknowledged_unit_that_rots_is_reported_and_never_dropped_as_torn() {
    for (part, survives) in [(HEADER_BYTES as u64 + 40, true), (9, false), (HEADER_BYTES as u64 + 700, false)] {
        for victim in 0..8 {
            let mut rig = Rig::new(limits(4));
            rig.settle();
            for n in 0..8 {
                rig.append(loglet(1), n, 1, 600);
            }
            // The claim that follows when the journal falls idle covers the last of them too.
            rig.settle();
            let (path, header) = data_units(&rig)[victim].clone();
            let part = if part > 700 { HEADER_BYTES as u64 + u64::from(header.payload_bytes.get()) + 20 } else { part };
            rig.disk.flip(&path, header.position.get() + part);
            rig = rig.restart(|_, _| false);
            let recovered = rig.journal.take_recovered();
            assert_eq!(recovered.damage.len(), 1);
            let damage = &recovered.damage[0];
            assert_eq!((damage.segment, damage.position), (header.segment.get(), header.position.get()));
            assert_eq!(damage.table_survived, survives);
            let victim = victim as u64;
            if survives {
                assert_eq!(damage.holes, [(loglet(1), Offset(victim), Offset(victim + 1))]);
            }
            let stored: u64 = rig.stored(loglet(1)).iter().map(|(from, to)| to - from).sum();
            assert_eq!(stored, 7);
            rig.check(loglet(1), 0, victim, 600);
            rig.check(loglet(1), victim + 1, 8, 600);
        }
    }
}

#[test]
fn p9b_a_write_of_a_dead_life_that_lands_late_destroys_nothing() {
    for fill in 0..40 {
        let mut rig = Rig::new(limits(4));
        rig.settle();
        for n in 0..fill {
            rig.append(loglet(1), n, 1, 4000);
        }
        // Some of these begin a segment: their file is free when the successor looks.
        for n in 0..4 {
            rig.write(loglet(1), fill + n, 1, 4000).unwrap();
            rig.poll();
        }
        let late = rig.disk.copy_writes();
        assert!(!late.is_empty());
        rig = rig.restart(|_, _| false);
        rig.journal.take_recovered();
        for n in fill..fill + 6 {
            rig.append(loglet(1), n, 1, 2000);
        }
        late.iter().for_each(|write| rig.disk.land(write));
        rig = rig.restart(|_, _| false);
        assert_eq!(rig.journal.take_recovered().damage, []);
        assert_eq!(rig.stored(loglet(1)), [(0, fill + 6)]);
        rig.check(loglet(1), 0, fill, 4000);
        rig.check(loglet(1), fill, fill + 6, 2000);
    }
}

#[test]
fn p9b_unfinished_preparations_are_deleted_never_completed() {
    let mut rig = Rig::new(limits(2));
    rig.poll();
    assert!(rig.disk.in_flight.iter().any(|(_, op)| matches!(op, crate::io::op::Op::Prepare { .. })));
    rig = rig.restart(|_, _| true);
    assert!(rig.disk.files.keys().all(|path| path.extension().is_none_or(|extension| extension == "seg")));
}

/// Fills the first segment until the next unit begins another one; returns the number of records written.
fn fill_segment(rig: &mut Rig) -> u64 {
    let heads = rig.journal.counters().head_units;
    for n in 0.. {
        rig.write(loglet(1), n, 1, 4000).unwrap();
        rig.poll();
        if rig.journal.counters().head_units > heads {
            return n + 1;
        }
        while !rig.disk.in_flight.is_empty() {
            rig.complete(0);
        }
    }
    unreachable!()
}

#[test]
fn p9c_the_last_unit_of_a_segment_is_claimed_from_the_next() {
    let mut rig = Rig::new(limits(4));
    rig.settle();
    let records = fill_segment(&mut rig);
    // All but the index block, which would claim as well.
    while let Some(at) = rig.disk.writes_in_flight().first().copied() {
        rig.complete(at);
    }
    rig.append(loglet(1), records, 1, 600);
    let units = data_units(&rig);
    let (path, header) = units[units.len() - 3].clone();
    assert_ne!(header.segment, units[units.len() - 1].1.segment);
    let index = rig.disk.units().last().cloned().unwrap();
    if index.1.has(FLAG_INDEX) {
        rig.disk.flip(&index.0, index.1.position.get());
    }
    rig.disk.flip(&path, header.position.get());
    rig = rig.restart(|_, _| false);
    let damage = rig.journal.take_recovered().damage;
    assert_eq!(damage.len(), 1, "rot, not tearing: {damage:?}");
    assert_eq!(damage[0].segment, header.segment.get());
}

/// The last unit of a segment, and the head and first unit of the next, in flight together; returns the records written.
fn roll_in_flight(rig: &mut Rig) -> u64 {
    let heads = rig.journal.counters().head_units;
    for n in 0.. {
        rig.write(loglet(1), n, 1, 4000).unwrap();
        rig.poll();
        if rig.journal.counters().head_units > heads {
            return n + 1;
        }
        while rig.disk.in_flight.len() > 1 {
            rig.complete(0);
        }
    }
    unreachable!()
}

#[test]
fn p9c_a_torn_last_unit_discards_the_next_segment() {
    let mut rig = Rig::new(limits(4));
    rig.settle();
    rig.journal.write_cell(key(1), b"kept").unwrap();
    rig.settle();
    let n = roll_in_flight(&mut rig);
    assert_eq!(rig.disk.writes_in_flight().len(), 3);
    let first = rig.disk.writes_in_flight()[0];
    rig = rig.restart(|at, _| at != first);
    let recovered = rig.journal.take_recovered();
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.cells, [(key(1), b"kept".to_vec())]);
    assert_eq!(rig.stored(loglet(1)), [(0, n - 2)]);
    rig.check(loglet(1), 0, n - 2, 4000);
    rig.append(loglet(1), n - 2, 1, 4000);
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.stored(loglet(1)), [(0, n - 1)]);
}

#[test]
fn p9d_valid_units_behind_a_torn_one_are_discarded_for_good() {
    for torn in 0..4_u64 {
        let mut rig = Rig::new(limits(4));
        rig.settle();
        rig.append(loglet(1), 0, 1, 600);
        rig.settle();
        submit(&mut rig, 1, 4);
        let writes = rig.disk.writes_in_flight();
        rig = rig.restart(|at, sector| at != writes[torn as usize] || sector == 0);
        for start in 0..3 {
            let recovered = rig.journal.take_recovered();
            assert_eq!(recovered.damage, [], "torn {torn}, start {start}");
            assert_eq!(rig.stored(loglet(1)), [(0, 1 + torn)], "torn {torn}, start {start}");
            rig.settle();
            rig = rig.restart(|_, _| false);
        }
        rig.check(loglet(1), 0, 1 + torn, 600);
    }
}

#[test]
fn p9e_a_head_without_its_end_does_not_count() {
    for survive in 0..3 {
        let mut rig = Rig::new(limits(4));
        rig.settle();
        for kind in 0..4 {
            rig.journal.write_cell(key(kind), &[kind; 4000]).unwrap();
        }
        rig.settle();
        let records = fill_segment(&mut rig);
        let writes = rig.disk.writes_in_flight();
        assert!(writes.len() >= 3, "the head takes several units");
        let free_before = rig.disk.files.len();
        // Nothing may be freed while the head is not durable, whatever is trimmed.
        rig.journal.trim(loglet(1), Offset(records - 1));
        assert_eq!(rig.journal.counters().segments_recycled, 0);
        rig = rig.restart(|at, _| writes.iter().position(|write| *write == at).is_some_and(|place| place < survive));
        assert!(rig.disk.files.len() >= free_before);
        let recovered = rig.journal.take_recovered();
        assert_eq!(recovered.damage, []);
        let cells: Vec<_> = recovered.cells.iter().map(|(key, value)| (key.kind, value.len())).collect();
        assert_eq!(cells, [(0, 4000), (1, 4000), (2, 4000), (3, 4000)], "{survive} units of the head survive");
    }
}

#[test]
fn p9e_a_segment_is_reused_only_after_a_later_head_is_durable() {
    let mut rig = Rig::new(limits(2));
    for n in 0..200 {
        rig.append(loglet(1), n, 1, 4000);
        rig.journal.trim(loglet(1), Offset(n + 1));
        let newest = rig.disk.units().iter().map(|(_, header)| header.segment.get()).max().unwrap();
        let mut heads: Vec<_> = rig
            .disk
            .units()
            .iter()
            .filter(|(_, header)| header.has(FLAG_FIRST))
            .map(|(_, header)| header.segment.get())
            .collect();
        heads.sort_unstable();
        heads.dedup();
        assert!(heads.contains(&newest));
        assert!(
            heads.len() < 2 || heads.contains(&(newest - 1)),
            "the segment before the newest keeps its head: {heads:?}"
        );
    }
    assert!(rig.journal.counters().segments_recycled > 3);
}

#[test]
fn p9f_an_index_block_follows_what_it_lists() {
    let mut rig = Rig::new(limits(4));
    rig.settle();
    roll_in_flight(&mut rig);
    let is_index = |data: &[u8]| Header::read(data).is_ok_and(|header| header.has(FLAG_INDEX));
    // The last unit of the closed segment completes last.
    while rig.disk.writes_in_flight().len() > 1 {
        assert!(!rig.disk.copy_writes().iter().any(|(_, _, data)| is_index(data)));
        let last = *rig.disk.writes_in_flight().last().unwrap();
        rig.complete(last);
        rig.poll();
    }
    rig.complete(rig.disk.writes_in_flight()[0]);
    rig.poll();
    assert!(rig.disk.copy_writes().iter().any(|(_, _, data)| is_index(data)));
}

#[test]
fn p9f_stale_units_and_index_blocks_of_a_recycled_file_do_not_count() {
    let mut rig = Rig::new(limits(4));
    for n in 0..300 {
        rig.append(loglet(1), n, 1, 4000);
        rig.journal.trim(loglet(1), Offset(n.saturating_sub(20)));
        if n % 37 == 0 {
            rig = rig.restart(|_, _| false);
            let recovered = rig.journal.take_recovered();
            assert_eq!(recovered.damage, [], "after {n}");
            let from = n.saturating_sub(20);
            rig.check(loglet(1), from, n + 1, 4000);
            assert_eq!(rig.stored(loglet(1)).last().unwrap().1, n + 1);
            rig.journal.trim(loglet(1), Offset(from));
        }
    }
    assert!(rig.disk.units().iter().any(|(_, header)| header.has(FLAG_INDEX)));
}

#[test]
fn a_damaged_index_block_costs_a_scan_and_nothing_else() {
    let mut rig = Rig::new(limits(2));
    for n in 0..150 {
        rig.append(loglet(1), n, 1, 4000);
    }
    rig.settle();
    let indexes: Vec<_> = rig.disk.units().into_iter().filter(|(_, header)| header.has(FLAG_INDEX)).collect();
    assert!(indexes.len() >= 3);
    for (path, header) in indexes {
        rig.disk.flip(&path, header.position.get() + 200);
        rig = rig.restart(|_, _| false);
        assert_eq!(rig.journal.take_recovered().damage, []);
        assert_eq!(rig.stored(loglet(1)), [(0, 150)]);
    }
    rig.check(loglet(1), 0, 150, 4000);
}

#[test]
fn a_torn_first_head_of_a_life_falls_back_to_the_life_before() {
    let mut rig = Rig::new(limits(2));
    rig.settle();
    rig.journal.write_cell(key(1), b"x").unwrap();
    rig.append(loglet(1), 0, 3, 600);
    for survive in [false, true, false] {
        rig.disk.crash(&mut |_, _| false);
        // A start that dies while its head is in flight.
        let mut disk = std::mem::take(&mut rig.disk);
        let config = crate::storage::JournalConfig { seed: 99 + u64::from(survive), ..rig.journal.config.clone() };
        let mut journal = crate::storage::Journal::open(config);
        loop {
            while let Some(op) = journal.poll_op() {
                disk.in_flight.push(op);
            }
            if !disk.writes_in_flight().is_empty() {
                break;
            }
            journal.handle(disk.complete(0));
        }
        disk.crash(&mut |_, sector| survive && sector > 0);
        rig = Rig::with_disk(disk, limits(2), 512, 1234 + u64::from(survive));
        let recovered = rig.journal.take_recovered();
        assert_eq!((recovered.damage, recovered.cells), (vec![], vec![(key(1), b"x".to_vec())]));
        rig.check(loglet(1), 0, 3, 600);
    }
}

#[test]
fn a_crash_at_any_step_of_a_start_damages_nothing() {
    let mut rng = Rng::with_seed(4);
    for steps in 0..60 {
        let mut rig = Rig::new(limits(4));
        // A head of several units.
        for kind in 1..8 {
            rig.journal.write_cell(key(kind), &[kind; 3000]).unwrap();
        }
        rig.append(loglet(1), 0, 5, 100);
        rig.settle();
        let mut rig = rig.restart_slowly(|_, _| false);
        let mut taken = 0;
        while taken < steps && rig.open_further() {
            taken += 1;
        }
        rig.poll();
        // Anything but the first sector of what was written first.
        rig = rig.restart(|op, sector| (op, sector) != (0, 0) && rng.u8(..4) > 0);
        assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
        let recovered = rig.journal.take_recovered();
        assert_eq!((recovered.damage, recovered.cells.len()), (Vec::new(), 7), "after {steps} steps");
        rig.check(loglet(1), 0, 5, 100);
    }
}
