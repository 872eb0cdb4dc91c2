use super::super::chain::Chain;
use super::super::contract::{LogResult, Request};
use super::machine::{Kind, Purpose, VirtualLog};
use crate::base::LogletId;
use crate::base::mutants::{self, Mutant};
use crate::proto::loglet::{LogletResult, OpId};
use crate::proto::metastore::contract::MetaStoreResult;
use crate::wire::{LogletConfig, Member};

/// A change of the LogServers of a closed segment, or of one of its stripes, and how far it has come (P7).
#[derive(Clone, Hash, Debug)]
pub(super) struct Modify {
    loglet: LogletId,
    log_servers: Vec<Member>,
    /// The LogServers that the segment had when all of it was copied to those that are new.
    copied: Option<Vec<Member>>,
    /// Those that it had when the copying began.
    base: Option<Vec<Member>>,
    /// The version that is being written.
    written: Option<Chain>,
}

impl Modify {
    pub(super) fn new(loglet: LogletId, log_servers: Vec<Member>) -> Self {
        Self { loglet, log_servers, copied: None, base: None, written: None }
    }
}

/// The members of `all` that `some` do not have.
fn without(all: &[Member], some: &[Member]) -> Vec<Member> {
    all.iter().filter(|member| some.iter().all(|other| other.node != member.node)).copied().collect()
}

impl VirtualLog {
    fn modify(&mut self, id: OpId) -> &mut Modify {
        match self.operations.get_mut(&id).map(|operation| &mut operation.kind) {
            Some(Kind::Modify(modify)) => modify,
            other => unreachable!("a change of LogServers in progress, not {other:?}"),
        }
    }

    pub(super) fn modify_on(&mut self, id: OpId) {
        let Modify { loglet, log_servers, copied, .. } = self.modify(id).clone();
        let chain = self.chain.clone().expect("asked only once there is a chain");
        let refuse = |reason: String| LogResult::Unavailable { reason };
        let Some((segment, stripe)) = chain.stripe_of(loglet) else {
            return self.end(id, refuse(format!("loglet {loglet} is not in the chain any more")));
        };
        let segment = &chain.segments[segment];
        let config = &segment.loglet.stripes()[stripe];
        let present = &config.log_servers;
        let new = without(&log_servers, present);
        // Somebody may have changed the segment meanwhile, and one that had a copy may have been told to give it up.
        let copied = copied.as_ref() == Some(present);
        if *present == log_servers {
            return self.end(id, LogResult::Chain(Box::new(chain)));
        }
        if log_servers.len() < present.len() || new.len() == log_servers.len() {
            let reason = "a segment keeps as many LogServers as it has, and one of them at least";
            return self.end(id, refuse(reason.to_owned()));
        }
        let changed = LogletConfig { log_servers: log_servers.clone(), ..config.clone() };
        let (stop, next) = match (segment.stripe_stop(stripe), chain.modified(changed.clone())) {
            (Some(stop), Ok(next)) => (stop, next),
            (_, Err(refusal)) => return self.end(id, refuse(refusal.to_string())),
            (None, Ok(next)) if mutants::is(Mutant::ModifyOpenSegment) => {
                (segment.loglet.layout().below(stripe, self.committed), next)
            }
            (None, Ok(_)) => unreachable!("the last segment is not modified"),
        };
        let segment_servers = present.clone();
        self.mark_busy(id);
        if copied {
            self.modify(id).written = Some(next.clone());
            return self.ask_metastore(Purpose::Operation(id, None), Some(&next));
        }
        let is_new = |member: &Member| new.iter().any(|other| other.node == member.node);
        let targets = (0..log_servers.len()).filter(|index| is_new(&log_servers[*index])).collect();
        self.modify(id).base = Some(segment_servers);
        let request = self.next_request(Purpose::Operation(id, Some(loglet)));
        self.request(Request::Restore { id: request, config: Box::new(changed), stop, targets });
    }

    pub(super) fn copies_made(&mut self, id: OpId, result: LogletResult) {
        match result {
            LogletResult::Done => {
                let modify = self.modify(id);
                modify.copied = modify.base.take();
                self.modify_on(id);
            }
            LogletResult::Unavailable { reason } => self.end(id, LogResult::Unavailable { reason }),
            other => {
                let reason = format!("the copies could not be made: {other:?}");
                self.end(id, LogResult::Unavailable { reason });
            }
        }
    }

    /// The answer to the write of the chain.
    pub(super) fn modified_written(&mut self, id: OpId, result: MetaStoreResult) {
        let written = self.modify(id).written.take().expect("a version was being written");
        match result {
            MetaStoreResult::Written { .. } => {
                let before = self.chain.clone();
                let loglet = self.modify(id).loglet;
                self.adopt(written);
                self.remove_copies(before.as_ref(), loglet);
            }
            // Adopting what it says goes on: with the write if the segment is as it was, or with the end.
            other => self.chain_not_written(id, other),
        }
    }

    /// Those that the segment does not have any more give it up.
    fn remove_copies(&mut self, before: Option<&Chain>, loglet: LogletId) {
        let chain = self.chain.clone().expect("just adopted");
        let of = |chain: &Chain| {
            let (segment, stripe) = chain.stripe_of(loglet)?;
            Some(chain.segments[segment].loglet.stripes()[stripe].clone())
        };
        let (Some(old), Some(new)) = (before.and_then(of), of(&chain)) else { return };
        let log_servers = without(&old.log_servers, &new.log_servers);
        if log_servers.is_empty() {
            return;
        }
        let live = chain.live().into_iter().filter(|id| *id != loglet).collect();
        let id = self.next_request(Purpose::Deletion(loglet));
        let config = LogletConfig { log_servers, ..old };
        self.request(Request::Remove { id, config: Box::new(config), chain_version: chain.version, live });
    }
}
