//! The rules of a striped loglet, with stripes that answer what a test says.

mod append;
mod filler;
mod reading;
mod tail;

use std::time::Duration;

use super::{Ask, Request, StripedLoglet};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use crate::proto::testing::Owned;

/// A striped loglet, and what it has asked of its stripes.
struct Rig {
    core: StripedLoglet,
    now: Instant,
    asked: Vec<Request>,
}

impl Rig {
    fn new(stripes: usize) -> Self {
        let core = StripedLoglet::new(stripes);
        Self { core, now: Instant::from_nanos(1), asked: Vec::new() }
    }

    fn start(&mut self, id: u64, op: LogletOp) {
        self.core.handle_op(OpId(id), op, self.now);
        self.fetch();
    }

    fn append(&mut self, id: u64, payloads: &[&str]) {
        self.start(id, LogletOp::Append { records: records(payloads) });
    }

    fn fetch(&mut self) {
        self.asked.extend(std::iter::from_fn(|| self.core.poll_request()));
    }

    /// What was asked of a stripe and not answered, oldest first.
    fn ops(&self, stripe: usize) -> Vec<LogletOp> {
        let of = |request: &Request| match (&request.ask, request.stripe == stripe) {
            (Ask::Op(op), true) => Some(op.clone()),
            _ => None,
        };
        self.asked.iter().filter_map(of).collect()
    }

    /// Answers the oldest request to a stripe that is such an operation.
    fn answer(&mut self, stripe: usize, is_it: impl Fn(&LogletOp) -> bool, result: LogletResult) {
        let is_asked = |request: &Request| request.stripe == stripe && matches!(&request.ask, Ask::Op(op) if is_it(op));
        let at = self.asked.iter().position(is_asked).expect("it was asked");
        let Request { id, ask, .. } = self.asked[at].clone();
        if !matches!(ask, Ask::Op(LogletOp::Subscribe { .. })) {
            self.asked.remove(at);
        }
        self.core.handle_result(stripe, id, result, self.now);
        self.fetch();
    }

    /// A stripe acknowledges its oldest append at `first`.
    fn acknowledge(&mut self, stripe: usize, first: u64) {
        let is_append = |op: &LogletOp| matches!(op, LogletOp::Append { .. });
        let op = self.ops(stripe).into_iter().find(is_append);
        let Some(LogletOp::Append { records }) = op else { panic!("nothing is appended to stripe {stripe}") };
        self.answer(stripe, is_append, LogletResult::Appended { first: Offset(first), stride: 1, records });
    }

    fn known(&mut self, stripe: usize, tail: u64) {
        self.core.handle_known_tail(stripe, Offset(tail), self.now);
        self.fetch();
    }

    fn pass_time(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.core.poll_timeout().filter(|(at, _)| *at <= end) {
            assert!(at > self.now || self.now == end, "no timer is due twice");
            self.now = at.max(self.now);
            self.core.handle_timeout(self.now);
            self.fetch();
        }
        self.now = end;
        self.core.handle_timeout(self.now);
        self.fetch();
    }

    fn results(&mut self) -> Vec<(u64, LogletResult)> {
        std::iter::from_fn(|| self.core.poll_result()).map(|(id, result)| (id.0, result)).collect()
    }

    /// How far each stripe is asked to fill itself, by fillers that were not answered.
    fn fillers(&self) -> Vec<Option<u64>> {
        let filler = |stripe| {
            self.ops(stripe).into_iter().find_map(|op| match op {
                LogletOp::FillTo { offset } => Some(offset.0),
                _ => None,
            })
        };
        (0..self.core.layout().stripes()).map(filler).collect()
    }
}

fn records(payloads: &[&str]) -> Records {
    let Owned { count, bytes } = Owned::of(payloads);
    Records { count, bytes }
}

fn appended(first: u64, stride: u32, payloads: &[&str]) -> LogletResult {
    LogletResult::Appended { first: Offset(first), stride, records: records(payloads) }
}

fn sealed_at(first: u64, stride: u32, payloads: &[&str]) -> LogletResult {
    LogletResult::AppendSealed { first: Some(Offset(first)), stride, records: records(payloads) }
}

fn tail(tail: u64, sealed: bool) -> LogletResult {
    LogletResult::Tail { tail: Offset(tail), sealed }
}

fn is_fill(op: &LogletOp) -> bool {
    matches!(op, LogletOp::FillTo { .. })
}

fn filled(known_tail: u64, placed: u64) -> LogletResult {
    LogletResult::Filled { known_tail: Offset(known_tail), placed }
}
