use super::super::chain::Chain;
use super::super::contract::{ExtendOp, LogResult};
use super::super::extend::{Extend, Outcome, Step, Wish, Written};
use super::super::intent::{GivenUp, Intent, Wanted};
use super::machine::{Kind, Purpose, VirtualLog};
use super::trouble::reason;
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, NodeId, quorum};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::metastore::contract::MetaStoreResult;
use crate::wire::Member;

/// An extend under way.
#[derive(Clone, Hash, Debug)]
pub(super) struct Attempt {
    extend: Extend,
    /// Who has asked for it; nobody, when this client finishes what it has found begun.
    owner: Option<OpId>,
    /// Whether its step has been asked for.
    asked: bool,
    pub(super) deadline: Instant,
}

impl VirtualLog {
    /// Begins an extend that was asked for, unless another one is under way.
    pub(super) fn begin_wished(&mut self, id: OpId) {
        if self.attempt.is_some() {
            return;
        }
        let operation = self.operations.get(&id).expect("it waits");
        let Kind::Extend(op) = &operation.kind else { unreachable!("an extend") };
        let ExtendOp { replaces, wanted, intent } = &**op;
        let last = self.last().loglet.id();
        // L7: it was about another loglet. An own intent may be what has replaced it.
        let is_void = replaces.is_some_and(|replaces| replaces != last);
        if is_void && intent.is_none() {
            let chain = self.chain.clone().expect("asked only once there is a chain");
            return self.end(id, LogResult::Overtaken(Box::new(chain)));
        }
        let (deadline, intent, wanted) = (operation.deadline, intent.clone(), wanted.clone());
        if intent.is_none() && self.waits_for_pending(deadline) {
            return;
        }
        let wanted = wanted.or_else(|| self.clone_wanted());
        // Whoever answers first will do.
        let Some(wanted) = wanted else { return };
        self.mark_busy(id);
        self.begin(wanted, intent, Some(id), deadline);
    }

    /// Replaces a loglet that takes no appends, as its intent says or by a clone.
    pub(super) fn roll_forward(&mut self) {
        let since = self.trouble.as_ref().map_or(self.now, |trouble| trouble.since);
        if self.unanswered_intent().is_some() && self.now.since(since) >= self.limits.stall {
            return self.give_up_intent();
        }
        let pending = self.chain.as_ref().and_then(|chain| chain.intent.as_ref());
        let pending = pending.map(|intent| intent.wanted.clone());
        if let Some(wanted) = pending.or_else(|| self.clone_wanted()) {
            self.begin(wanted, None, None, self.now + self.limits.stall);
        }
    }

    /// What somebody has intended, where a node that is to be its sequencer does not answer, and that node.
    fn unanswered_intent(&self) -> Option<(&Intent, NodeId)> {
        let pending = self.chain.as_ref()?.intent.as_ref()?;
        let node = pending.wanted.sequencers().into_iter().find(|node| !self.hosts.contains_key(node))?;
        Some((pending, node))
    }

    /// What was intended cannot be done: its sequencer has not answered for long. Anything else is better than nothing (P15).
    fn give_up_intent(&mut self) {
        let Some((chain, (intent, node))) = self.chain.as_ref().zip(self.unanswered_intent()) else { return };
        let reason = format!("node {node}, which was to be the sequencer, does not answer");
        let next = chain.without_intent(GivenUp::new(intent.id, &reason)).expect("it is the one that is pending");
        if !self.is_asked(Purpose::Chain) {
            self.ask_metastore(Purpose::Chain, Some(&next));
        }
    }

    /// Whether a wish has to wait for the sequencer of an intent that comes before it: not for longer than `stall`.
    fn waits_for_pending(&mut self, deadline: Instant) -> bool {
        if self.unanswered_intent().is_none() {
            return false;
        }
        let rest = self.limits.operation_timeout.saturating_sub(self.limits.stall);
        let left = deadline.since(self.now);
        if left > rest {
            let again = self.now + (left - rest);
            self.look_at = Some(self.look_at.map_or(again, |at| at.min(again)));
        } else {
            self.give_up_intent();
        }
        true
    }

    fn begin(&mut self, wanted: Wanted, intent: Option<Intent>, owner: Option<OpId>, deadline: Instant) {
        let chain = self.chain.clone().expect("asked only once there is a chain");
        // An intent is about the loglet that its writer has seen, which may not be the last any more (P15).
        let replaces = intent.as_ref().map_or(chain.last().loglet.id(), |intent| intent.replaces);
        let wish = Wish { replaces, wanted, intent };
        let nonce = self.random(u64::MAX);
        let extend = Extend::new(chain, wish, nonce).with_spare(self.spare.take());
        self.attempt = Some(Attempt { extend, owner, asked: false, deadline });
        self.drive_attempt();
    }

