//! What is told agrees with what a journal that is opened on the same files does, and names the places that were damaged.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::{Class, FileRole, Finding, InspectConfig, JournalFile, JournalReport, Severity, Start, UnitState, inspect};
use crate::base::{CellKey, NodeId, Rng};
use crate::storage::testing::{Disk, Rig, limits, loglet};
use crate::storage::types::{Damage, Failure, State};

type Files = BTreeMap<PathBuf, Vec<u8>>;

const SEEDS: u64 = 60;

fn look(files: &Files, unreadable: Option<&(PathBuf, Range<u64>)>) -> JournalReport {
    let config = InspectConfig {
        node: Some(NodeId(5)),
        journal: 0,
        block_bytes: 512,
        unit_rows_max: usize::MAX,
        unit_rows_of: None,
    };
    let file = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        let mut bytes = bytes.clone();
        let bad: Vec<_> = unreadable.filter(|(at, _)| at == path).map(|(_, range)| range.clone()).into_iter().collect();
        for range in &bad {
            bytes[range.start as usize..range.end as usize].fill(0);
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        JournalFile { name, bytes: Cow::Owned(bytes), unreadable: bad }
    };
    inspect(&config, &files.iter().map(file).collect::<Vec<_>>())
}

/// A journal that has lived a while: several loglets and lives, cells, segments rolled over; at the end idle, or cut off.
fn lived(rng: &mut Rng, cut_off: bool) -> Files {
    let mut rig = Rig::new(limits([1, 2, 4][rng.usize(..3)]));
    let mut next = [0; 3];
    for _ in 0..rng.u64(1..4) {
        for _ in 0..rng.u64(20..110) {
            let log = rng.usize(..3);
            let (count, bytes) = (rng.u64(1..6), rng.usize(200..2500));
            rig.append(loglet(log as u64), next[log], count, bytes.min(4000 / count as usize));
            next[log] += count;
            if rng.u32(..4) == 0 {
                let key = CellKey { loglet: loglet(log as u64), kind: rng.u8(1..3) };
                let write = rig.journal.write_cell(key, &next[log].to_le_bytes()).expect("cells fit");
                rig.flush(write);
            }
        }
        if rng.bool() {
            rig.settle();
        }
        rig = rig.restart(|_, _| true);
    }
    rig.settle();
    if cut_off {
        for (log, next) in next.iter().enumerate() {
            // As much as is taken; none of it is waited for.
            let _ = rig.write(loglet(log as u64), *next, 3, 900);
            rig.poll();
        }
        rig.disk.crash(&mut |_, _| rng.bool());
    }
    rig.disk.files
}

/// What a start calls damage, as the report has it.
fn as_told(finding: &Finding) -> (u64, u64, Vec<(u64, u64)>, Vec<CellKey>, bool) {
    let records = finding.records.iter().map(|range| (range.first.0, range.end.0)).collect();
    let survived = matches!(finding.class, Class::RecordsDamaged | Class::CellsLost);
    (finding.segment.unwrap_or(0), finding.position.unwrap_or(0), records, finding.cells.clone(), survived)
}

fn as_found(damage: &Damage) -> (u64, u64, Vec<(u64, u64)>, Vec<CellKey>, bool) {
    let holes = damage.holes.iter().map(|(_, first, end)| (first.0, end.0)).collect();
    (damage.segment, damage.position, holes, damage.cells_lost.clone(), damage.table_survived)
}

/// Opens a journal on the files and compares.
fn agree(files: &Files, unreadable: Option<(PathBuf, Range<u64>)>, what: &str) -> JournalReport {
    let report = look(files, unreadable.as_ref());
    let mut disk = Disk::new();
    disk.files = files.clone();
    disk.unreadable = unreadable;
    let mut rig = Rig::with_disk(disk, limits(2), 512, 99);
    if rig.journal.state() == State::Failed {
        match (rig.journal.failure(), &report.start) {
            (
                Some(Failure::Foreign { .. } | Failure::Version { .. } | Failure::Twice { .. } | Failure::Anchor(_)),
                Start::Refuses { .. },
            ) => {}
            // Whether there is room for a life is no matter of what the files hold.
            (Some(Failure::NoSegment(_) | Failure::NoSegmentLeft(_) | Failure::Head { .. }), _) => {}
            (failure, start) => panic!("{what}: {failure:?} but {start:?}"),
        }
        return report;
    }
    let former = rig.journal.former.sequence.0;
    let recovered = rig.journal.take_recovered();
    assert_eq!(report.start, Start::Accepts { end_sequence: former, next_life: recovered.life }, "{what}");
    assert_eq!(report.cells, recovered.cells, "{what}");
    let damage = [Class::RecordsDamaged, Class::CellsLost, Class::TableLost, Class::SegmentMissing, Class::AnchorLost];
    let mut told: Vec<_> =
        report.findings.iter().filter(|finding| damage.contains(&finding.class)).map(as_told).collect();
    let mut found: Vec<_> = recovered.damage.iter().map(as_found).collect();
    told.sort();
    found.sort();
    assert_eq!(told, found, "{what}");
    let mut ids: Vec<_> = report.loglets.iter().map(|loglet| loglet.id).collect();
    ids.extend(report.cells.iter().map(|(key, _)| key.loglet));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, recovered.loglets, "{what}");
    for loglet in &report.loglets {
        assert!(rig.journal.stored(loglet.id).eq(loglet.stored.iter().copied()), "{what}");
    }
    report
}

