//! A virtual log whose record at each position is the one of that number: filled by one writer, and read through once.

use std::time::{Duration, Instant};

use super::catch_up::Pass;
use super::live::record;
use crate::base::LogPos;
use crate::client::{Event, LogAppendError, OpError, VirtualLog};

/// How long a pass may stand still before it is given up.
const STALL: Duration = Duration::from_secs(30);

/// What is wrong with such a log.
#[derive(Debug, thiserror::Error)]
pub enum NumberedError {
    /// A record was not acknowledged.
    #[error("record {0}: {1}")]
    Append(u64, LogAppendError),
    /// A record is elsewhere.
    #[error("record {number} was acknowledged at {position}: nobody else may append to this log")]
    Elsewhere {
        /// Its number.
        number: u64,
        /// Where it is.
        position: LogPos,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] OpError),
    /// The log has ended, or stands still, before its tail.
    #[error("nothing more comes after {0}")]
    Short(LogPos),
}

/// Appends records of these numbers, of this size each, all of them on their way at once.
///
/// # Errors
/// One was not acknowledged, or not at the position of its number.
pub fn fill(log: &VirtualLog, numbers: std::ops::Range<u64>, bytes: usize) -> Result<(), NumberedError> {
    let appends: Vec<_> = numbers.map(|number| (number, log.append(&record(number, bytes)))).collect();
    for (number, append) in appends {
        let position = append.wait().map_err(|error| NumberedError::Append(number, error))?;
        if position != LogPos(number) {
            return Err(NumberedError::Elsewhere { number, position });
        }
    }
    Ok(())
}

/// Reads from the beginning to `tail` through one subscription, and counts records that are not what they should be.
///
/// # Errors
/// The log cannot be read.
pub fn read_through(log: &VirtualLog, tail: LogPos, bytes: usize) -> Result<(Pass, u64), NumberedError> {
    let begin = Instant::now();
    let mut subscription = log.subscribe(LogPos::ZERO);
    let (mut pass, mut wrong, mut next) = (Pass::default(), 0, LogPos::ZERO);
    while next < tail {
        let Some(Event::Records(delivery)) = subscription.next_timeout(STALL)? else {
            return Err(NumberedError::Short(next));
        };
        wrong += u64::from(delivery.first() != next);
        for (LogPos(number), found) in delivery.entries() {
            // All of it is compared by the library's checksums; the number says which record it is.
            let is_it = found.len() == bytes && found.first_chunk() == Some(&number.to_le_bytes());
            wrong += u64::from(!is_it);
            pass.bytes += found.len() as u64;
        }
        pass.records += u64::from(delivery.count());
        next = delivery.end();
    }
    pass.elapsed = begin.elapsed();
    Ok((pass, wrong))
}
