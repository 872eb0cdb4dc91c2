use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::sync::{Mutex, OnceLock, Thread, current, park};

/// A value that comes once, from another thread, and that any number of tasks wait for.
///
/// One cell serves a whole batch of appends, so that an append costs a reference count and no allocation.
#[derive(Debug)]
pub struct Completion<T> {
    value: OnceLock<T>,
    waiting: Mutex<Vec<Waker>>,
}

impl<T> Default for Completion<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), waiting: Mutex::default() }
    }
}

impl<T: Clone> Completion<T> {
    /// Sets the value and wakes all who wait.
    ///
    /// # Panics
    /// When it was set before: an operation ends once.
    pub fn complete(&self, value: T) {
        self.complete_quietly(value).into_iter().for_each(Waker::wake);
    }

    /// Sets the value, and leaves it to the caller to wake all who wait: once for many values, instead of once for each.
    ///
    /// # Panics
    /// As [`Completion::complete`].
    #[must_use = "whoever waits has to be woken"]
    pub fn complete_quietly(&self, value: T) -> Vec<Waker> {
        assert!(self.value.set(value).is_ok(), "an operation ends once");
        // Whoever registers after this has the lock after us, and finds the value when it looks again.
        std::mem::take(&mut *self.waiting.lock().expect("no panic while locked"))
    }

    /// The value, if it has come.
    pub fn get(&self) -> Option<T> {
        self.value.get().cloned()
    }

    /// The value; else the task is woken when it comes.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.get() {
            return Poll::Ready(value);
        }
        let mut waiting = self.waiting.lock().expect("no panic while locked");
        if let Some(value) = self.get() {
            return Poll::Ready(value);
        }
        // A task that polls again and again, or that waits for many appends of one batch, registers once.
        if !waiting.last().is_some_and(|last| last.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Blocks the thread until the value has come.
    pub fn wait(&self) -> T {
        match self.get() {
            Some(value) => value,
            None => wait(std::future::poll_fn(|context| self.poll(context))),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread, parking in between: the blocking form of every operation, on no executor.
pub fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_waiting_thread_gets_the_value() {
        let completion = Arc::new(Completion::default());
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| completion.wait())).collect();
            completion.complete(7);
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == 7));
        });
        assert_eq!(completion.get(), Some(7));
    }

    #[test]
    #[should_panic(expected = "ends once")]
    fn a_second_value_is_refused() {
        let completion = Completion::default();
        completion.complete(1);
        completion.complete(2);
    }
}
