//! Full queues and full disks.

use crate::base::{CellKey, Offset};
use crate::storage::testing::{Disk, Rig, limits, loglet};
use crate::storage::{Failure, Full, FullReason, Journal, State};
use crate::wire::{Batch, BatchBuilder};

fn key(kind: u8) -> CellKey {
    CellKey { loglet: loglet(1), kind }
}

#[test]
fn a_full_queue_refuses_records_but_no_cells() {
    let mut rig = Rig::new(limits(1));
    rig.settle();
    let mut n = 0;
    let full = loop {
        match rig.write(loglet(1), n, 1, 3000) {
            Ok(_) => n += 1,
            Err(full) => break full,
        }
        rig.poll();
    };
    assert_eq!(full, Full { reason: FullReason::Queue });
    for kind in 0..3 {
        rig.journal.write_cell(key(kind), &[0; 3000]).unwrap();
    }
    rig.settle();
    rig.write(loglet(1), n, 1, 3000).unwrap();
    rig.settle();
    rig.check(loglet(1), 0, n + 1, 3000);
}

/// What is prepared once is not prepared again when it has been taken, beside every segment that is written.
#[test]
fn a_stock_of_segments_is_used_up_before_others_are_prepared() {
    let mut rig = Rig::new(limits(1));
    rig.settle();
    let always = rig.journal.prepared_bytes();
    rig.journal.prepare_stock(5);
    rig.settle();
    let segment = limits(1).segment_bytes;
    assert_eq!(rig.journal.prepared_bytes(), always + 5 * segment);
    let prepared = rig.journal.counters().segments_prepared;
    let mut tail = 0;
    while rig.journal.prepared_bytes() > always {
        rig.append(loglet(1), tail, 1, 4000);
        rig.settle();
        tail += 1;
        assert_eq!(rig.journal.counters().segments_prepared, prepared);
    }
    for _ in 0..2 * segment / 4000 {
        rig.append(loglet(1), tail, 1, 4000);
        rig.settle();
        tail += 1;
        assert_eq!(rig.journal.prepared_bytes(), always, "from here on each is replaced");
    }
    assert!(rig.journal.counters().segments_prepared > prepared);
    rig.check(loglet(1), 0, tail, 4000);
}

/// Writes until there is no room and none comes; returns the tail.
fn fill(rig: &mut Rig, mut tail: u64) -> u64 {
    loop {
        match rig.write(loglet(1), tail, 1, 4000) {
            Ok(write) => rig.flush(write),
            Err(full) => {
                assert_eq!(full.reason, FullReason::Space);
                rig.settle();
                if rig.write(loglet(1), tail, 1, 4000).is_err() {
                    return tail;
                }
                rig.settle();
            }
        }
        tail += 1;
    }
}

#[test]
fn a_full_disk_takes_cells_and_restarts_and_ends_by_itself() {
    let mut disk = Disk::new();
    disk.prepares_left = Some(6);
    let mut rig = Rig::with_disk(disk, limits(2), 512, 1);
    let tail = fill(&mut rig, 0);
    assert!(tail > 60 && rig.journal.counters().ran_out_of_prepared > 0);
    assert!(!rig.journal.accepts_records());
    for round in 0..6_u8 {
        // Several segments full of cells, in the two of the reserve.
        for n in 0..120_u8 {
            let write = rig.journal.write_cell(key(n % 3), &[round ^ n; 3000]).unwrap();
            rig.flush(write);
        }
        let before = rig.stored(loglet(1));
        rig = rig.restart(|_, _| false);
        assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
        let recovered = rig.journal.take_recovered();
        assert_eq!((recovered.damage.len(), recovered.cells.len()), (0, 3));
        assert_eq!(recovered.cells[2].1, [round ^ 119; 3000]);
        assert_eq!(rig.stored(loglet(1)), before);
    }
    assert_eq!(rig.disk.files.len(), 6 + 1, "six segments and the anchor");
    rig.check(loglet(1), 0, tail, 4000);
    rig.settle();
    assert!(rig.write(loglet(1), tail, 1, 4000).is_err());
    assert!(!rig.journal.accepts_records());
    rig.journal.trim(loglet(1), Offset(tail / 2));
    rig.settle();
    assert!(rig.journal.accepts_records());
    let more = fill(&mut rig, tail);
    assert!(more > tail + 10, "space came back: {tail} to {more}");
    rig.check(loglet(1), tail / 2, more, 4000);
}

/// One file in use and two in reserve: what is trimmed lies in the only segment there is.
#[test]
fn the_smallest_journal_has_space_again_when_all_of_it_is_trimmed() {
    let mut disk = Disk::new();
    disk.prepares_left = Some(3);
    let mut rig = Rig::with_disk(disk, limits(2), 512, 1);
    let mut tail = 0;
    for round in 0..5 {
        let more = fill(&mut rig, tail);
        assert!(more > tail + 5, "round {round}: {tail} to {more}");
        assert!(!rig.journal.accepts_records());
        rig.journal.trim(loglet(1), Offset(more - 1));
        rig.settle();
        assert!(!rig.journal.accepts_records(), "one record is still needed");
        rig.check(loglet(1), more - 1, more, 4000);
        rig.journal.trim(loglet(1), Offset(more));
        rig.settle();
        assert!(rig.journal.accepts_records());
        tail = more;
    }
    rig.append(loglet(1), tail, 1, 4000);
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
    rig.journal.take_recovered();
    rig.check(loglet(1), tail, tail + 1, 4000);
    assert_eq!(rig.disk.files.len(), 3 + 1, "three segments and the anchor");
}

