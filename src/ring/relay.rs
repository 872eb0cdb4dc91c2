//! Bytes in pieces, from one thread to another, in order and without a lock.

use crossbeam::queue::ArrayQueue;

use super::sync::{AtomicU8, AtomicUsize, Ordering};

/// Nothing more is pushed.
const CLOSED: u8 = 1;
/// The pushing side waits for room.
const AWAITED: u8 = 2;

/// A bounded queue of pieces of bytes. Whoever sleeps is woken by the other side, which is told when: the popping side after every
/// push, the pushing side after the pop that [`Popped::Bytes`] says it waits for, and both after the close.
#[derive(Debug)]
pub struct Relay {
    pieces: ArrayQueue<Vec<u8>>,
    /// Of the pieces in the queue; a little less while one is being popped, or more while one is being pushed.
    bytes: AtomicUsize,
    bytes_max: usize,
    state: AtomicU8,
}

/// What has become of bytes that were to be pushed.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// They are in the queue.
    Taken,
    /// There is no room; a later pop says that it is waited for.
    Full(Vec<u8>),
    /// It was closed.
    Closed(Vec<u8>),
}

/// What there is to pop.
#[derive(Debug, PartialEq, Eq)]
pub enum Popped {
    /// The oldest bytes; with `awaited`, the pushing side waits for room, and is to be woken.
    Bytes {
        /// The piece, as it was pushed.
        bytes: Vec<u8>,
        /// Said once for each time that it waits.
        awaited: bool,
    },
    /// Nothing now.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Relay {
    /// A relay that is full with so many pieces, or when it holds so many bytes.
    pub fn new(pieces: usize, bytes_max: usize) -> Self {
        let pieces = ArrayQueue::new(pieces);
        Self { pieces, bytes: AtomicUsize::new(0), bytes_max, state: AtomicU8::new(0) }
    }

    /// Hands over a piece. One thread pushes.
    pub fn push(&self, bytes: Vec<u8>) -> Pushed {
        if self.is_closed() {
            return Pushed::Closed(bytes);
        }
        let Err(bytes) = self.try_push(bytes) else { return Pushed::Taken };
        // Announced before the second look: either that sees the room that a pop has made, or the pop sees the announcement.
        self.state.fetch_or(AWAITED, Ordering::AcqRel);
        match self.try_push(bytes) {
            Ok(()) => Pushed::Taken,
            Err(bytes) => Pushed::Full(bytes),
        }
    }

    fn try_push(&self, mut bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        // Counted first: what is popped has been counted. A change, as it is on the other side, and no mere look, which could be at what
        // has long been popped.
        let len = bytes.len();
        if self.bytes.fetch_add(len, Ordering::AcqRel) < self.bytes_max {
            match self.pieces.push(bytes) {
                Ok(()) => return Ok(()),
                Err(refused) => bytes = refused,
            }
        }
        self.bytes.fetch_sub(len, Ordering::AcqRel);
        Err(bytes)
    }

    /// Takes the oldest piece. One thread pops.
    pub fn pop(&self) -> Popped {
        // What was pushed before the close is there once the close is seen.
        let closed = self.is_closed();
        let popped = self.pieces.pop();
        let Some(bytes) = popped else { return if closed { Popped::Closed } else { Popped::Nothing } };
        self.bytes.fetch_sub(bytes.len(), Ordering::AcqRel);
        let awaited = self.state.fetch_and(!AWAITED, Ordering::AcqRel) & AWAITED != 0;
        Popped::Bytes { bytes, awaited }
    }

    /// From now on nothing is pushed; what is in it can still be popped.
    pub fn close(&self) {
        self.state.fetch_or(CLOSED, Ordering::AcqRel);
    }

    fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(relay: &Relay) -> (Vec<u8>, bool) {
        match relay.pop() {
            Popped::Bytes { bytes, awaited } => (bytes, awaited),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_full_by_pieces_or_bytes_and_says_once_that_room_is_awaited() {
        for (relay, first, second) in [(Relay::new(2, 100), 1, 1), (Relay::new(9, 6), 5, 5)] {
            assert_eq!(relay.push(vec![1; first]), Pushed::Taken);
            assert_eq!(relay.push(vec![2; second]), Pushed::Taken);
            assert_eq!(relay.push(vec![3]), Pushed::Full(vec![3]));
            assert_eq!(popped(&relay), (vec![1; first], true));
            assert_eq!(relay.push(vec![3]), Pushed::Taken);
            assert_eq!(popped(&relay), (vec![2; second], false));
            assert_eq!(popped(&relay), (vec![3], false));
            assert_eq!(relay.pop(), Popped::Nothing);
        }
    }

    #[test]
    fn what_was_pushed_before_the_close_comes_out() {
        let relay = Relay::new(2, 100);
        assert_eq!(relay.push(vec![1]), Pushed::Taken);
        relay.close();
        assert_eq!(relay.push(vec![2]), Pushed::Closed(vec![2]));
        assert_eq!(popped(&relay), (vec![1], false));
        assert_eq!(relay.pop(), Popped::Closed);
    }

    #[test]
    fn pieces_of_one_thread_come_to_another_in_order() {
        let relay = Relay::new(4, 64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..20_000_u32 {
                    let mut bytes = number.to_le_bytes().to_vec();
                    while let Pushed::Full(again) = relay.push(bytes) {
                        bytes = again;
                        std::thread::yield_now();
                    }
                }
                relay.close();
            });
            let mut next = 0_u32;
            loop {
                match relay.pop() {
                    Popped::Bytes { bytes, .. } => {
                        assert_eq!(bytes, next.to_le_bytes());
                        next += 1;
                    }
                    Popped::Nothing => std::thread::yield_now(),
                    Popped::Closed => break,
                }
            }
            assert_eq!(next, 20_000);
        });
    }
}
