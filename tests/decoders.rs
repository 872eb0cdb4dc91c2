//! Whatever bytes come in: decoders refuse, and never panic or hold more than their limit.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use naxos::base::{LogletId, Offset};
use naxos::net::{Flow, FrameReader};
use naxos::wire::{Batch, BatchBuilder, FrameHeader, HEADER_BYTES, Message};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: u32 = 4096;

thread_local! {
    /// Bytes of the largest allocation of this thread since it was set to zero.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // A thread that ends has nothing left to measure.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

struct Measuring;

// SAFETY: every call goes to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator that measures is one")]
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// A frame's header over any fields, with checksums that hold: what a hostile peer can make.
fn sealed_header(mut bytes: Vec<u8>, opcode: u8, body: &[u8]) -> Vec<u8> {
    bytes.resize(HEADER_BYTES, 0);
    let template = {
        let mut frame = Vec::new();
        Message::Status { request: 0 }.encode(&mut frame);
        frame
    };
    bytes[..3].copy_from_slice(&template[..3]);
    bytes[3] = opcode;
    bytes[8..12].copy_from_slice(&(body.len() as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&naxos::base::checksum::crc32c(body).to_le_bytes());
    let checksum = naxos::base::checksum::crc32c(&bytes[..HEADER_BYTES - 4]);
    bytes[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// A batch's count and bytes.
fn batch() -> impl Strategy<Value = (u32, Vec<u8>)> {
    vec(vec(any::<u8>(), 0..60), 1..8).prop_map(|records| {
        let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
        records.iter().for_each(|record| builder.push(record));
        builder.write_to(&mut bytes);
        (records.len() as u32, bytes)
    })
}

/// A stream of whole frames, of several kinds, and how many they are.
fn stream() -> impl Strategy<Value = (usize, Vec<u8>)> {
    vec((0..5u8, any::<u64>(), batch()), 0..8).prop_map(|frames| {
        let mut out = Vec::new();
        let loglet = LogletId { log: 1, version: 2, nonce: 3 };
        for (kind, request, (count, bytes)) in &frames {
            let (request, first) = (*request, Offset(*request >> 2));
            let batch = Batch::new(*count, bytes).expect("well formed");
            match kind {
                0 => Message::Append { request, loglet, batch },
                1 => Message::Store { loglet, first, known_tail: first, batch },
                2 => Message::Records { request, loglet, first, known_tail: first, batch },
                3 => Message::StatusReport { request, left: first.0, json: bytes },
                _ => Message::Seal { request, loglet },
            }
            .encode(&mut out);
        }
        (frames.len(), out)
    })
}

/// Cuts at these places, in any order and as often as they say.
fn chunks<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// Reads a stream to its end or its first fault; gives how many messages it had and whether it was sound.
fn read(bytes: &[u8], cuts: &[usize]) -> (usize, bool) {
    let mut reader = FrameReader::new(LIMIT);
    let mut messages = 0;
    let chunks = chunks(bytes, cuts);
    LARGEST.set(0);
    let sound = chunks.into_iter().all(|chunk| {
        let result = reader.feed(chunk, |header, _| {
            assert!(header.body_bytes.get() <= LIMIT, "a body beyond the limit is never handed out");
            messages += 1;
            Flow::Continue
        });
        result.is_ok()
    });
    // A vector that grows doubles at most; beyond that no header may make a reader hold memory.
    assert!(LARGEST.get() <= 2 * (LIMIT as usize + HEADER_BYTES), "{} bytes at once", LARGEST.get());
    (messages, sound)
}

/// Goes over everything that a batch offers.
fn use_up(batch: Batch<'_>) {
    let payload: usize = batch.records().map(|(payload, _)| payload.len()).sum();
    assert_eq!(payload + 8 * batch.count() as usize, batch.len(), "a batch is its records and their table");
    assert_eq!(batch.values().filter(Option::is_none).count(), batch.no_ops() as usize);
    let _ = batch.verify();
    let mut out = Vec::new();
    let copied = batch.copy_range(batch.count() / 2, u32::MAX, 100, &mut out);
    assert!(Batch::new(copied, &out).is_ok(), "a part of a batch is a batch");
    assert!(out.len() <= batch.len());
}

proptest! {
    #[test]
    fn any_bytes_make_a_header_or_an_error(bytes in vec(any::<u8>(), HEADER_BYTES..2 * HEADER_BYTES)) {
        let _ = FrameHeader::decode(&bytes, LIMIT);
    }

    #[test]
    fn a_header_with_sound_checksums_never_exceeds_the_limit(
        bytes in vec(any::<u8>(), HEADER_BYTES),
        opcode in any::<u8>(),
        body in vec(any::<u8>(), 0..200),
        limit in 0..200u32,
    ) {
        let header = sealed_header(bytes, opcode, &body);
        if let Ok(header) = FrameHeader::decode(&header, limit) {
            prop_assert!(header.body_bytes.get() <= limit);
        }
    }

    #[test]
    fn any_body_under_any_header_makes_a_message_or_an_error(
        bytes in vec(any::<u8>(), HEADER_BYTES),
        opcode in 0..72u8,
        body in prop_oneof![vec(any::<u8>(), 0..200), batch().prop_map(|(_, bytes)| bytes)],
    ) {
        let header = sealed_header(bytes, opcode, &body);
        if let Ok(header) = FrameHeader::decode(&header, LIMIT)
            && let Ok(message) = Message::decode(&header, &body)
        {
            if let Message::Append { batch, .. } | Message::Store { batch, .. } | Message::Records { batch, .. } = message {
                use_up(batch);
            }
            // What was understood can be said again.
            message.encode(&mut Vec::new());
        }
    }

    #[test]
    fn any_bytes_make_a_batch_or_an_error(count in any::<u32>(), small in 0..20u32, bytes in vec(any::<u8>(), 0..300)) {
        for count in [count, small] {
            if let Ok(batch) = Batch::new(count, &bytes) {
                use_up(batch);
            }
        }
    }

    #[test]
    fn a_damaged_batch_is_refused_or_its_records_stay_in_bounds(
        (count, mut bytes) in batch(),
        at in any::<usize>(),
        flip in 1..=255u8,
    ) {
        use_up(Batch::new(count, &bytes).unwrap());
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(batch) = Batch::new(count, &bytes) {
            use_up(batch);
        }
    }

    #[test]
    fn any_stream_in_any_chunks_is_read_or_refused(bytes in vec(any::<u8>(), 0..600), cuts in vec(any::<usize>(), 0..12)) {
        read(&bytes, &cuts);
    }

    #[test]
    fn a_valid_stream_is_read_whole_however_it_is_cut((frames, bytes) in stream(), cuts in vec(any::<usize>(), 0..20)) {
        prop_assert_eq!(read(&bytes, &cuts), (frames, true));
    }

    #[test]
    fn a_damaged_stream_gives_no_more_than_was_sent(
        (frames, mut bytes) in stream(),
        cuts in vec(any::<usize>(), 0..20),
        changes in vec((any::<usize>(), 1..=255u8), 1..4),
        keep in any::<usize>(),
    ) {
        if !bytes.is_empty() {
            for (at, flip) in changes {
                let at = at % bytes.len();
                bytes[at] ^= flip;
            }
        }
        bytes.truncate(bytes.len() - keep % (bytes.len() / 4 + 1));
        let (messages, _) = read(&bytes, &cuts);
        prop_assert!(messages <= frames);
        // Cut differently, it says the same.
        prop_assert_eq!(read(&bytes, &[]).0, messages);
    }
}
