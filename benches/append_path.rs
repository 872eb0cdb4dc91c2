//! The pieces of an append's path, each alone and without I/O. Throughput is in records: batches of records of 100 bytes, as a
//! busy client makes them, and single ones, as a quiet one does.
//!
//! `cargo bench --bench append_path`; without `--bench` each piece runs once, as a test.

#[path = "append_path/cores.rs"]
mod cores;
#[path = "append_path/unit.rs"]
mod unit;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use naxos::base::checksum::crc32c;
use naxos::base::{Limits, LogletId};
use naxos::wire::{Batch, BatchBuilder, FrameHeader, HEADER_BYTES, Message};

const RECORD_BYTES: usize = 100;
const LOGLET: LogletId = LogletId { log: 1, version: 2, nonce: 3 };
/// Records in a batch: one alone, some, and as many as `batch_bytes_max` holds.
const COUNTS: [u32; 3] = [1, 64, (128 << 10) / (RECORD_BYTES as u32 + Limits::RECORD_OVERHEAD)];

/// A batch of `count` records.
fn batch_bytes(count: u32) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    (0..count).for_each(|record| builder.push(&[record as u8; RECORD_BYTES]));
    let mut bytes = Vec::new();
    builder.write_to(&mut bytes);
    bytes
}

/// Runs `piece` for each size of a batch; it is given the batch and makes the function to measure.
fn piece<F: FnMut()>(criterion: &mut Criterion, name: &str, mut piece: impl FnMut(u32, Vec<u8>) -> F) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for count in COUNTS {
        group.throughput(Throughput::Elements(count.into()));
        let mut function = piece(count, batch_bytes(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| bencher.iter(&mut function));
    }
    group.finish();
}

fn wire(criterion: &mut Criterion) {
    piece(criterion, "client: build a batch", |count, _| {
        let (mut builder, mut out) = (BatchBuilder::default(), Vec::new());
        move || {
            let record = black_box([7; RECORD_BYTES]);
            (0..count).for_each(|_| builder.push(&record));
            out.clear();
            builder.write_to(&mut out);
            builder.clear();
            black_box(&out);
        }
    });
    piece(criterion, "wire: encode with checksum", |count, bytes| {
        let mut out = Vec::new();
        move || {
            let batch = Batch::new(count, &bytes).expect("well formed");
            out.clear();
            Message::Append { request: 1, loglet: LOGLET, batch }.encode(&mut out);
            black_box(&out);
        }
    });
    piece(criterion, "wire: encode, checksum known", |count, bytes| {
        let (mut out, checksum) = (Vec::new(), crc32c(&bytes));
        move || {
            let batch = Batch::new(count, &bytes).expect("well formed");
            out.clear();
            Message::Append { request: 1, loglet: LOGLET, batch }.encode_with_checksum(checksum, &mut out);
            black_box(&out);
        }
    });
    piece(criterion, "wire: decode", |count, bytes| {
        let mut frame = Vec::new();
        let batch = Batch::new(count, &bytes).expect("well formed");
        Message::Append { request: 1, loglet: LOGLET, batch }.encode(&mut frame);
        move || {
            let header = FrameHeader::decode(&frame, u32::MAX).expect("a frame");
            black_box(Message::decode(&header, &frame[HEADER_BYTES..]).expect("a message"));
        }
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    wire(&mut criterion);
    piece(&mut criterion, "sequencer: append, store, stored", |count, bytes| {
        let mut sequencer = cores::Sequencing::new();
        move || sequencer.cycle(count, &bytes)
    });
    piece(&mut criterion, "log server: store, durable", |count, bytes| {
        let mut server = cores::Storing::new();
        move || server.cycle(count, &bytes)
    });
    piece(&mut criterion, "journal: unit", |count, bytes| {
        let mut journal = unit::Writing::new();
        move || journal.cycle(count, &bytes)
    });
    criterion.final_summary();
}
