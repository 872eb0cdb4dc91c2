//! Losses that only the anchor tells of.

use std::path::PathBuf;

use crate::base::{CellKey, Offset};
use crate::io::op::{Completion, Op, Outcome};
use crate::storage::anchor::SLOT_BYTES;
use crate::storage::format::{FLAG_FIRST, FLAG_INDEX, Header};
use crate::storage::testing::{Rig, limits, loglet};
use crate::storage::{Damage, DamageCause, Failure, State};

fn anchor() -> PathBuf {
    PathBuf::from("/journal-0/anchor")
}

/// A journal of several segments, with the newest one's first unit.
fn grown() -> (Rig, PathBuf, Header) {
    let mut rig = Rig::new(limits(2));
    for n in 0..70 {
        rig.append(loglet(1), n, 1, 4000);
    }
    rig.settle();
    let newest = rig.disk.units().into_iter().rfind(|(_, header)| header.has(FLAG_FIRST)).unwrap();
    assert!(newest.1.segment.get() >= 3);
    (rig, newest.0, newest.1)
}

/// Starts twice: what is lost is named at both.
fn damage_of(mut rig: Rig) -> Vec<Damage> {
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.journal.state(), State::Open, "{:?}", rig.journal.failure());
    let first = rig.journal.take_recovered().damage;
    rig.settle();
    rig = rig.restart(|_, _| false);
    let second = rig.journal.take_recovered().damage;
    for damage in first.iter().filter(|damage| !damage.table_survived).take(1) {
        let same = |other: &Damage| !other.table_survived && other.segment == damage.segment;
        assert!(second.iter().any(same), "forgotten: {damage:?}, then {second:?}");
    }
    first
}

fn has(damage: &[Damage], segment: u64, cause: DamageCause) -> bool {
    damage.iter().any(|damage| !damage.table_survived && (damage.segment, damage.cause) == (segment, cause))
}

#[test]
fn a_newest_segment_that_is_removed_is_damage() {
    let (mut rig, path, header) = grown();
    rig.disk.files.remove(&path);
    let damage = damage_of(rig);
    assert!(has(&damage, header.segment.get(), DamageCause::SegmentMissing), "{damage:?}");
}

#[test]
fn all_segments_removed_is_damage_not_a_new_journal() {
    let (mut rig, _, header) = grown();
    rig.disk.files.retain(|path, _| *path == anchor());
    let damage = damage_of(rig);
    assert!(has(&damage, header.segment.get(), DamageCause::SegmentMissing), "{damage:?}");
}

#[test]
fn a_newest_segment_that_is_cut_off_is_damage_wherever_it_ends() {
    for len in [0, 100, 512, 8192, 20_000, (128 << 10) - 1] {
        let (mut rig, path, header) = grown();
        rig.disk.files.get_mut(&path).unwrap().truncate(len);
        let damage = damage_of(rig);
        let cause = if len < 512 { DamageCause::SegmentMissing } else { DamageCause::SegmentShort };
        assert!(has(&damage, header.segment.get(), cause), "{len}: {damage:?}");
    }
}

#[test]
fn a_segment_that_begins_with_zeros_is_searched_only_when_one_is_missing() {
    for newest in [true, false] {
        let (mut rig, mut path, mut header) = grown();
        if !newest {
            (path, header) = rig.disk.units().into_iter().find(|(_, header)| header.has(FLAG_FIRST)).unwrap();
        }
        let index = rig.disk.units().into_iter().find(|(at, header)| *at == path && header.has(FLAG_INDEX));
        let end = index.map_or(0, |(_, header)| header.position.get());
        rig.disk.files.get_mut(&path).unwrap()[..512].fill(0);
        rig = rig.restart(|_, _| false);
        let damage = rig.journal.take_recovered().damage;
        assert!(!damage.is_empty() || !newest && end > 0, "{damage:?}");
        // Where the unit should have been: behind the last one of the segment before.
        let places = header.segment.get() - 1..=header.segment.get();
        assert!(damage.iter().all(|damage| places.contains(&damage.segment)), "{damage:?}");
        // What follows the first unit is found all the same.
        assert_eq!(rig.stored(loglet(1)).last().unwrap().1, 70);
        rig.check(loglet(1), 60, 70, 4000);
    }
}

#[test]
fn zeros_up_to_the_end_after_a_clean_stop_are_damage_not_tearing() {
    let (mut rig, path, header) = grown();
    rig.journal.close();
    rig.settle();
    let units = rig.disk.units();
    let last = units.iter().rfind(|(_, unit)| unit.segment == header.segment && unit.entries.get() > 0).unwrap();
    let from = last.1.position.get() as usize;
    rig.disk.files.get_mut(&path).unwrap()[from..].fill(0);
    let damage = damage_of(rig);
    assert!(has(&damage, header.segment.get(), DamageCause::Unit), "{damage:?}");
}

