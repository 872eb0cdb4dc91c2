//! The baseline of one owner: a thread that has the state for itself, and that everybody else asks over a channel.

use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::contention::Shared;

/// A thread that answers questions out of a number that only it has.
pub(crate) struct Owner {
    questions: Option<Sender<(u64, Sender<u64>)>>,
    thread: Option<JoinHandle<()>>,
    ask: u64,
}

impl Owner {
    /// Its number begins at 0; `answer` is given it and what was asked. Everybody asks `ask`.
    pub(crate) fn new(ask: u64, answer: impl Fn(&mut u64, u64) -> u64 + Send + 'static) -> Self {
        let (questions, asked): (_, Receiver<(u64, Sender<u64>)>) = unbounded();
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            for (question, reply) in asked {
                // Whoever asked waits.
                reply.send(answer(&mut number, question)).expect("the asker waits");
            }
        });
        Self { questions: Some(questions), thread: Some(thread), ask }
    }
}

impl Shared for Owner {
    fn user(&self) -> Box<dyn FnMut() -> u64 + Send + '_> {
        let questions = self.questions.clone().expect("open until the end");
        let (reply, answers) = bounded(1);
        let ask = self.ask;
        Box::new(move || {
            questions.send((ask, reply.clone())).expect("the owner runs");
            answers.recv().expect("the owner answers")
        })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the owner ends with its questions");
        }
    }
}
