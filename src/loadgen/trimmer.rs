//! Trims behind a load, so that it can go on for longer than there is space.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::generator::Progress;
use crate::base::Offset;
use crate::client::{Log, OpError};

/// Between two looks at the tail.
const PAUSE: Duration = Duration::from_millis(50);
/// A log is trimmed by this part of what is kept at a time.
const PARTS: u64 = 16;

/// How much of a log is kept while it is appended to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrimBehind {
    /// The newest records that are kept, at least.
    pub records: u64,
}

impl TrimBehind {
    /// Trim points are multiples of this.
    pub(super) fn stretch(self) -> u64 {
        (self.records / PARTS).max(1)
    }

    /// Up to where a log of this length may be trimmed.
    fn point(self, tail: Offset) -> Offset {
        let stretch = self.stretch();
        Offset(tail.0.saturating_sub(self.records) / stretch * stretch)
    }
}

/// What was trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trimmed {
    /// The first offset that is left.
    pub point: Offset,
    /// How many trims there were.
    pub trims: u64,
}

/// Asks for the tail and trims what lies far enough below it, again and again, until `end` is closed. `progress` is told.
///
/// # Errors
/// A question or a trim failed, which in a load without faults is a finding.
pub(super) fn trim(
    log: &Log,
    behind: TrimBehind,
    progress: &Mutex<Progress>,
    end: &Receiver<()>,
) -> Result<Trimmed, OpError> {
    let mut trimmed = Trimmed::default();
    while end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let point = behind.point(log.check_tail()?.tail);
        if point > trimmed.point {
            let reached = log.trim(point)?;
            assert_eq!(reached, point, "everything below a tail is committed, and nobody else trims");
            trimmed = Trimmed { point, trims: trimmed.trims + 1 };
            progress.lock().unwrap_or_else(PoisonError::into_inner).trim_point = point;
        }
    }
    Ok(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_kept_is_never_trimmed() {
        let behind = TrimBehind { records: 160 };
        let points = [0, 100, 169, 170, 179, 180, 1_000].map(|tail| behind.point(Offset(tail)).0);
        assert_eq!(points, [0, 0, 0, 10, 10, 20, 840]);
        assert_eq!(TrimBehind { records: 3 }.point(Offset(10)), Offset(7));
    }
}
