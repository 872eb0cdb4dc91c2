//! How long a start takes: a full journal, a full last segment, one damaged index block; then after many restarts.
//!
//! `cargo bench --bench journal_open` prints one JSON line. Without `--bench` it is a test on a tiny journal.
//! The journal lies in `$NAXOS_BENCH_DIR`, or in the build directory; both should be on a real disk.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use naxos::base::{Limits, Offset};
use naxos::loadgen::machine::Machine;
use serde_json::{Value, json};
use support::rig::{LOGLET, Opened, Rig, batch};
use support::undo::{Snapshot, damage_an_index_block};
use support::{commit, floor, is_real};

/// What is built and how often it is opened.
struct Plan {
    limits: Limits,
    segments: u64,
    opens: usize,
    restarts: usize,
}

fn plan() -> Plan {
    let limits = Limits::default();
    if is_real() {
        let segments = (4 << 30) / limits.segment_bytes;
        return Plan { limits, segments, opens: 5, restarts: 50 };
    }
    Plan { limits: Limits { segment_bytes: 8 << 20, ..limits }, segments: 4, opens: 2, restarts: 3 }
}

/// Fills a new journal up to the end of its last segment. Returns how many records it holds.
fn fill(directory: &Path, plan: &Plan) -> u64 {
    let (mut rig, _) = Rig::open(directory, &plan.limits);
    let batch = batch(&plan.limits);
    let (mut next, mut write) = (0, Default::default());
    while rig.journal.counters().segments_in_use < plan.segments - 1 {
        write = rig.write(next, &batch);
        next += u64::from(batch.0);
    }
    // One at a time, to count how many a segment takes.
    let mut units_of = |rig: &mut Rig, segment: u64, most: u64| {
        let mut units = 0;
        while rig.journal.counters().segments_in_use == segment && units < most {
            write = rig.write(next, &batch);
            rig.flush(write);
            next += u64::from(batch.0);
            units += 1;
        }
        units
    };
    units_of(&mut rig, plan.segments - 2, u64::MAX);
    let full = units_of(&mut rig, plan.segments - 1, u64::MAX);
    units_of(&mut rig, plan.segments, full - 1);
    rig.flush(write);
    assert_eq!(
        rig.journal.counters().segments_in_use,
        plan.segments,
        "the last segment is full, and no further one begun"
    );
    rig.close();
    next
}

fn milliseconds(opened: &Opened) -> f64 {
    (opened.took.as_secs_f64() * 1e5).round() / 100.0
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Opens, checks that nothing is lost, and gives the opened journal.
fn open(directory: &Path, limits: &Limits, records: u64) -> (Rig, Opened) {
    let (rig, opened) = Rig::open(directory, limits);
    assert_eq!(opened.recovered.damage, [], "a damaged index block loses nothing");
    assert_eq!(rig.journal.stored(LOGLET).collect::<Vec<_>>(), [(Offset(0), Offset(records))]);
    (rig, opened)
}

/// Restarts that each add a little, as a crashing or updated node does.
fn restarts(directory: &Path, plan: &Plan, mut records: u64) -> Value {
    let batch = batch(&plan.limits);
    let (mut open_ms, mut read_bytes) = (Vec::new(), 0);
    for _ in 0..=plan.restarts {
        let (mut rig, opened) = open(directory, &plan.limits, records);
        open_ms.push(milliseconds(&opened));
        read_bytes = opened.read_bytes;
        let write = rig.write(records, &batch);
        rig.flush(write);
        records += u64::from(batch.0);
        rig.close();
    }
    json!({ "count": plan.restarts, "open_ms": open_ms, "last_open_ms": open_ms.last(), "last_read_bytes": read_bytes })
}

fn main() -> std::io::Result<()> {
    let plan = plan();
    let place =
        std::env::var_os("NAXOS_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&place)?;
    let scratch = tempfile::Builder::new().prefix("journal-open-").tempdir_in(&place)?;
    let directory = scratch.path().join("journal-0");
    fs::create_dir(&directory)?;

    let records = fill(&directory, &plan);
    assert!(damage_an_index_block(&directory)?, "there are closed segments");
    let snapshot = Snapshot::take(&directory)?;
    let (mut open_ms, mut read_bytes) = (Vec::new(), 0);
    for _ in 0..plan.opens {
        let (rig, opened) = open(&directory, &plan.limits, records);
        open_ms.push(milliseconds(&opened));
        read_bytes = opened.read_bytes;
        drop(rig);
        snapshot.restore(&directory)?;
    }
    let floor = floor::read_bytes_per_s(&directory, 2 << 30)?;
    let median_ms = median(&open_ms);
    let most = open_ms.iter().copied().fold(0.0, f64::max);
    let least = open_ms.iter().copied().fold(f64::INFINITY, f64::min);
    let restarts = restarts(&directory, &plan, records);
    println!(
        "{}",
        json!({
            "schema": 1,
            "bench": "journal_open",
            "journal_bytes": plan.segments * plan.limits.segment_bytes,
            "segments": plan.segments,
            "records": records,
            "damaged_index_blocks": 1,
            "open_ms": open_ms,
            "median_ms": median_ms,
            "spread": ((most - least) / median_ms * 1e3).round() / 1e3,
            "read_bytes": read_bytes,
            "read_bytes_per_s": (read_bytes as f64 / median_ms * 1e3).round(),
            "floor_read_bytes_per_s": floor.round(),
            "restarts": restarts,
            "machine": Machine::describe(scratch.path()),
            "commit": commit(),
        })
    );
    scratch.close()
}