#[test]
fn a_crash_alone_is_never_called_damage() {
    let mut torn = 0;
    for seed in 0..SEEDS {
        let files = lived(&mut Rng::with_seed(seed), true);
        let report = agree(&files, None, &format!("seed {seed}"));
        torn += usize::from(report.findings.iter().any(|finding| finding.class == Class::TornTail));
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        assert!(worst.is_none_or(|worst| worst == Severity::Notice), "seed {seed}: {:?}", report.findings);
    }
    assert!(torn > 0, "some of the crashes have torn something");
}

#[test]
fn an_idle_journal_is_intact_to_the_last_byte_that_counts() {
    for seed in 0..SEEDS {
        let report = agree(&lived(&mut Rng::with_seed(seed), false), None, &format!("seed {seed}"));
        let bad: Vec<_> = report.findings.iter().filter(|finding| finding.class != Class::TornTail).collect();
        assert!(bad.is_empty(), "seed {seed}: {bad:?}");
        let live = report.segments.iter().filter(|segment| segment.role == FileRole::Live);
        let rows = live.flat_map(|segment| &segment.unit_rows);
        let accepted = rows.filter(|unit| unit.state == UnitState::Accepted).count();
        assert_eq!(accepted as u64, report.units);
    }
}

fn hurt(files: &mut Files, rng: &mut Rng) -> (String, Option<(PathBuf, Range<u64>)>) {
    let paths: Vec<PathBuf> = files.keys().cloned().collect();
    let path = paths[rng.usize(..paths.len())].clone();
    let other = paths[rng.usize(..paths.len())].clone();
    let kind = rng.u32(..8);
    let bytes = files.get_mut(&path).unwrap();
    let sectors = bytes.len() / 512;
    if sectors == 0 {
        return ("nothing".to_owned(), None);
    }
    // Near the beginning, where there is more to hit.
    let sector = rng.usize(..sectors).min(rng.usize(..sectors));
    let end = sectors.min(sector + rng.usize(1..9));
    let mut unreadable = None;
    match kind {
        0 | 1 => bytes[sector * 512 + rng.usize(..512)] ^= 1 << rng.u32(..8),
        2 => bytes[sector * 512..end * 512].fill(0),
        3 => bytes[sector * 512..end * 512].iter_mut().for_each(|byte| *byte = rng.u8(..)),
        4 => bytes.truncate(sector * 512),
        5 => drop(files.remove(&path)),
        6 => {
            let copy = files[&other].clone();
            let old = files.insert(path.clone(), copy).unwrap();
            if rng.bool() {
                files.insert(other.clone(), old);
            }
        }
        _ => unreadable = Some((path.clone(), sector as u64 * 512..end as u64 * 512)),
    }
    (format!("kind {kind} in {path:?} at sector {sector} to {end}, other {other:?}"), unreadable)
}

#[test]
fn whatever_is_damaged_inspection_and_start_agree() {
    for seed in 0..6 * SEEDS {
        let mut rng = Rng::with_seed(seed);
        let cut_off = rng.bool();
        let mut files = lived(&mut rng, cut_off);
        let (mut whats, mut unreadable) = (format!("seed {seed}:"), None);
        for _ in 0..rng.u32(1..5) {
            let (what, bad) = hurt(&mut files, &mut rng);
            whats.push_str(&what);
            unreadable = bad.or(unreadable);
        }
        let in_file = |(path, range): &(PathBuf, Range<u64>)| {
            files.get(path).is_some_and(|bytes| range.end <= bytes.len() as u64)
        };
        let unreadable = unreadable.filter(in_file);
        agree(&files, unreadable, &whats);
    }
}

