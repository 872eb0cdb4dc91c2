use std::collections::BTreeMap;

use super::loglet::Trace;
use super::native::NativeClient;
use crate::base::{Instant, NodeId, Offset};
use crate::proto::loglet::{LogletResult, OpId};
use crate::proto::native::Went;
use crate::proto::striped::{Ask, Request, StripedLoglet};

/// A client of a StripedLoglet on the reactor: the core, and a client of each stripe.
pub(super) struct StripedClient {
    pub(super) core: StripedLoglet,
    pub(super) stripes: Vec<NativeClient>,
    /// Where the time of appends went that their stripe has acknowledged, and when, by stripe and first offset there.
    went: BTreeMap<(usize, Offset), (Went, Instant)>,
}

impl StripedClient {
    /// Appends go to the stripes that the node `near` sequences, if there are any: what it is near to. Each client has a `turn` of its own.
    pub(super) fn new(stripes: Vec<NativeClient>, near: Option<NodeId>, turn: u64) -> Self {
        let mut core = StripedLoglet::new(stripes.len());
        let sequences = |(_, stripe): &(usize, &NativeClient)| Some(stripe.core.config().sequencer.node) == near;
        let own: Vec<usize> = stripes.iter().enumerate().filter(sequences).map(|(stripe, _)| stripe).collect();
        if !own.is_empty() {
            core.set_near(own);
        }
        core.begin_at(turn);
        Self { core, stripes, went: BTreeMap::new() }
    }

    /// Carries out what the core asks of the stripes, and tells it what they answer, until nobody has anything to say.
    fn turn(&mut self, now: Instant) {
        loop {
            let mut moved = false;
            while let Some(Request { stripe, id, ask }) = self.core.poll_request() {
                moved = true;
                let stripe = &mut self.stripes[stripe].core;
                match ask {
                    Ask::Op(op) => stripe.handle_op(id, op, now),
                    Ask::Create => stripe.create(id, now),
                    Ask::Delete { chain_version, live } => stripe.delete(id, chain_version, live, now),
                }
            }
            for (index, stripe) in self.stripes.iter_mut().enumerate() {
                self.core.handle_known_tail(index, stripe.core.known_tail(), now);
                while let Some((id, result)) = stripe.core.poll_result() {
                    moved = true;
                    if let LogletResult::Appended { first, .. } = result
                        && let Some(went) = stripe.core.poll_residence(id)
                    {
                        self.went.insert((index, first), (went, now));
                    }
                    self.core.handle_result(index, id, result, now);
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn pass_time(&mut self, now: Instant) {
        self.stripes.iter_mut().for_each(|stripe| stripe.pass_time(now));
        if self.core.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            self.core.handle_timeout(now);
        }
        self.turn(now);
    }

    pub(super) fn poll_result(&mut self, now: Instant) -> Option<(OpId, LogletResult)> {
        self.turn(now);
        let ended = self.core.poll_result()?;
        // Of an append that was not acknowledged nobody asks where its time went.
        if let LogletResult::AppendSealed { first: Some(first), .. }
        | LogletResult::AppendNoSpace { first: Some(first), .. } = ended.1
        {
            self.went.remove(&self.core.layout().place(first));
        }
        Some(ended)
    }

    /// Where the time of the append went that begins at this offset.
    pub(super) fn take_trace(&mut self, first: Offset) -> Option<Trace> {
        let (stripe, first) = self.core.layout().place(first);
        let (went, heard) = self.went.remove(&(stripe, first))?;
        Some(Trace { stripe, first, went, heard })
    }
}
