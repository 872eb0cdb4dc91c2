//! The next offset of a loglet whose appends several threads sequence.
//!
//! Offset and seal are one word, changed by read-modify-write alone, so that its changes have one order: each range begins where the
//! one before it ended, and a seal falls between two of them. That order is all that is asked of it, and no ordering with other memory:
//! the offset goes out in the bytes of what is sent, which no processor sends before it has the offset.

use std::ops::Range;

use super::sync::{AtomicU64, Ordering};

/// Set by the seal; what is below it is the next offset.
const SEALED: u64 = 1 << 63;
/// Most offsets in one range.
pub const RANGE_MAX: u64 = 1 << 32;
/// Where offsets end. A range that is refused moves the word all the same, so that a word sealed below this would have to refuse some
/// 2^30 of the largest ranges before it ran over the seal; who takes asks no more after its first refusal.
const OFFSETS_MAX: u64 = 1 << 62;
/// No boundary yet.
const NONE: u64 = u64::MAX;

/// Gives out ranges of offsets until it is sealed. On cache lines of its own: nothing beside it is slowed by those who take.
#[derive(Debug)]
#[repr(align(128))]
pub struct Ticket {
    word: AtomicU64,
    boundary: AtomicU64,
}

impl Default for Ticket {
    fn default() -> Self {
        Self { word: AtomicU64::new(0), boundary: AtomicU64::new(NONE) }
    }
}

impl Ticket {
    /// The first of `count` offsets that are the caller's now, or nothing once sealed. After a refusal the caller takes no more.
    ///
    /// # Panics
    /// Of nothing, of more than [`RANGE_MAX`], and where offsets end.
    #[must_use]
    pub fn take(&self, count: u64) -> Option<u64> {
        assert!((1..=RANGE_MAX).contains(&count), "a range of {count} offsets");
        let word = self.word.fetch_add(count, Ordering::Relaxed);
        let granted = word & SEALED == 0;
        assert!(!granted || word + count <= OFFSETS_MAX, "offsets end");
        granted.then_some(word)
    }

    /// Takes what is missing so that every offset below `to` is given out, at most `max` offsets: the caller's range now, empty where they
    /// are given out already, or nothing once sealed. Whoever asks while others do takes nothing that these have taken: the ranges of
    /// all together end at `to`.
    ///
    /// # Panics
    /// Beyond where offsets end, and of a range of nothing or of more than [`RANGE_MAX`].
    #[must_use]
    pub fn raise(&self, to: u64, max: u64) -> Option<Range<u64>> {
        assert!(to <= OFFSETS_MAX && (1..=RANGE_MAX).contains(&max), "at most {max} offsets up to {to}");
        let mut word = self.word.load(Ordering::Relaxed);
        while word & SEALED == 0 {
            let end = to.min(word + max);
            if end <= word {
                return Some(word..word);
            }
            let raised = self.word.compare_exchange(word, end, Ordering::Relaxed, Ordering::Relaxed);
            match raised {
                Ok(_) => return Some(word..end),
                Err(other) => word = other,
            }
        }
        None
    }

    /// Seals, and tells who does it first the boundary: every range ends at or below it, also those taken at the same time, and none
    /// will ever begin there or beyond.
    pub fn seal(&self) -> Option<u64> {
        let word = self.word.fetch_or(SEALED, Ordering::Relaxed);
        if word & SEALED != 0 {
            return None;
        }
        // The word moves on with what it refuses.
        self.boundary.store(word, Ordering::Relaxed);
        Some(word)
    }

    /// Where the sealed ranges end, once whoever sealed has noted it.
    pub fn boundary(&self) -> Option<u64> {
        Some(self.boundary.load(Ordering::Relaxed)).filter(|boundary| *boundary != NONE)
    }

    /// No range taken so far ends beyond this; once sealed it may lie beyond the boundary.
    pub fn tail(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !SEALED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_one_another_until_the_seal() {
        let ticket = Ticket::default();
        assert_eq!((ticket.take(3), ticket.take(1), ticket.tail()), (Some(0), Some(3), 4));
        assert_eq!(ticket.boundary(), None);
        assert_eq!((ticket.seal(), ticket.take(2), ticket.seal()), (Some(4), None, None));
        assert_eq!(ticket.boundary(), Some(4), "what is refused does not move it");
    }

    #[test]
    fn a_raise_takes_what_is_missing_and_no_more_than_it_may() {
        let ticket = Ticket::default();
        assert_eq!(ticket.take(3), Some(0));
        assert_eq!((ticket.raise(3, 9), ticket.raise(2, 9)), (Some(3..3), Some(3..3)));
        assert_eq!((ticket.raise(7, 9), ticket.raise(7, 9), ticket.tail()), (Some(3..7), Some(7..7), 7));
        assert_eq!((ticket.raise(20, 4), ticket.take(1)), (Some(7..11), Some(11)));
        ticket.seal();
        assert_eq!((ticket.raise(20, 4), ticket.raise(5, 4), ticket.tail()), (None, None, 12));
    }

    #[test]
    fn it_lies_on_cache_lines_of_its_own() {
        assert_eq!((align_of::<Ticket>(), size_of::<Ticket>()), (128, 128));
    }

    #[test]
    #[should_panic(expected = "offsets end")]
    fn the_word_does_not_grow_into_the_seal() {
        let ticket = Ticket::default();
        ticket.word.store(OFFSETS_MAX - 1, Ordering::Relaxed);
        let _ = ticket.take(2);
    }
}