    /// Takes the next steps, up to one that has to be waited for.
    pub(super) fn drive_attempt(&mut self) {
        while let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.asked) {
            let Some(step) = attempt.extend.step() else { return self.finish_attempt() };
            if let Step::Ask(nodes) = step {
                // All at once, as they are now: one that has answered long before the others may have begun another life.
                let hosts: Option<Vec<_>> = nodes.iter().map(|node| self.hosts.get(node)).collect();
                let answers = |member: &&Member| self.hosts.contains_key(&member.node);
                let has_majority = |members: &[Member]| members.iter().filter(answers).count() >= quorum(members.len());
                let Some(hosts) = hosts.filter(|_| attempt.extend.needs().all(has_majority)) else { return };
                hosts.into_iter().for_each(|host| attempt.extend.handle_host(*host));
                continue;
            }
            attempt.asked = true;
            match step {
                Step::Ask(_) => unreachable!("answered above"),
                Step::Prepare(loglet) => {
                    // While the loglet is made the log still takes appends: what can be done for the write is done now.
                    self.prepare_write();
                    self.create_loglet(&loglet, Purpose::Attempt(Some(loglet.id())));
                }
                Step::Seal(loglet) => {
                    self.ask_loglet(&loglet, Purpose::Attempt(Some(loglet.id())), LogletOp::Seal);
                }
                Step::CheckTail(loglet) => {
                    self.ask_loglet(&loglet, Purpose::Attempt(Some(loglet.id())), LogletOp::CheckTail);
                }
                Step::Write(chain) => self.ask_metastore(Purpose::Attempt(None), Some(&chain)),
                Step::Fetch => self.ask_metastore(Purpose::Attempt(None), None),
            }
        }
    }

    /// A loglet's answer to the step.
    pub(super) fn attempt_answered(&mut self, result: LogletResult) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.asked = false;
        let extend = &mut attempt.extend;
        match (extend.step(), result) {
            (Some(Step::Prepare(_)), LogletResult::Done) => extend.handle_prepared(),
            (Some(Step::Seal(_)), LogletResult::Sealed) => extend.handle_sealed(),
            (Some(Step::CheckTail(_)), LogletResult::Tail { tail, sealed })
                if sealed || mutants::is(Mutant::InstallWithoutSeal) =>
            {
                extend.handle_tail(tail);
            }
            (Some(Step::Prepare(_) | Step::Seal(_) | Step::CheckTail(_)), LogletResult::Gone)
                if extend.handle_gone() => {}
            (_, LogletResult::Unavailable { reason }) => return self.fail_attempt(reason),
            // Somebody has been faster: the chain says how it stands.
            (step, other) => {
                if matches!(step, Some(Step::Prepare(_))) {
                    extend.give_up_prepared();
                }
                let step = step.map_or_else(String::new, |step| format!(", {step}"));
                self.read_chain();
                return self.fail_attempt(format!("the extend{step}, had the answer {other:?}"));
            }
        }
        self.drive_attempt();
    }

    /// The MetaStore's answer to the step.
    pub(super) fn attempt_written(&mut self, result: MetaStoreResult) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.asked = false;
        let extend = &mut attempt.extend;
        let is_write = matches!(extend.step(), Some(Step::Write(_)));
        match result {
            MetaStoreResult::Written { .. } if is_write => extend.handle_written(Written::Done),
            MetaStoreResult::Unknown if is_write => extend.handle_written(Written::Unknown),
            MetaStoreResult::Conflict(newest) | MetaStoreResult::Value(newest) => {
                match Chain::from_json(&newest.value) {
                    Ok(chain) if is_write => extend.handle_written(Written::Conflict(chain)),
                    Ok(chain) => extend.handle_fetched(chain),
                    Err(error) => return self.fail_attempt(error.to_string()),
                }
                // Whoever is named there may have to be asked next.
                if let Err(reason) = self.learn(newest) {
                    return self.fail_attempt(reason);
                }
            }
            other => return self.fail_attempt(reason(other)),
        }
        self.drive_attempt();
    }

    fn finish_attempt(&mut self) {
        let Attempt { extend, owner, .. } = self.attempt.take().expect("it has just ended");
        let outcome = extend.outcome().expect("it has no further step").clone();
        let (chain, result) = match outcome {
            Outcome::Extended(chain) => {
                self.note_extend();
                (Some(chain.clone()), LogResult::Chain(Box::new(chain)))
            }
            Outcome::Overtaken(chain) => (Some(chain.clone()), LogResult::Overtaken(Box::new(chain))),
            Outcome::Pending(intent) => (None, LogResult::Pending(Box::new(intent))),
        };
        if let Some(chain) = chain {
            self.deletions.note_left_over(extend.left_over().cloned());
            if let Some(owner) = owner {
                self.end(owner, result);
            }
            self.adopt(chain);
        } else {
            self.keep_made(extend);
            if let Some(owner) = owner {
                self.end(owner, result);
            }
            self.read_chain();
        }
    }

    /// What an attempt has made is there for the next one. It cannot be deleted yet: whether a write of it is on its way nobody knows.
    fn keep_made(&mut self, extend: Extend) {
        let (spare, in_vain) = extend.into_made();
        self.spare = spare;
        self.deletions.note_left_over(in_vain);
        self.decide_left_over();
        self.delete_next();
    }

    /// The attempt is given up.
    pub(super) fn fail_attempt(&mut self, reason: String) {
        let Some(Attempt { owner, extend, .. }) = self.attempt.take() else { return };
        self.forget_attempt_requests();
        self.keep_made(extend);
        if let Some(trouble) = &mut self.trouble {
            trouble.failure = Some(reason.clone());
        }
        if let Some(owner) = owner {
            self.end(owner, LogResult::Unavailable { reason });
        }
        self.go_on_operations();
    }

    pub(super) fn expire_attempt(&mut self) {
        if self.attempt.as_ref().is_some_and(|attempt| attempt.deadline <= self.now) {
            let step = self.attempt.as_ref().and_then(|attempt| attempt.extend.step());
            let step = step.map_or_else(String::new, |step| format!(", {step}"));
            self.fail_attempt(format!("the extend took too long{step}"));
        }
    }
}
