//! Keeping the anchor up to date: before the first segment of a life, after each head, at a clean stop.

use super::anchor::{ANCHOR_FILE, ANCHOR_FILE_BYTES, Anchor};
use super::format::{End, SegmentNumber};
use super::journal::{Journal, Tag};
use super::types::Failure;
use crate::base::Buf;
use crate::io::op::{FileId, Op, Outcome, Token};

/// The anchor, as it is on disk and as it should be.
#[derive(Default)]
pub(super) struct Anchoring {
    file: Option<FileId>,
    /// What is durable.
    durable: Anchor,
    /// What is to be written next.
    wanted: Option<Anchor>,
    /// The operation under way: making the file, or writing what it is to say.
    in_flight: Option<Option<Anchor>>,
}

impl Anchoring {
    /// Goes on from what a start has found; `due` is to be durable before anything else is written.
    pub(super) fn begin(&mut self, file: Option<FileId>, found: Anchor, due: Option<Anchor>) {
        (self.file, self.durable, self.wanted) = (file, found, due);
    }

    /// Whether there is nothing to write.
    pub(super) fn is_settled(&self) -> bool {
        self.file.is_some() && self.wanted.is_none() && self.in_flight.is_none()
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the loss of this segment would be noticed: before, nothing in it may count as durable but its head.
    pub(super) fn names(&self, segment: SegmentNumber) -> bool {
        self.durable.segment.number >= segment
    }
}

impl Journal {
    /// The head of the segment is durable up to its end.
    pub(super) fn anchor_segment(&mut self, number: SegmentNumber, end: End) {
        let segment = &self.segments.live[&number];
        let file_bytes = self.segments.slots[segment.slot].bytes;
        self.anchoring.wanted = Some(Anchor { segment: segment.identity, file_bytes, end, ..self.anchoring.durable });
    }

    /// At a clean stop all that was written is durable: what is missing of it later is lost, not torn.
    pub(super) fn owes_end(&self) -> bool {
        self.writer.is_at_rest() && self.anchoring.durable.end.sequence < self.writer.durable
    }

    pub(super) fn poll_anchor(&mut self) -> Option<(Token, Op)> {
        if self.anchoring.in_flight.is_some() {
            return None;
        }
        let Some(file) = self.anchoring.file else {
            self.anchoring.in_flight = Some(None);
            let op = Op::Prepare { path: self.config.directory.join(ANCHOR_FILE), bytes: ANCHOR_FILE_BYTES };
            return Some((self.token(Tag::Anchor, 0), op));
        };
        if self.anchoring.wanted.is_none() && self.owes_end() {
            assert_eq!(self.writer.last.sequence, self.writer.durable, "nothing is in flight");
            self.anchoring.wanted = Some(Anchor { end: self.writer.last, ..self.anchoring.durable });
        }
        let mut anchor = self.anchoring.wanted.take()?;
        anchor.count = self.anchoring.durable.count + 1;
        assert!(self.anchoring.durable.segment.number <= anchor.segment.number, "the anchor only moves on");
        assert!(self.anchoring.durable.end.sequence <= anchor.end.sequence, "the anchor only moves on");
        let mut buf = Buf::zeroed(self.config.block_bytes as usize);
        let bytes = anchor.to_bytes(self.owner);
        buf[..bytes.len()].copy_from_slice(&bytes);
        self.anchoring.in_flight = Some(Some(anchor));
        Some((self.token(Tag::Anchor, 0), Op::Write { file, offset: anchor.offset(), buf }))
    }

    pub(super) fn handle_anchor(&mut self, outcome: Outcome) {
        let written = self.anchoring.in_flight.take().expect("one operation at a time");
        match (outcome, written) {
            (Outcome::Opened { file, .. }, None) => self.anchoring.file = Some(file),
            (Outcome::Written { buf, result }, Some(anchor)) => match result {
                Ok(bytes) if bytes == buf.len() => {
                    self.anchoring.durable = anchor;
                    self.note_anchored();
                }
                Ok(_) => self.fail(Failure::Anchor(std::io::ErrorKind::WriteZero.into())),
                Err(error) => self.fail(Failure::Anchor(error)),
            },
            (Outcome::Failed(error), None) => self.fail(Failure::Anchor(error)),
            (outcome, written) => unreachable!("{written:?} does not complete as {outcome:?}"),
        }
    }
}
