//! A connection inside one process: bytes in memory, in order, both ways.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

/// Bytes on their way in one direction beyond which a sender waits.
const BYTES_MAX: usize = 1 << 20;

/// One of the two ends; the connection is over when one of them is dropped.
#[derive(Debug)]
pub struct PipeEnd {
    out: Arc<Half>,
    into: Arc<Half>,
}

/// One direction.
#[derive(Debug, Default)]
struct Half(Mutex<Flow>);

#[derive(Debug, Default)]
struct Flow {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    closed: bool,
    /// A sender waits for room.
    awaited: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What has become of bytes to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    Taken,
    /// There is no room; the writer is woken when there is.
    Full,
    /// Nobody reads any more.
    Closed,
}

/// What there is to receive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    Bytes(Vec<u8>),
    /// Nothing now; the reader is woken when there is something.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Half {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.0.lock().expect("no panic while locked")
    }

    fn close(&self) {
        let mut flow = self.flow();
        flow.closed = true;
        let wakers = [flow.reader.take(), flow.writer.take()];
        drop(flow);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A connection's two ends.
pub(super) fn pipe() -> (PipeEnd, PipeEnd) {
    let (forth, back) = (Arc::<Half>::default(), Arc::<Half>::default());
    (PipeEnd { out: forth.clone(), into: back.clone() }, PipeEnd { out: back, into: forth })
}

impl PipeEnd {
    /// From now on this wakes whoever has the end.
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.out.flow().writer = Some(waker.clone());
        self.into.flow().reader = Some(waker.clone());
    }

    pub(super) fn push(&self, bytes: &[u8]) -> Pushed {
        let mut flow = self.out.flow();
        if flow.closed {
            return Pushed::Closed;
        }
        if flow.bytes >= BYTES_MAX {
            flow.awaited = true;
            return Pushed::Full;
        }
        flow.bytes += bytes.len();
        flow.chunks.push_back(bytes.to_vec());
        let reader = flow.reader.clone();
        drop(flow);
        reader.iter().for_each(Waker::wake_by_ref);
        Pushed::Taken
    }

    pub(super) fn pull(&self) -> Pulled {
        let mut flow = self.into.flow();
        let Some(chunk) = flow.chunks.pop_front() else {
            return if flow.closed { Pulled::Closed } else { Pulled::Nothing };
        };
        flow.bytes -= chunk.len();
        let writer = (flow.bytes < BYTES_MAX && std::mem::take(&mut flow.awaited)).then(|| flow.writer.clone());
        drop(flow);
        writer.flatten().iter().for_each(Waker::wake_by_ref);
        Pulled::Bytes(chunk)
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

    #[test]
    fn bytes_come_in_order_and_after_the_end_of_the_sender() {
        let (near, far) = pipe();
        assert_eq!(far.pull(), Pulled::Nothing);
        assert_eq!([near.push(b"one"), near.push(b"two")], [Pushed::Taken; 2]);
        assert_eq!(far.push(b"three"), Pushed::Taken);
        assert_eq!(near.pull(), Pulled::Bytes(b"three".to_vec()));
        drop(near);
        assert_eq!(far.pull(), Pulled::Bytes(b"one".to_vec()));
        assert_eq!(far.pull(), Pulled::Bytes(b"two".to_vec()));
        assert_eq!((far.pull(), far.push(b"late")), (Pulled::Closed, Pushed::Closed));
    }

    #[test]
    fn a_full_pipe_takes_nothing_until_something_is_taken_out() {
        let (near, far) = pipe();
        let chunk = vec![7; BYTES_MAX / 2];
        assert_eq!([near.push(&chunk), near.push(&chunk)], [Pushed::Taken; 2]);
        assert_eq!(near.push(b"more"), Pushed::Full);
        assert_eq!(far.pull(), Pulled::Bytes(chunk));
        assert_eq!(near.push(b"more"), Pushed::Taken);
    }
}
