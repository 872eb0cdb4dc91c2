use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::NodeIdentity;
use crate::base::{Instant, Limits, LogletId, NodeId};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent, Traffic};
use crate::wire::{Member, Message, Role};

/// What came over a link to another member.
pub(super) enum MemberEvent<'a> {
    Message(Message<'a>),
    Down,
}

/// Links to other LogServers, from which this one fetches what it lacks: one for each member and loglet, because the loglet
/// routes the connection to its home shard.
#[derive(Debug, Default)]
pub(super) struct Members {
    links: Vec<MemberLink>,
    by_key: BTreeMap<(NodeId, LogletId), usize>,
    closed: bool,
}

#[derive(Debug)]
struct MemberLink {
    node: NodeId,
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
        let next = self.links.len();
        let index = *self.by_key.entry((to.node, loglet)).or_insert(next);
        if index == next {
            let hello = identity.hello(Role::LogServer, loglet);
            let link = Link::new(to.address, hello, Some(to.node), limits);
            self.links.push(MemberLink { node: to.node, link, waiting: VecDeque::new() });
        }
        let member = &mut self.links[index];
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
        let MemberLink { node, link, waiting } = &mut self.links[index];
        let mut up = false;
        let mut down = false;
        link.handle(outcome, bytes, now, |event| match event {
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
        self.links.iter_mut().enumerate().find_map(|(index, member)| Some((index, member.link.poll_op(now)?)))
    }

    pub(super) fn take_traffic(&mut self) -> Traffic {
        self.links.iter_mut().fold(Traffic::default(), |mut sum, member| {
            sum.add(member.link.take_traffic());
            sum
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.links.iter().filter_map(|member| member.link.poll_timeout()).min()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.links.iter_mut().for_each(|member| member.link.set_wanted(false));
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.links.iter().all(|member| member.link.is_at_rest())
    }
}
