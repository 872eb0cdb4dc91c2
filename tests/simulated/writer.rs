//! A client that appends numbered records and remembers what became of each.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use naxos::base::Offset;
use naxos::client::{Append, AppendError, Log};

/// Record number `index`: unique, of varying length, checkable byte by byte.
pub fn record(index: u64) -> Vec<u8> {
    let mut record = index.to_le_bytes().to_vec();
    record.resize(8 + (index as usize).wrapping_mul(37) % 900, index as u8);
    record
}

pub fn index_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(record[..8].try_into().expect("every record begins with its number"))
}

pub struct Writer {
    pub log: Log,
    next: u64,
    pending: Vec<(u64, Append)>,
    /// The number of the record at each acknowledged offset.
    pub acknowledged: BTreeMap<Offset, u64>,
    /// The records that were not acknowledged, and why.
    pub failed: Vec<(u64, AppendError)>,
}

impl Writer {
    pub fn new(log: Log) -> Self {
        Self { log, next: 0, pending: Vec::new(), acknowledged: BTreeMap::new(), failed: Vec::new() }
    }

    pub fn append(&mut self, count: u64) {
        for _ in 0..count {
            self.pending.push((self.next, self.log.append(&record(self.next))));
            self.next += 1;
        }
    }

    /// Takes in what has been settled meanwhile.
    pub fn look(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let (acknowledged, failed) = (&mut self.acknowledged, &mut self.failed);
        self.pending.retain_mut(|(index, append)| match Pin::new(append).poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(Ok(offset)) => {
                let before = acknowledged.insert(offset, *index);
                assert_eq!(before, None, "{offset} was acknowledged twice");
                false
            }
            Poll::Ready(Err(error)) => {
                failed.push((*index, error));
                false
            }
        });
    }

    pub fn pending(&mut self) -> usize {
        self.look();
        self.pending.len()
    }

    /// The first offset above everything acknowledged.
    pub fn acknowledged_end(&mut self) -> Offset {
        self.look();
        self.acknowledged.last_key_value().map_or(Offset::ZERO, |(&last, _)| last + 1)
    }

    /// Checks the whole log, from offset 0: every acknowledged record is where it was said to be, no record is there
    /// twice, each is one that was appended, and none that surely was not stored.
    pub fn check(&mut self, contents: &[Vec<u8>], sealed_tail: Option<Offset>) {
        self.look();
        let mut seen = BTreeMap::new();
        for (at, bytes) in contents.iter().enumerate() {
            let index = index_of(bytes);
            assert!(index < self.next && *bytes == record(index), "the record at {at} is one that was appended");
            assert_eq!(seen.insert(index, at), None, "record {index} is there twice");
        }
        for (&offset, &index) in &self.acknowledged {
            let at = seen.get(&index).copied();
            assert_eq!(at, Some(offset.0 as usize), "record {index} was acknowledged at {offset}");
        }
        for (index, error) in &self.failed {
            let at = seen.get(index).map(|&at| Offset(at as u64));
            match (error, sealed_tail) {
                (AppendError::Sealed { record_at: Some(given) }, Some(tail)) => {
                    // P16: the stop settles what was given an offset.
                    assert_eq!(at, (*given < tail).then_some(*given), "record {index} was given {given}, of {tail}");
                }
                (AppendError::NoSpace { record_at: Some(given) }, _) => {
                    assert!(at.is_none() || at == Some(*given), "record {index} was given {given}, and is at {at:?}");
                }
                (
                    AppendError::Sealed { record_at: None }
                    | AppendError::NoSpace { record_at: None }
                    | AppendError::SequencerLost { maybe_stored: false },
                    _,
                ) => {
                    assert_eq!(at, None, "record {index} surely was not stored: {error}");
                }
                _ => {}
            }
        }
    }
}
