//! A stream of frames, sound and not, however it is cut.

use super::input::Input;
use super::messages::{frame, reseal, said};
use crate::net::{Flow, FrameReader};
use crate::wire::{Batch, FrameHeader, HEADER_BYTES, Message};

const LIMIT: u32 = 4096;
const FRAMES_MAX: usize = 12;

/// Any bytes as a stream of frames: some drawn as messages, some raw, some changed and with checksums that hold again.
///
/// # Panics
/// When a body beyond the limit is handed out, when the same stream says something else in other pieces or after pauses, or when
/// something accepted cannot be said again.
pub fn frame_decoding(data: &[u8]) {
    let mut input = Input::new(data);
    let pieces = input.below(8);
    let sizes: Vec<usize> = (0..pieces).map(|_| input.below(512)).collect();
    let mut stream = Vec::new();
    for _ in 0..FRAMES_MAX {
        let start = stream.len();
        match input.byte() % 4 {
            _ if input.is_empty() => break,
            0 => drop(frame(&mut input, &mut stream)),
            1 => {
                frame(&mut input, &mut stream);
                for _ in 0..=input.below(4) {
                    let at = start + input.below(stream.len() - start);
                    stream[at] = input.byte();
                }
                // A changed length changes where the frame ends: what follows is read as its continuation.
                reseal(&mut stream[start..]);
            }
            2 => {
                let body = input.below(200);
                stream.extend_from_slice(input.take(HEADER_BYTES));
                stream.resize(start + HEADER_BYTES, 0);
                stream.extend_from_slice(input.take(body));
                reseal(&mut stream[start..]);
            }
            _ => {
                let count = input.below(100);
                stream.extend_from_slice(input.take(count));
            }
        }
    }
    let whole = read(&stream, &[], false);
    assert_eq!(read(&stream, &sizes, false), whole, "the pieces do not matter");
    assert_eq!(read(&stream, &sizes, true), whole, "pauses do not matter");
}

/// What a stream says, as far as it is sound, and whether all of it is.
fn read(stream: &[u8], sizes: &[usize], pauses: bool) -> (Vec<Vec<u8>>, bool) {
    let mut reader = FrameReader::new(LIMIT);
    let mut heard = Vec::new();
    let mut held = false;
    let mut on_message = |header: &FrameHeader, message: Message<'_>| {
        assert!(header.body_bytes.get() <= LIMIT, "a body beyond the limit is never handed out");
        held = pauses && !held;
        if held {
            return Flow::Hold;
        }
        if let Message::Append { batch, .. }
        | Message::Store { batch, .. }
        | Message::Repair { batch, .. }
        | Message::Records { batch, .. } = &message
        {
            use_up(*batch);
        }
        heard.push(said(header, &message));
        Flow::Continue
    };
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    let mut sound = true;
    while sound && !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().map_or(rest.len(), |size| (size + 1).min(rest.len())));
        rest = after;
        sound = reader.feed(piece, &mut on_message).is_ok();
        while sound && reader.is_paused() {
            sound = reader.resume(&mut on_message).is_ok();
        }
        let held_max = 2 * (LIMIT as usize + HEADER_BYTES) + 2 * stream.len();
        assert!(reader.memory_bytes() <= held_max, "no header makes a reader hold memory");
    }
    (heard, sound)
}

/// Goes over everything that a batch offers.
fn use_up(batch: Batch<'_>) {
    let payload: usize = batch.records().map(|(payload, _)| payload.len()).sum();
    assert_eq!(payload + 8 * batch.count() as usize, batch.len(), "a batch is its records and their table");
    assert_eq!(batch.values().filter(Option::is_none).count(), batch.no_ops() as usize);
    let verified = batch.verify();
    assert!(verified.is_ok() || verified.is_err_and(|at| at < batch.count()));
    let mut out = Vec::new();
    let copied = batch.copy_range(batch.count() / 2, u32::MAX, 100, &mut out);
    assert!(Batch::new(copied, &out).is_ok(), "a part of a batch is a batch");
}
