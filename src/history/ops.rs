use std::collections::BTreeMap;

use super::chains::ChainVersion;
use crate::base::checksum::crc64;

/// When something happened: only the order counts. Two events of one moment are taken as concurrent.
pub type Moment = u64;

/// Stands for the contents of a record. Records that differ have different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

impl Value {
    /// That of a no-op: the same for everybody, and of no record (P18).
    pub const NO_OP: Self = Self(0x6E6F_206F_7065_7261);

    /// The value of what is at a place: of these bytes, or of a no-op.
    pub fn at(place: Option<&[u8]>) -> Self {
        place.map_or(Self::NO_OP, Self::of)
    }

    /// The value of these bytes. Their number is part of it: a CRC keeps records of one length apart, and gives the
    /// same for some of different lengths that look alike, as 64 in eight bytes and 16,639 in eight bytes before FF.
    pub fn of(record: &[u8]) -> Self {
        // 2^64 over the golden ratio: lengths that are near each other differ in the upper bits.
        Self(crc64(record) ^ (record.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// How an append has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is in the log at this position.
    Acknowledged(u64),
    /// The stop of its segment settles whether it is in the log, at this position (P16).
    Settled(u64),
    /// It surely is not in the log.
    NotStored,
    /// It may be in the log.
    Unknown,
}

/// One append of one record. No two of a history have the same contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append {
    /// Who appends.
    pub client: u32,
    /// The segment that it was sent to, as an index into [`History::segments`]; none when it was the log as a whole.
    pub segment: Option<u32>,
    /// What.
    pub value: Value,
    /// When it was asked for.
    pub invoked: Moment,
    /// When it ended, and how; none while it is on its way.
    pub ended: Option<(Moment, AppendOutcome)>,
}

impl Append {
    /// The position that it was acknowledged at, and when.
    pub fn acknowledged(&self) -> Option<(u64, Moment)> {
        match self.ended {
            Some((at, AppendOutcome::Acknowledged(position))) => Some((position, at)),
            _ => None,
        }
    }
}

/// A checkTail that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailCheck {
    /// Who asked.
    pub client: u32,
    /// Of which segment; none for the log as a whole.
    pub segment: Option<u32>,
    /// When it was asked.
    pub invoked: Moment,
    /// When it was answered.
    pub ended: Moment,
    /// The first position not covered.
    pub tail: u64,
    /// Whether the segment's loglet is sealed: then the tail says only where the segment may be ended.
    pub sealed: bool,
}

/// A read that returned records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Who read.
    pub client: u32,
    /// From which segment; none for the log as a whole.
    pub segment: Option<u32>,
    /// When it was asked.
    pub invoked: Moment,
    /// When it was answered.
    pub ended: Moment,
    /// The first position asked for.
    pub min: u64,
    /// The first position not wanted.
    pub max: u64,
    /// The position of the first record returned.
    pub first: u64,
    /// What was returned.
    pub values: Vec<Value>,
}

/// A seal that was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The segment whose loglet was sealed.
    pub segment: u32,
    /// When it was confirmed.
    pub ended: Moment,
}

/// A wish to give up a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// Everything below this position.
    pub point: u64,
    /// When it was asked.
    pub invoked: Moment,
}

/// A part of the log that one loglet serves. A log of one loglet has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Its first position.
    pub start: u64,
    /// The first position behind it, and when that was decided.
    pub stop: Option<(u64, Moment)>,
    /// The largest known tail that anybody told, as a position (P1).
    pub known_tail: u64,
    /// Votes of nodes that are no members of it, in words.
    pub strange_votes: Vec<String>,
    /// The records that its loglet was seen to be given, by their positions. A loglet may hold more than the segment has: what is at
    /// or beyond the stop is no part of the log (P1).
    pub given: BTreeMap<u64, Value>,
    /// Offsets that its loglet gave to two records, in words.
    pub given_twice: Vec<String>,
    /// Servers that have a record and lack one before it which nobody knows to be committed, in words.
    pub strange_gaps: Vec<String>,
}

/// Everything that happened to one log, as its clients saw it.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The segments, in order.
    pub segments: Vec<Segment>,
    /// All appends, in order of their invocation.
    pub appends: Vec<Append>,
    /// All tails told.
    pub tails: Vec<TailCheck>,
    /// All records read.
    pub reads: Vec<Read>,
    /// All seals confirmed.
    pub seals: Vec<Seal>,
    /// All trims asked for.
    pub trims: Vec<Trim>,
    /// Trim points that readers were told, and when.
    pub trimmed: Vec<(u64, Moment)>,
    /// The whole log in the end, from its last trim point on; none when nobody has read it all.
    pub contents: Option<(u64, Vec<Value>)>,
    /// Every chain that anybody was seen to hold.
    pub chains: Vec<ChainVersion>,
    /// Sequencers may have been out of reach, so that a record may be in the log twice (P16).
    pub may_repeat: bool,
    /// Disks that lose nothing and were found damaged, in words.
    pub false_damage: Vec<String>,
    /// What did not end after everything was healed, in words.
    pub unfinished: Vec<String>,
}

impl History {
    /// Where the segment ends, if that is decided.
    pub fn stop(&self, segment: Option<u32>) -> Option<u64> {
        Some(self.segments[segment? as usize].stop?.0)
    }

    /// The largest position below which a trim was ever asked for.
    pub fn trim_asked(&self) -> u64 {
        self.trims.iter().map(|trim| trim.point).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Value;
    use crate::base::checksum::crc64;

    #[test]
    fn equal_checksums_of_different_lengths_are_different_values() {
        let (short, long) = (64_u64.to_le_bytes(), [&16_639_u64.to_le_bytes()[..], &[0xFF]].concat());
        assert_eq!(crc64(&short), crc64(&long));
        assert_ne!(Value::of(&short), Value::of(&long));
    }
}