#[test]
fn arbitrary_bytes_are_looked_at_without_harm() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let mut files = Files::new();
        for name in 0..rng.u32(..5) {
            let len = rng.usize(..20_000);
            let mut bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
            if len > 8 && rng.bool() {
                bytes[..8].copy_from_slice(b"NAXOSJNL");
            }
            files.insert(format!("/journal-0/{name:016x}.seg").into(), bytes);
        }
        let report = look(&files, None);
        assert!(matches!(report.start, Start::Accepts { end_sequence: 0, .. }), "seed {seed}");
        assert_eq!((report.units, report.loglets.len()), (0, 0));
    }
}

/// One flipped bit in each part of each unit that is needed and claimed.
#[test]
fn a_flipped_bit_in_a_unit_is_named_with_file_position_and_sequence() {
    let files = lived(&mut Rng::with_seed(3), false);
    let report = look(&files, None);
    let Start::Accepts { end_sequence, .. } = report.start else { panic!("{:?}", report.start) };
    let mut tried = 0;
    for segment in report.segments.iter().filter(|segment| segment.role == FileRole::Live) {
        let path = PathBuf::from("/journal-0").join(&segment.file);
        for unit in
            segment.unit_rows.iter().filter(|unit| unit.sequence < end_sequence && unit.state == UnitState::Accepted)
        {
            // In the header; in the payload or, of a unit without, the table.
            for at in [50, 130] {
                if at == 130 && unit.entries == 0 {
                    continue;
                }
                let mut hurt = files.clone();
                hurt.get_mut(&path).unwrap()[(unit.position + at) as usize] ^= 4;
                let told = agree(&hurt, None, &format!("byte {at} of {unit:?}"));
                let place = (Some(unit.position), Some(unit.sequence));
                let named = told.findings.iter().any(|finding| {
                    finding.severity == Severity::Damage
                        && finding.file.as_ref() == Some(&segment.file)
                        && (finding.position, finding.sequence) == place
                });
                // With the first header of a file gone, nothing in the file tells the sequence.
                let first = told.findings.iter().any(|finding| {
                    finding.severity == Severity::Damage
                        && finding.file.as_ref() == Some(&segment.file)
                        && unit.position == 0
                });
                assert!(named || first, "byte {at} of {unit:?}: {:?}", told.findings);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried} units to hurt");
}

#[test]
fn a_damaged_index_block_is_named_and_nothing_is_lost() {
    let files = lived(&mut Rng::with_seed(3), false);
    let before = look(&files, None);
    let mut tried = 0;
    for segment in before
        .segments
        .iter()
        .filter(|segment| segment.role == FileRole::Live && segment.index == super::IndexState::Intact)
    {
        let path = PathBuf::from("/journal-0").join(&segment.file);
        let region = segment.bytes - crate::storage::format::index_region(segment.bytes, 512);
        for (at, severity) in [(20, Severity::Damage), (300, Severity::Notice)] {
            let mut hurt = files.clone();
            hurt.get_mut(&path).unwrap()[(region + at) as usize] ^= 1;
            let told = agree(&hurt, None, &segment.file);
            let is_it = |finding: &&Finding| finding.class == Class::IndexDamaged;
            let finding = told.findings.iter().find(is_it).expect("it is named");
            assert_eq!((finding.position, finding.severity), (Some(region), severity));
            assert_eq!(told.loglets, before.loglets);
            tried += 1;
        }
    }
    assert!(tried > 0, "there were index blocks to hurt");
}

#[test]
fn a_removed_segment_is_missed_by_number() {
    let mut files = lived(&mut Rng::with_seed(3), false);
    let before = look(&files, None);
    let live = before.segments.iter().filter(|segment| segment.role == FileRole::Live);
    let oldest = live.min_by_key(|segment| segment.segment).unwrap();
    files.remove(&PathBuf::from("/journal-0").join(&oldest.file));
    let told = agree(&files, None, "the oldest removed");
    let missing = told.findings.iter().find(|finding| finding.class == Class::SegmentMissing).unwrap();
    assert_eq!((missing.segment, missing.position), (oldest.segment, None));
}

#[test]
fn files_of_another_node_are_refused_as_a_start_does() {
    let files = lived(&mut Rng::with_seed(1), false);
    let bytes = files.values().find(|bytes| bytes.starts_with(b"NAXOSJNL")).unwrap();
    let file = JournalFile { name: "a.seg".to_owned(), bytes: Cow::Borrowed(bytes), unreadable: Vec::new() };
    let config =
        InspectConfig { node: Some(NodeId(6)), journal: 0, block_bytes: 512, unit_rows_max: 0, unit_rows_of: None };
    let report = inspect(&config, &[file]);
    assert!(matches!(&report.start, Start::Refuses { reason } if reason.contains("belongs to node")));
    assert_eq!(report.findings[0].severity, Severity::Fatal);
}
