//! A connection inside one process: bytes in memory, in order, both ways. Buffers go over as they are and come back when they have been
//! read, so that nothing is copied, and nothing allocated once there are enough.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crossbeam::queue::ArrayQueue;

use crate::ring::{self, Popped, Relay};

/// Bytes on their way in one direction beyond which a sender waits.
const BYTES_MAX: usize = 1 << 20;
/// Sends on their way in one direction beyond which a sender waits: what collects meanwhile leaves together.
const SENDS_MAX: usize = 16;
/// Empty buffers that wait to be filled again, in each direction.
const SPARE_MAX: usize = 4;
/// A larger buffer is freed when it has been read.
const SPARE_BYTES_MAX: usize = 256 << 10;

/// One of the two ends; the connection is over when one of them is dropped.
#[derive(Debug)]
pub struct PipeEnd {
    out: Arc<Half>,
    into: Arc<Half>,
}

/// One direction.
#[derive(Debug)]
struct Half {
    relay: Relay,
    spare: ArrayQueue<Vec<u8>>,
    reader: OnceLock<Waker>,
    writer: OnceLock<Waker>,
}

/// What has become of bytes to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// They are on their way; in their place an empty buffer.
    Taken(Vec<u8>),
    /// There is no room; the writer is woken when there is.
    Full(Vec<u8>),
    /// Nobody reads any more.
    Closed(Vec<u8>),
}

/// What there is to receive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// To be given back when they have been read.
    Bytes(Vec<u8>),
    /// Nothing now; the reader is woken when there is something.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Default for Half {
    fn default() -> Self {
        Self {
            relay: Relay::new(SENDS_MAX, BYTES_MAX),
            spare: ArrayQueue::new(SPARE_MAX),
            reader: OnceLock::new(),
            writer: OnceLock::new(),
        }
    }
}

impl Half {
    fn wake(waker: &OnceLock<Waker>) {
        waker.get().into_iter().for_each(Waker::wake_by_ref);
    }

    fn close(&self) {
        self.relay.close();
        Self::wake(&self.reader);
        Self::wake(&self.writer);
    }
}

/// A connection's two ends.
pub(super) fn pipe() -> (PipeEnd, PipeEnd) {
    let (forth, back) = (Arc::<Half>::default(), Arc::<Half>::default());
    (PipeEnd { out: forth.clone(), into: back.clone() }, PipeEnd { out: back, into: forth })
}

impl PipeEnd {
    /// What wakes whoever gets the end; the first that is said. It is said before the end goes to another thread, by the thread that has the
    /// other end: so nothing is pushed there between, which would wake nobody.
    pub fn set_waker(&self, waker: &Waker) {
        for place in [&self.out.writer, &self.into.reader] {
            place.get_or_init(|| waker.clone());
        }
    }

    pub(super) fn push(&self, bytes: Vec<u8>) -> Pushed {
        match self.out.relay.push(bytes) {
            ring::Pushed::Taken => {
                Half::wake(&self.out.reader);
                Pushed::Taken(self.out.spare.pop().unwrap_or_default())
            }
            ring::Pushed::Full(bytes) => Pushed::Full(bytes),
            ring::Pushed::Closed(bytes) => Pushed::Closed(bytes),
        }
    }

    pub(super) fn pull(&self) -> Pulled {
        match self.into.relay.pop() {
            Popped::Bytes { bytes, awaited } => {
                if awaited {
                    Half::wake(&self.into.writer);
                }
                Pulled::Bytes(bytes)
            }
            Popped::Nothing => Pulled::Nothing,
            Popped::Closed => Pulled::Closed,
        }
    }

    /// Bytes that came from [`PipeEnd::pull`] have been read.
    pub(super) fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        if bytes.capacity() <= SPARE_BYTES_MAX {
            // Where there are enough, this one is freed.
            drop(self.into.spare.push(bytes));
        }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.out.close();
        self.into.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pushed: Pushed) -> bool {
        matches!(pushed, Pushed::Taken(_))
    }

    #[test]
    fn bytes_come_in_order_and_after_the_end_of_the_sender() {
        let (near, far) = pipe();
        assert_eq!(far.pull(), Pulled::Nothing);
        assert!(taken(near.push(b"one".to_vec())) && taken(near.push(b"two".to_vec())));
        assert!(taken(far.push(b"three".to_vec())));
        assert_eq!(near.pull(), Pulled::Bytes(b"three".to_vec()));
        drop(near);
        assert_eq!(far.pull(), Pulled::Bytes(b"one".to_vec()));
        assert_eq!(far.pull(), Pulled::Bytes(b"two".to_vec()));
        assert_eq!((far.pull(), far.push(b"late".to_vec())), (Pulled::Closed, Pushed::Closed(b"late".to_vec())));
    }

    #[test]
    fn a_full_pipe_takes_nothing_until_something_is_taken_out() {
        let (near, far) = pipe();
        let chunk = vec![7; BYTES_MAX / 2];
        assert!(taken(near.push(chunk.clone())) && taken(near.push(chunk.clone())));
        assert_eq!(near.push(b"more".to_vec()), Pushed::Full(b"more".to_vec()));
        assert_eq!(far.pull(), Pulled::Bytes(chunk));
        assert!(taken(near.push(b"more".to_vec())));
    }

    #[test]
    fn what_has_been_read_is_filled_again_unless_it_is_large() {
        let (near, far) = pipe();
        assert_eq!(near.push(Vec::with_capacity(100)), Pushed::Taken(Vec::new()));
        assert_eq!(near.push(Vec::with_capacity(SPARE_BYTES_MAX + 1)), Pushed::Taken(Vec::new()));
        for _ in 0..2 {
            let Pulled::Bytes(bytes) = far.pull() else { panic!("two were sent") };
            far.give_back(bytes);
        }
        let Pushed::Taken(first) = near.push(vec![1]) else { panic!("there is room") };
        let Pushed::Taken(second) = near.push(vec![2]) else { panic!("there is room") };
        assert!(first.capacity() >= 100 && second.capacity() == 0);
    }
}