#[test]
fn a_lost_anchor_is_damage_and_one_rotten_slot_is_not() {
    for (slots, lost) in [(0..1, false), (1..2, false), (0..2, true)] {
        let (mut rig, ..) = grown();
        for slot in slots {
            rig.disk.flip(&anchor(), slot * SLOT_BYTES + 20);
        }
        assert_eq!(has(&damage_of(rig), 0, DamageCause::Anchor), lost);
    }
    for len in [None, Some(0), Some(100_000)] {
        let (mut rig, ..) = grown();
        match len {
            Some(len) => rig.disk.files.get_mut(&anchor()).unwrap().truncate(len),
            None => drop(rig.disk.files.remove(&anchor())),
        }
        assert!(has(&damage_of(rig), 0, DamageCause::Anchor), "{len:?}");
    }
}

#[test]
fn a_copy_of_a_segment_is_refused_by_name() {
    let (mut rig, path, _) = grown();
    let copy = PathBuf::from("/journal-0/0000000000000001.seg");
    let bytes = rig.disk.files[&path].clone();
    rig.disk.files.insert(copy.clone(), bytes);
    rig = rig.restart(|_, _| false);
    assert_eq!(rig.journal.state(), State::Failed);
    match rig.journal.failure() {
        Some(Failure::Twice { first, second }) => assert_eq!((first, second), (&copy, &path)),
        failure => panic!("{failure:?}"),
    }
}

#[test]
fn nothing_behind_a_head_counts_before_the_anchor_names_its_segment() {
    let mut rig = Rig::new(limits(4));
    rig.settle();
    let heads = rig.journal.counters().head_units;
    let mut last = None;
    for n in 0.. {
        last = Some(rig.write(loglet(1), n, 1, 4000).unwrap());
        rig.poll();
        if rig.journal.counters().head_units > heads {
            break;
        }
        while rig.disk.in_flight.len() > 1 {
            rig.complete(0);
        }
    }
    let is_anchor = |op: &Op| matches!(op, Op::Write { buf, .. } if buf.starts_with(b"NAXOSANC"));
    // Everything is done but the anchor.
    loop {
        rig.poll();
        let Some(at) = rig.disk.in_flight.iter().position(|(_, op)| !is_anchor(op)) else { break };
        rig.complete(at);
    }
    assert!(rig.disk.in_flight.iter().all(|(_, op)| is_anchor(op)) && rig.disk.in_flight.len() == 1);
    assert!(rig.journal.durable() < last.unwrap(), "acknowledged although its segment could vanish unnoticed");
    rig.complete(0);
    assert_eq!(rig.journal.durable(), last.unwrap());
}

#[test]
fn a_failed_write_of_the_anchor_poisons() {
    let mut rig = Rig::new(limits(2));
    rig.settle();
    let heads = rig.journal.counters().head_units;
    let mut n = 0;
    loop {
        let anchor = rig
            .disk
            .in_flight
            .iter()
            .position(|(_, op)| matches!(op, Op::Write { buf, .. } if buf.starts_with(b"NAXOSANC")));
        if let Some(at) = anchor {
            let (token, Op::Write { buf, .. }) = rig.disk.in_flight.remove(at) else { unreachable!() };
            let durable = rig.journal.durable();
            let result = Err(std::io::ErrorKind::InvalidData.into());
            rig.journal.handle(Completion { token, outcome: Outcome::Written { buf, result } });
            assert!(matches!(rig.journal.failure(), Some(Failure::Anchor(_))));
            while !rig.disk.in_flight.is_empty() {
                rig.complete(0);
            }
            assert_eq!(rig.journal.durable(), durable);
            assert!(rig.journal.counters().head_units > heads);
            return;
        }
        if rig.write(loglet(1), n, 1, 4000).is_ok() {
            n += 1;
        }
        rig.poll();
        let other = rig
            .disk
            .in_flight
            .iter()
            .position(|(_, op)| !matches!(op, Op::Write { buf, .. } if buf.starts_with(b"NAXOSANC")));
        if let Some(at) = other {
            rig.complete(at);
        }
    }
}

#[test]
fn a_loss_is_on_record_before_the_head_that_would_hide_it() {
    let (mut rig, path, header) = grown();
    rig.journal.write_cell(CellKey { loglet: loglet(1), kind: 1 }, b"seal").unwrap();
    rig.settle();
    rig.disk.files.remove(&path);
    rig.disk.crash(&mut |_, _| false);
    // Starts that die after ever more of their operations.
    for steps in 0..80 {
        let mut disk = std::mem::take(&mut rig.disk);
        let config = crate::storage::JournalConfig { seed: 1000 + steps, ..rig.journal.config.clone() };
        let mut journal = crate::storage::Journal::open(config);
        for _ in 0..steps {
            while let Some(op) = journal.poll_op() {
                disk.in_flight.push(op);
            }
            if disk.in_flight.is_empty() {
                break;
            }
            journal.handle(disk.complete(0));
        }
        if journal.state() == State::Open {
            assert!(
                has(&journal.take_recovered().damage, header.segment.get(), DamageCause::SegmentMissing),
                "{steps}"
            );
            assert_eq!(journal.stored(loglet(1)).next().map(|range| range.0), Some(Offset(0)));
        }
        disk.crash(&mut |_, _| steps % 2 == 0);
        rig.disk = disk;
    }
}
