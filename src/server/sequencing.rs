use std::collections::BTreeMap;

use serde::Serialize;

use super::NodeIdentity;
use super::replies::local_sequencer;
use crate::base::{Instant, Limits, LogletId};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent, Traffic};
use crate::proto::PeerId;
use crate::proto::log_server::{Disk, LogServer};
use crate::proto::sequencer::Sequencer;
use crate::proto::sequencers::Sequencers;
use crate::wire::{LogletConfig, Message, Role};

/// The sequencers of a shard, each with its way to the LogServers of its loglet: a link to each, and a direct call to the one
/// in this shard.
pub(super) struct Sequencing {
    sequencers: Sequencers,
    slots: Vec<Slot>,
    by_loglet: BTreeMap<LogletId, usize>,
    counters: Counters,
}

/// Plain counts since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counters {
    /// Append frames taken in.
    append_frames: u64,
    /// Records in them.
    append_records: u64,
}

struct Slot {
    loglet: LogletId,
    /// The LogServer of this very shard, by its number in the configuration.
    local: Option<usize>,
    /// By number in the configuration; none for the local one.
    links: Vec<Option<Link>>,
}

impl Sequencing {
    pub(super) fn new(sequencers: Sequencers) -> Self {
        Self { sequencers, slots: Vec::new(), by_loglet: BTreeMap::new(), counters: Counters::default() }
    }

    pub(super) fn get_mut(&mut self, loglet: LogletId) -> Option<&mut Sequencer> {
        self.sequencers.get_mut(loglet)
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Notes an append that a sequencer has taken in.
    pub(super) fn count_append(&mut self, records: u32) {
        self.counters.append_frames += 1;
        self.counters.append_records += u64::from(records);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sequencer> {
        self.slots.iter().filter_map(|slot| self.sequencers.get(slot.loglet))
    }

    /// Starts the sequencer that `config` names, if that is this life of this process (P4). Idempotent.
    pub(super) fn activate(
        &mut self,
        config: LogletConfig,
        identity: &NodeIdentity,
        limits: &Limits,
        log_server: &mut LogServer,
        now: Instant,
    ) -> bool {
        let loglet = config.id;
        let sequencer = match self.sequencers.activate(&config, identity.node, identity.incarnation, now) {
            Ok(sequencer) => sequencer,
            Err(reason) => {
                tracing::warn!(%loglet, %reason, "refused to sequence");
                return false;
            }
        };
        if self.by_loglet.contains_key(&loglet) {
            return true;
        }
        let members = sequencer.config().log_servers.clone();
        let local = members.iter().position(|member| member.node == identity.node);
        let hello = identity.hello(Role::Sequencer, loglet);
        let link_to = |member: &crate::wire::Member| {
            (member.node != identity.node).then(|| Link::new(member.address, hello, Some(member.node), limits))
        };
        let slot = self.slots.len();
        if let Some(local) = local {
            log_server.handle_connected(local_sequencer(slot), &hello);
            sequencer.handle_connected(local, now);
        }
        self.slots.push(Slot { loglet, local, links: members.iter().map(link_to).collect() });
        self.by_loglet.insert(loglet, slot);
        tracing::info!(%loglet, "sequencing");
        true
    }

    /// A LogServer of this shard answers the sequencer in `slot`.
    pub(super) fn handle_local(&mut self, slot: usize, message: Message<'_>, now: Instant) {
        let Slot { loglet, local, .. } = &self.slots[slot];
        let local = local.expect("only a sequencer with a local LogServer is answered here");
        if let Some(sequencer) = self.sequencers.get_mut(*loglet) {
            sequencer.handle(local, message, now);
        }
    }

    /// Takes in an outcome of the link in `slot` to LogServer `server`.
    pub(super) fn handle_link(&mut self, slot: usize, server: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        let Slot { loglet, links, .. } = &mut self.slots[slot];
        let (Some(sequencer), Some(link)) = (self.sequencers.get_mut(*loglet), &mut links[server]) else { return };
        link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Up(_) => sequencer.handle_connected(server, now),
            LinkEvent::Message(message) => sequencer.handle(server, message, now),
            LinkEvent::Down(reason) => {
                tracing::debug!(%loglet, server, %reason, "lost the connection to a LogServer");
                sequencer.handle_disconnected(server, now);
            }
        });
    }

    /// Hands the LogServer of this shard what its sequencers have for it. Returns whether there was anything.
    pub(super) fn send_local(&mut self, log_server: &mut LogServer, disk: &mut impl Disk, now: Instant) -> bool {
        let mut sent = false;
        for (index, slot) in self.slots.iter().enumerate() {
            let (Some(server), Some(sequencer)) = (slot.local, self.sequencers.get_mut(slot.loglet)) else { continue };
            while let Some((message, _)) = sequencer.poll_send(server) {
                log_server.handle(local_sequencer(index), message, now, disk);
                sent = true;
            }
        }
        sent
    }

    /// Queues what the sequencers have for other nodes, as far as the connections have room.
    pub(super) fn send_remote(&mut self) {
        for slot in &mut self.slots {
            let Some(sequencer) = self.sequencers.get_mut(slot.loglet) else { continue };
            for (server, link) in slot.links.iter_mut().enumerate() {
                let Some(connection) = link.as_mut().and_then(Link::connection) else { continue };
                while connection.has_room()
                    && let Some((message, checksum)) = sequencer.poll_send(server)
                {
                    match checksum {
                        Some(checksum) => connection.send_with_checksum(&message, checksum),
                        None => connection.send(&message),
                    }
                }
            }
        }
    }

    /// Hands out the answers for clients.
    pub(super) fn poll_replies(&mut self, mut on_reply: impl FnMut(PeerId, Message<'static>)) {
        for slot in &self.slots {
            let Some(sequencer) = self.sequencers.get_mut(slot.loglet) else { continue };
            while let Some((peer, message)) = sequencer.poll_reply() {
                on_reply(peer, message);
            }
        }
    }

    pub(super) fn handle_client_disconnected(&mut self, peer: PeerId) {
        for slot in &self.slots {
            if let Some(sequencer) = self.sequencers.get_mut(slot.loglet) {
                sequencer.handle_client_disconnected(peer);
            }
        }
    }

    pub(super) fn handle_timeouts(&mut self, now: Instant) {
        for slot in &self.slots {
            if let Some(sequencer) = self.sequencers.get_mut(slot.loglet)
                && sequencer.poll_timeout().is_some_and(|(deadline, _)| deadline <= now)
            {
                sequencer.handle_timeout(now);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let links = self.slots.iter().flat_map(|slot| slot.links.iter().flatten().filter_map(Link::poll_timeout));
        let cores = self.iter().filter_map(|sequencer| sequencer.poll_timeout().map(|(deadline, _)| deadline));
        links.chain(cores).min()
    }

    /// The next operation of any link, with its slot and server.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, usize, Op)> {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            for (server, link) in slot.links.iter_mut().enumerate() {
                if let Some(op) = link.as_mut().and_then(|link| link.poll_op(now)) {
                    return Some((index, server, op));
                }
            }
        }
        None
    }

    pub(super) fn take_traffic(&mut self) -> Traffic {
        self.links_mut().fold(Traffic::default(), |mut sum, link| {
            sum.add(link.take_traffic());
            sum
        })
    }

    pub(super) fn close(&mut self) {
        self.links_mut().for_each(|link| link.set_wanted(false));
    }

    pub(super) fn is_at_rest(&mut self) -> bool {
        self.links_mut().all(|link| link.is_at_rest())
    }

    fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.slots.iter_mut().flat_map(|slot| slot.links.iter_mut().flatten())
    }
}
