//! How far a loglet is known to be committed, raised by several threads.
//!
//! Who reads the watermark concludes from it: that the offsets below it have been given out, for one. So what a thread saw before it
//! raised the watermark is seen by who reads that value, or a later one: the raise releases and the reading acquires. A raise by
//! another thread in between takes nothing away from that, being a read-modify-write.

use super::sync::{AtomicU64, Ordering};

/// A number that only rises, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Watermark(AtomicU64);

impl Default for Watermark {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Watermark {
    /// Raises it to `end`, unless it is there already.
    pub fn raise(&self, end: u64) {
        self.0.fetch_max(end, Ordering::Release);
    }

    /// The largest value that it was raised to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::Watermark;

    #[test]
    fn it_never_sinks() {
        let watermark = Watermark::default();
        for (end, then) in [(5, 5), (3, 5), (7, 7)] {
            watermark.raise(end);
            assert_eq!(watermark.get(), then);
        }
    }
}
