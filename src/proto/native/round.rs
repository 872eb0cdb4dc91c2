use super::link::{Connection, Key, Shared};
use super::step::Context;
use crate::base::Instant;
use crate::wire::Message;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Slot {
    Idle,
    Asked,
    Answered,
}

/// One question to all LogServers, asked again on every new connection until answered.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Round {
    slots: Vec<Slot>,
}

impl Round {
    pub(super) fn new(servers: usize) -> Self {
        Self { slots: vec![Slot::Idle; servers] }
    }

    /// Asks every ready LogServer that `wanted` names and that has not been asked.
    pub(super) fn ask(
        &mut self,
        shared: &mut Shared,
        key: Key,
        wanted: impl Fn(usize) -> bool,
        message: impl Fn(u64) -> Message<'static>,
    ) {
        assert_eq!(self.slots.len(), shared.servers());
        for (server, slot) in self.slots.iter_mut().enumerate() {
            if *slot == Slot::Idle && wanted(server) && shared.links[server].ready() {
                shared.ask(server, key, &message);
                *slot = Slot::Asked;
            }
        }
    }

    /// Whether this link is one of the LogServers asked.
    pub(super) fn is_for(&self, link: usize) -> bool {
        link < self.slots.len()
    }

    pub(super) fn settle(&mut self, server: usize) {
        self.slots[server] = Slot::Answered;
    }

    /// The question to this LogServer has no answer to wait for.
    pub(super) fn lost(&mut self, server: usize) {
        if self.slots[server] == Slot::Asked {
            self.slots[server] = Slot::Idle;
        }
    }

    pub(super) fn answered(&self) -> usize {
        self.slots.iter().filter(|slot| **slot == Slot::Answered).count()
    }

    /// How many have refused what they were asked last.
    pub(super) fn refused(&self, shared: &Shared) -> usize {
        let refuses =
            |(server, slot): &(usize, &Slot)| **slot != Slot::Answered && shared.links[*server].refusal.is_some();
        self.slots.iter().enumerate().filter(refuses).count()
    }

    fn waits_for_a_connected_one(&self, shared: &Shared) -> bool {
        let up = |server: usize| shared.links[server].connection == Connection::Up;
        self.slots.iter().enumerate().any(|(server, slot)| *slot != Slot::Answered && up(server))
    }

    /// Who has not answered and why, for people.
    pub(super) fn missing(&self, shared: &Shared) -> String {
        let mut text = format!("{} of {} LogServers answered", self.answered(), self.slots.len());
        for (server, _) in self.slots.iter().enumerate().filter(|(_, slot)| **slot != Slot::Answered) {
            text.push_str(&format!("; {} {}", server_name(shared, server), why_silent(shared, server)));
        }
        text
    }
}

/// A LogServer as people know it.
pub(super) fn server_name(shared: &Shared, server: usize) -> String {
    let member = &shared.config.log_servers[server];
    format!("LogServer {server} at {}", member.address)
}

/// Why nothing is heard from a peer.
pub(super) fn why_silent(shared: &Shared, link: usize) -> String {
    let link = &shared.links[link];
    match (&link.refusal, link.connection) {
        (_, Connection::Unknown | Connection::Down) => "is not connected".to_owned(),
        (Some(refusal), Connection::Up) => format!("refused: {refusal}"),
        (None, Connection::Up) => "has not answered".to_owned(),
    }
}

/// A round that wants a majority and takes every other LogServer that can be reached, without waiting long for it.
#[derive(Clone, Hash, Debug)]
pub(super) struct Broadcast {
    pub(super) round: Round,
    majority_since: Option<Instant>,
}

impl Broadcast {
    pub(super) fn new(servers: usize) -> Self {
        Self { round: Round::new(servers), majority_since: None }
    }

    /// Whether a majority has answered, and everybody else too or the rest cannot be waited for.
    pub(super) fn is_complete(&mut self, context: &Context<'_>) -> bool {
        if self.round.answered() < context.shared.quorum() {
            return false;
        }
        let since = *self.majority_since.get_or_insert(context.now);
        !self.round.waits_for_a_connected_one(context.shared) || context.now.since(since) >= context.shared.limits.stall
    }

    pub(super) fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        let since = self.majority_since?;
        Some((since + shared.limits.stall, "loglet: a slow LogServer is not waited for any longer"))
    }
}
