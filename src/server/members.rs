use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::NodeIdentity;
use crate::base::{Instant, Limits, LogletId, NodeId};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent, Traffic};
use crate::wire::{Member, Message, Role};

/// A link is closed when it has not been used for so many rounds: longer than a member may take for an answer.
const UNUSED_ROUNDS_MAX: u32 = 10;

/// What came over a link to another member.
pub(super) enum MemberEvent<'a> {
    Message(Message<'a>),
    Down,
}

/// Links to other LogServers, from which this one fetches what it lacks: one for each member and loglet, because the loglet
/// routes the connection to its home shard.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// By numbers that are not used twice.
    links: BTreeMap<usize, MemberLink>,
    next: usize,
    by_key: BTreeMap<(NodeId, LogletId), usize>,
    closed: bool,
}

#[derive(Debug)]
struct MemberLink {
    node: NodeId,
    loglet: LogletId,
    /// How often idle links were looked for since something was asked or answered.
    unused_rounds: u32,
    link: Link,
    /// Requests that wait for the link to come up. The core has few in flight, so this stays short.
    waiting: VecDeque<Message<'static>>,
}

impl Members {
    pub(super) fn send(&mut self, to: Member, message: Message<'static>, identity: &NodeIdentity, limits: &Limits) {
        let (Message::Read { loglet, .. } | Message::CheckTail { loglet, .. }) = message else {
            unreachable!("a LogServer asks others for tails and records only")
        };
        if self.closed {
            return;
        }
        let index = *self.by_key.entry((to.node, loglet)).or_insert(self.next);
        if index == self.next {
            self.next += 1;
            let hello = identity.hello(Role::LogServer, loglet);
            let link = Link::new(to.address, hello, Some(to.node), limits);
            let member = MemberLink { node: to.node, loglet, unused_rounds: 0, link, waiting: VecDeque::new() };
            self.links.insert(index, member);
        }
        let member = self.links.get_mut(&index).expect("just made, if it was not there");
        member.unused_rounds = 0;
        member.link.set_wanted(true);
        match member.link.connection() {
            Some(connection) => connection.send(&message),
            None => member.waiting.push_back(message),
        }
    }

    /// Takes in an outcome; tells what it means for the core.
    pub(super) fn handle(
        &mut self,
        index: usize,
        outcome: Outcome,
        bytes: &[u8],
        now: Instant,
        mut on_event: impl FnMut(NodeId, MemberEvent<'_>),
    ) {
        let member = self.links.get_mut(&index).expect("a link stays until it is idle");
        let MemberLink { node, link, waiting, unused_rounds, .. } = member;
        *unused_rounds = 0;
        let mut up = false;
        let mut down = false;
        link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Open => {}
            LinkEvent::Up(_) => up = true,
            LinkEvent::Message(message) => on_event(*node, MemberEvent::Message(message)),
            LinkEvent::Down(reason) => {
                tracing::debug!(%node, %reason, "lost the connection to a member");
                down = true;
            }
        });
        if up && let Some(connection) = link.connection() {
            waiting.drain(..).for_each(|message| connection.send(&message));
        }
        if down {
            // The core asks again, perhaps somebody else; until then the link stays down.
            waiting.clear();
            link.set_wanted(false);
            on_event(*node, MemberEvent::Down);
        }
    }

    /// The next operation of any link.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, Op)> {
        self.links.iter_mut().find_map(|(index, member)| Some((*index, member.link.poll_op(now)?)))
    }

    pub(super) fn take_traffic(&mut self) -> Traffic {
        self.links.iter_mut().fold(Traffic::default(), |mut sum, member| {
            sum.add(member.1.link.take_traffic());
            sum
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.links.values().filter_map(|member| member.link.poll_timeout()).min()
    }

    /// Closes the links that have not been used for some rounds of this, and frees those that are closed. Returns whether there are any
    /// left.
    pub(super) fn release_idle(&mut self) -> bool {
        let Self { links, by_key, .. } = self;
        links.retain(|_, member| {
            member.unused_rounds += 1;
            let unused = member.unused_rounds > UNUSED_ROUNDS_MAX && member.waiting.is_empty();
            if unused {
                member.link.set_wanted(false);
            }
            let stays = !unused || !member.link.is_idle();
            if !stays {
                by_key.remove(&(member.node, member.loglet));
            }
            stays
        });
        !self.links.is_empty()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.links.values_mut().for_each(|member| member.link.set_wanted(false));
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.links.values().all(|member| member.link.is_at_rest())
    }
}
