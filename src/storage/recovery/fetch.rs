//! Reads ranges of files into memory, several pieces at a time.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::Buf;
use crate::io::op::{FileId, Op, Outcome};

/// Largest piece, and pieces in flight. Eight of a megabyte keep a disk busy without much memory.
const PIECE_BYTES: u64 = 1 << 20;
const BIG_PIECES: usize = 8;
/// First blocks and index headers are small: latency counts, so more of them are in flight.
const SMALL_PIECES: usize = 64;

/// Bytes of one range of a file.
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    /// Parts that could not be read; zeros in `bytes`.
    pub(super) errors: Vec<Range<u64>>,
}

struct Piece {
    image: usize,
    file: FileId,
    offset: u64,
    at: usize,
    bytes: usize,
}

/// A set of ranges being read.
pub(super) struct Fetch {
    block_bytes: usize,
    images: Vec<Image>,
    wanted: VecDeque<Piece>,
    pieces: Vec<Option<Piece>>,
    in_flight: usize,
    spares: Vec<Buf>,
}

impl Fetch {
    pub(super) fn new(block_bytes: u32) -> Self {
        let block_bytes = block_bytes as usize;
        let (images, wanted, pieces, spares) = Default::default();
        Self { block_bytes, images, wanted, pieces, in_flight: 0, spares }
    }

    /// Adds a range; images come in the order of these calls.
    pub(super) fn want(&mut self, file: FileId, offset: u64, bytes: u64) {
        let image = self.images.len();
        self.images.push(Image { bytes: vec![0; bytes as usize], errors: Vec::new() });
        let mut at = 0;
        while at < bytes {
            let piece = PIECE_BYTES.min(bytes - at);
            self.wanted.push_back(Piece { image, file, offset: offset + at, at: at as usize, bytes: piece as usize });
            at += piece;
        }
    }

    pub(super) fn poll(&mut self) -> Option<(u64, Op)> {
        let next = self.wanted.front()?;
        let most = if next.bytes as u64 > PIECE_BYTES / 16 { BIG_PIECES } else { SMALL_PIECES };
        if self.in_flight >= most {
            return None;
        }
        let piece = self.wanted.pop_front()?;
        let fits = self.spares.iter().position(|buf| buf.capacity() >= piece.bytes);
        let mut buf = fits.map_or_else(|| Buf::zeroed(piece.bytes), |at| self.spares.swap_remove(at));
        buf.set_len(piece.bytes);
        let op = Op::Read { file: piece.file, offset: piece.offset, buf };
        self.in_flight += 1;
        self.pieces.push(Some(piece));
        Some((self.pieces.len() as u64 - 1, op))
    }

    pub(super) fn handle(&mut self, value: u64, outcome: Outcome) {
        let Outcome::Read { buf, result } = outcome else { unreachable!("reads complete as reads") };
        let piece = self.pieces[value as usize].take().expect("a piece completes once");
        self.in_flight -= 1;
        let image = &mut self.images[piece.image];
        let read = result.unwrap_or(0).min(piece.bytes);
        if read < piece.bytes && piece.bytes > self.block_bytes {
            // One bad block fails the whole piece: find out which it is.
            let part = (piece.bytes / 16).next_multiple_of(self.block_bytes);
            for from in (0..piece.bytes).step_by(part) {
                let bytes = part.min(piece.bytes - from);
                self.wanted.push_back(Piece {
                    offset: piece.offset + from as u64,
                    at: piece.at + from,
                    bytes,
                    ..piece
                });
            }
            return self.spares.push(buf);
        }
        image.bytes[piece.at..piece.at + read].copy_from_slice(&buf[..read]);
        if read < piece.bytes {
            image.errors.push(piece.offset + read as u64..piece.offset + piece.bytes as u64);
        }
        self.spares.push(buf);
    }

    /// The images, once all have been read.
    pub(super) fn take(&mut self) -> Option<Vec<Image>> {
        if !self.wanted.is_empty() || self.in_flight > 0 {
            return None;
        }
        self.pieces.clear();
        Some(std::mem::take(&mut self.images))
    }
}
