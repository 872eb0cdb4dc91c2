use super::super::chain::Chain;
use super::super::contract::LogResult;
use super::machine::{Kind, Purpose, VirtualLog};
use super::trouble::Sign;
use crate::base::{LogPos, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::metastore::contract::MetaStoreResult;

/// A trim, and how far it has come.
#[derive(Clone, Hash, Debug)]
pub(super) struct Trim {
    point: LogPos,
    step: Step,
    /// The version that is being written.
    written: Option<Chain>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    /// The point is clipped to a tail (P3).
    Clip,
    /// The chain says it first: from then on nobody may count on what is below.
    Write,
    /// Segments wholly below leave the chain, and then their loglets go (P5, P7).
    Truncate,
    /// The segment that the point lies in is trimmed.
    Loglet,
    /// All is trimmed; loglets are still being deleted, which nobody else does if this client ends.
    Deletions,
}

impl Trim {
    pub(super) fn new(point: LogPos) -> Self {
        Self { point, step: Step::Clip, written: None }
    }
}

impl VirtualLog {
    fn trim(&mut self, id: OpId) -> &mut Trim {
        match self.operations.get_mut(&id).map(|operation| &mut operation.kind) {
            Some(Kind::Trim(trim)) => trim,
            other => unreachable!("a trim in progress, not {other:?}"),
        }
    }

    pub(super) fn trim_on(&mut self, id: OpId) {
        let Trim { point, step, .. } = *self.trim(id);
        let chain = self.chain.clone().expect("asked only once there is a chain");
        match step {
            Step::Clip if point <= chain.last().start + self.committed.0 => self.trim_next(id, Step::Write),
            Step::Clip => self.ask_tail(id),
            Step::Write => match chain.trimmed(point) {
                Some(next) => self.trim_write(id, next),
                None => self.trim_next(id, Step::Truncate),
            },
            Step::Truncate => match chain.truncated() {
                Some((next, _)) => self.trim_write(id, next),
                None => self.trim_next(id, Step::Loglet),
            },
            Step::Loglet => {
                let segment = chain.locate(chain.trim_point).filter(|place| place.offset > Offset::ZERO);
                let Some(place) = segment else { return self.trim_next(id, Step::Deletions) };
                let loglet = chain.segments[place.segment].loglet.clone();
                let committed = place.stop.unwrap_or(self.committed).max(place.offset);
                let op = LogletOp::Trim { point: place.offset, committed };
                self.ask_loglet(&loglet, Purpose::Operation(id, Some(loglet.id())), op);
                self.mark_busy(id);
            }
            Step::Deletions if self.deletions.is_empty() => {
                let done = self.trimmed(id).expect("it is at its last step");
                self.end(id, done);
            }
            Step::Deletions => {}
        }
    }

    fn trim_next(&mut self, id: OpId, step: Step) {
        self.trim(id).step = step;
        self.trim_on(id);
    }

    fn trim_write(&mut self, id: OpId, next: Chain) {
        self.ask_metastore(Purpose::Operation(id, None), Some(&next));
        self.trim(id).written = Some(next);
        self.mark_busy(id);
    }

    /// The answer to a write of the chain.
    pub(super) fn trim_written(&mut self, id: OpId, result: MetaStoreResult) {
        let written = self.trim(id).written.take().expect("a version was being written");
        match result {
            MetaStoreResult::Written { .. } => {
                let before = self.chain.iter().flat_map(|before| &before.segments).map(|segment| &segment.loglet);
                let gone: Vec<_> = before.filter(|loglet| written.segment_of(loglet.id()).is_none()).cloned().collect();
                // Before the trim goes on, which waits for them.
                self.deletions.plan(gone);
                self.adopt(written);
                self.delete_next();
            }
            // Adopting what it says goes on with the same step.
            other => self.chain_not_written(id, other),
        }
    }

    /// The answer of a loglet: its tail, or that it is trimmed.
    pub(super) fn trim_answered(&mut self, id: OpId, loglet: LogletId, result: LogletResult) {
        match result {
            LogletResult::Tail { tail, sealed: false } => {
                self.raise_committed(loglet, tail);
                if let Some(end) = self.position_at_end(loglet, tail) {
                    let trim = self.trim(id);
                    trim.point = trim.point.min(end);
                    trim.step = Step::Write;
                }
                self.trim_on(id);
            }
            LogletResult::Tail { sealed: true, .. } => {
                self.suspect(loglet, Sign::Sealed);
                self.trim_on(id);
            }
            LogletResult::Gone => {
                self.suspect_gone(loglet);
            }
            LogletResult::TrimDone { .. } => self.trim_next(id, Step::Deletions),
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => unreachable!("no result of a trim: {other:?}"),
        }
    }

    /// The result of a trim that has only deletions to wait for; none of any other operation.
    pub(super) fn trimmed(&self, id: OpId) -> Option<LogResult> {
        match self.operations.get(&id)?.kind {
            Kind::Trim(Trim { step: Step::Deletions, .. }) => {
                let trim_point = self.chain.as_ref().expect("it was written").trim_point;
                Some(LogResult::TrimDone { trim_point })
            }
            _ => None,
        }
    }
}
