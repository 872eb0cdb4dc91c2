//! A queue from one thread to those that work for it.

use std::collections::VecDeque;

use super::sync::{Condvar, Mutex, MutexGuard};

/// A queue whose workers sleep while it is empty.
///
/// They sleep at once: queues that spin or yield first are made for work that comes every microsecond, and take the processor
/// from whoever is to bring the work when it does not.
#[derive(Debug)]
pub struct WorkQueue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Workers asleep, less those that have been woken and have not run yet.
    asleep: usize,
    closed: bool,
}

impl<T> WorkQueue<T> {
    /// A queue that allocates only when it holds more than `items` items.
    pub fn with_capacity(items: usize) -> Self {
        let state = State { items: VecDeque::with_capacity(items), asleep: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Leaves an item, and wakes a worker if one is asleep.
    pub fn push(&self, item: T) {
        let mut state = self.lock();
        state.items.push_back(item);
        let wakes = state.asleep > 0;
        state.asleep -= usize::from(wakes);
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// The oldest item; waits for one. `None` when the queue is closed.
    pub fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            state.asleep += 1;
            state = self.filled.wait(state).expect("no panic while locked");
        }
    }

    /// The oldest item, if there is one.
    pub fn try_pop(&self) -> Option<T> {
        self.lock().items.pop_front()
    }

    /// Ends the workers after what each of them is doing, and drops what nobody has taken.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        self.filled.notify_all();
        drop(items);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no panic while locked")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::WorkQueue;

    #[test]
    fn every_item_is_taken_once_by_any_number_of_workers() {
        let queue = Arc::new(WorkQueue::with_capacity(4));
        let (done, results) = channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (queue, done) = (queue.clone(), done.clone());
                scope.spawn(move || std::iter::from_fn(|| queue.pop()).for_each(|item| done.send(item).unwrap()));
            }
            // Some come while workers are busy, and some while all of them are asleep.
            for item in 0..1000 {
                queue.push(item);
                if item % 100 == 0 {
                    assert!(results.recv().unwrap() <= item);
                }
            }
            let mut rest: Vec<i32> = (0..990).map(|_| results.recv().unwrap()).collect();
            rest.sort_unstable();
            rest.dedup();
            assert_eq!(rest.len(), 990);
            queue.close();
        });
    }

    #[test]
    fn a_closed_queue_forgets_what_nobody_has_taken() {
        let queue = WorkQueue::with_capacity(1);
        let item = Arc::new(());
        queue.push(item.clone());
        queue.close();
        assert_eq!(queue.pop(), None);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