#[test]
fn the_last_room_is_kept_for_repairs() {
    let mut disk = Disk::new();
    disk.prepares_left = Some(5);
    let mut rig = Rig::with_disk(disk, limits(2), 512, 1);
    let tail = fill(&mut rig, 0);
    assert!(!rig.journal.may_grow());
    let (mut builder, mut records) = (BatchBuilder::default(), Vec::new());
    builder.push(&[1; 4000]);
    builder.write_to(&mut records);
    for repaired in 0..2 {
        let batch = Batch::new(1, &records).unwrap();
        assert!(rig.journal.write_records(loglet(1), Offset(tail), batch).is_err());
        let write = rig.journal.write_repair(loglet(1), Offset(tail + repaired), batch).unwrap();
        rig.flush(write);
    }
    // The reserve is not touched, and a start that takes it leaves none for repairs.
    while rig.journal.write_repair(loglet(1), Offset(tail), Batch::new(1, &records).unwrap()).is_ok() {
        rig.settle();
    }
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
    let write = rig.journal.write_cell(key(1), &[7; 3000]).unwrap();
    rig.flush(write);
}

#[test]
fn preparing_goes_on_when_the_disk_has_room_again() {
    let mut disk = Disk::new();
    disk.prepares_left = Some(3);
    let mut rig = Rig::with_disk(disk, limits(2), 512, 1);
    assert!(rig.journal.accepts_records());
    let tail = fill(&mut rig, 0);
    assert!(!rig.journal.accepts_records());
    rig.disk.prepares_left = None;
    let mut refusals = 0;
    while rig.write(loglet(1), tail, 1, 4000).is_err() {
        rig.settle();
        refusals += 1;
        assert!(refusals < 10_000);
    }
    rig.settle();
    assert!(rig.journal.accepts_records());
    rig.check(loglet(1), 0, tail + 1, 4000);
}

#[test]
fn without_any_segment_the_journal_does_not_open() {
    let mut disk = Disk::new();
    disk.prepares_left = Some(0);
    let rig = Rig::with_disk(disk, limits(2), 512, 1);
    assert!(matches!(rig.journal.failure(), Some(Failure::NoSegment(_))));
}

#[test]
fn cells_have_a_bound_all_together() {
    let mut rig = Rig::new(limits(2));
    let mut kinds = 0;
    let full = loop {
        match rig.journal.write_cell(key(kinds), &[1; 2000]) {
            Ok(write) => rig.flush(write),
            Err(full) => break full,
        }
        kinds += 1;
    };
    assert_eq!(full.reason, FullReason::Space);
    assert!(kinds >= 8, "{kinds}");
    rig.journal.remove_cell(key(0)).unwrap();
    rig.settle();
    rig.journal.write_cell(key(kinds), &[1; 2000]).unwrap();
    rig.settle();
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.journal.take_recovered().cells.len(), usize::from(kinds));
}

#[test]
fn who_asks_for_room_first_leaves_it_for_later_values() {
    let mut rig = Rig::new(limits(2));
    let mut kinds = 0;
    while rig.journal.has_room_for_cells() {
        let write = rig.journal.write_cell(key(kinds), &[1; 1500]).unwrap();
        rig.flush(write);
        kinds += 1;
    }
    assert!(kinds >= 5, "{kinds}");
    for round in 0..40 {
        for kind in 0..kinds {
            let write = rig.journal.write_cell(key(kind), &[round; 1600]).unwrap();
            rig.flush(write);
        }
    }
}

#[test]
fn limits_that_contradict_are_a_failure_not_a_panic() {
    let rig = Rig::new(limits(2));
    let mut config = rig.journal.config.clone();
    config.limits.unit_depth = 3;
    assert!(matches!(Journal::open(config.clone()).failure(), Some(Failure::Limits(_))));
    config.limits.unit_depth = 2;
    config.block_bytes = 1000;
    assert!(matches!(Journal::open(config).failure(), Some(Failure::Block(1000))));
}

#[test]
fn limits_that_agree_with_each_other_open_a_journal() {
    let (mut taken, mut refused) = (0, 0);
    let mut rng = crate::base::Rng::with_seed(3);
    for _ in 0..3000 {
        let limits = crate::base::Limits {
            segment_bytes: (8 + rng.u64(..64)) * 8192,
            segments_max: 7 + rng.u32(..1500),
            unit_bytes_max: 4096 * rng.u32(2..8),
            ..limits(2)
        };
        if limits.check().is_err() {
            refused += 1;
            continue;
        }
        taken += 1;
        let rig = Rig::with_disk(Disk::new(), limits.clone(), if rng.bool() { 512 } else { 4096 }, 1);
        assert_eq!(rig.journal.state(), State::Open, "{limits:?}: {:?}", rig.journal.failure());
    }
    assert!(taken > 500 && refused > 500, "{taken}, {refused}");
}

#[test]
fn removing_a_loglet_frees_its_segments() {
    let mut rig = Rig::new(limits(2));
    for n in 0..100 {
        rig.append(loglet(1), n, 1, 4000);
    }
    let before = rig.journal.counters().segments_in_use;
    rig.journal.remove(loglet(1));
    rig.settle();
    assert!(before > 3 && rig.journal.counters().segments_in_use == 1);
    assert!(rig.stored(loglet(1)).is_empty());
    rig = rig.restart(|_, _| false);
    rig.journal.take_recovered();
    rig.append(loglet(1), 0, 1, 10);
    rig.check(loglet(1), 0, 1, 10);
}
