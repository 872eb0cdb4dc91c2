//! The generator's executor: which clients have something to do, told by wakers from other threads.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Clients that were woken since they were last taken, each once. Belongs to the thread that made it, which alone takes.
pub(super) struct ReadyQueue {
    state: Mutex<State>,
    owner: Thread,
}

struct State {
    queued: Vec<bool>,
    ready: Vec<usize>,
}

impl ReadyQueue {
    pub(super) fn new(clients: usize) -> Arc<Self> {
        let state = State { queued: vec![false; clients], ready: Vec::with_capacity(clients) };
        Arc::new(Self { state: Mutex::new(state), owner: thread::current() })
    }

    /// A waker that queues `client` and unparks the owner.
    pub(super) fn waker(self: &Arc<Self>, client: usize) -> Waker {
        Waker::from(Arc::new(ClientWaker { client, queue: Arc::clone(self) }))
    }

    /// Queues a client without unparking: for the owner itself.
    pub(super) fn push(&self, client: usize) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = !std::mem::replace(&mut state.queued[client], true);
        if fresh {
            state.ready.push(client);
        }
        fresh
    }

    /// Moves the queued clients to `into`, which is emptied first.
    pub(super) fn take(&self, into: &mut Vec<usize>) {
        into.clear();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.ready, into);
        for &client in into.iter() {
            state.queued[client] = false;
        }
    }

    /// Waits for a wake-up or `timeout`. A wake-up since the last `take` ends it at once, because unparking leaves a token.
    pub(super) fn park(&self, timeout: Duration) {
        thread::park_timeout(timeout);
    }
}

struct ClientWaker {
    client: usize,
    queue: Arc<ReadyQueue>,
}

impl Wake for ClientWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queue.push(self.client) {
            self.queue.owner.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_woken_often_is_taken_once() {
        let queue = ReadyQueue::new(3);
        let waker = queue.waker(2);
        waker.wake_by_ref();
        waker.wake();
        queue.push(0);
        let mut ready = vec![9];
        queue.take(&mut ready);
        assert_eq!(ready, [2, 0]);
        queue.take(&mut ready);
        assert!(ready.is_empty());
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let queue = ReadyQueue::new(1);
        let waker = queue.waker(0);
        let waking = thread::spawn(move || waker.wake());
        let mut ready = Vec::new();
        while ready.is_empty() {
            queue.park(Duration::from_secs(60));
            queue.take(&mut ready);
        }
        waking.join().unwrap();
        assert_eq!(ready, [0]);
    }
}
