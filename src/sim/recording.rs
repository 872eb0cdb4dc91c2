//! What clients ask and are told goes into the history.

use super::run::Run;
use crate::history::{Append, AppendOutcome, Moment, Read, TailCheck, Value};

/// Operations that one client has on the way before it waits for some to end.
pub(super) const PENDING_MAX: usize = 48;

/// A question about records: by whom, of which segment, when, and which positions are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) client: usize,
    /// None for the log as a whole.
    pub(super) segment: Option<usize>,
    pub(super) invoked: Moment,
    pub(super) min: u64,
    pub(super) max: u64,
}

/// Bytes that no other record of the run has, checkable one by one.
fn record(number: u64, bytes: usize) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(8 + bytes, number as u8);
    record
}

impl Run {
    /// How many appends come one after another.
    pub(super) fn draw_burst(&mut self) -> u64 {
        let burst = if self.rng.u8(..4) == 0 { self.rng.u64(4..16) } else { self.rng.u64(1..4) };
        burst.min(self.options.ops - self.issued)
    }

    pub(super) fn draw_record_bytes(&mut self) -> usize {
        if self.rng.bool() { self.rng.usize(..64) } else { self.rng.usize(..self.record_bytes_max) }
    }

    /// An append begins, of the record returned, whose number in the history comes with it.
    pub(super) fn append_begins(&mut self, client: usize, segment: Option<usize>, bytes: usize) -> (usize, Vec<u8>) {
        let index = self.history.appends.len();
        let record = record(index as u64, bytes);
        let invoked = self.moment();
        self.history.appends.push(Append {
            client: client as u32,
            segment: segment.map(|segment| segment as u32),
            value: Value::of(&record),
            invoked,
            ended: None,
        });
        self.issued += 1;
        let bytes = record.len();
        match segment {
            Some(segment) => {
                self.note(format_args!("client {client} appends #{index}, {bytes} bytes, to segment {segment}"));
            }
            None => self.note(format_args!("client {client} appends #{index}, {bytes} bytes")),
        }
        (index, record)
    }

    pub(super) fn append_ends(&mut self, client: usize, index: usize, outcome: AppendOutcome) {
        let ended = self.moment();
        self.history.appends[index].ended = Some((ended, outcome));
        self.note(format_args!("client {client}: append #{index} is {outcome:?}"));
    }

    pub(super) fn tail_told(
        &mut self,
        client: usize,
        segment: Option<usize>,
        invoked: Moment,
        tail: u64,
        sealed: bool,
    ) {
        let ended = self.moment();
        let (client, segment) = (client as u32, segment.map(|segment| segment as u32));
        self.history.tails.push(TailCheck { client, segment, invoked, ended, tail, sealed });
    }

    /// Records and no-ops have come, and returns where they end.
    pub(super) fn records_read<'a>(
        &mut self,
        question: Question,
        first: u64,
        places: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> u64 {
        let Question { client, segment, invoked, min, max } = question;
        let ended = self.moment();
        let values: Vec<_> = places.map(Value::at).collect();
        let end = first + values.len() as u64;
        let (client, segment) = (client as u32, segment.map(|segment| segment as u32));
        self.history.reads.push(Read { client, segment, invoked, ended, min, max, first, values });
        end
    }

    pub(super) fn trim_point_told(&mut self, point: u64) {
        let ended = self.moment();
        self.history.trimmed.push((point, ended));
    }
}
