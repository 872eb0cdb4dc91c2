use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::answers::AnswerTimes;
use super::lanes::{Lane, limits_of_lane};
use super::replies::local_sequencer;
use super::{Command, Inbox, Lanes, NodeIdentity};
use crate::base::{Histogram, Instant, Limits, LogletId, NodeId, Offset};
use crate::io::op::{Op, Outcome};
use crate::net::{Connection, Link, LinkEvent, Traffic};
use crate::proto::PeerId;
use crate::proto::log_server::{Disk, LogServer};
use crate::proto::sequencer::{Lost, Sequencer, State, StoreTimes};
use crate::proto::sequencers::Sequencers;
use crate::wire::{Batch, Hello, LogletConfig, Member, Message, Role};

/// The sequencers of a shard, each with its way to the LogServers of its loglet: a link to each, and a direct call to the one
/// in this shard.
pub(super) struct Sequencing {
    sequencers: Sequencers,
    /// By numbers that are not used twice, so that a late completion finds nothing. One whose sequencer has ended stays until its
    /// links are idle.
    slots: BTreeMap<usize, Slot>,
    next_slot: usize,
    by_loglet: BTreeMap<LogletId, usize>,
    /// How the sequencers that have been freed had ended.
    ended: BTreeMap<LogletId, Ended>,
    /// Bytes of memory of all sequencers, as far as counted.
    memory_bytes: usize,
    pool_bytes: usize,
    /// When memory was last given up for want of it.
    shed_at: Instant,
    counters: Counters,
    /// The view of each sequencer here that is one lane of several.
    lanes: BTreeMap<LogletId, Lane>,
    shard: usize,
    /// Those of all shards of the node.
    inboxes: Vec<Arc<Inbox>>,
    lanes_max: usize,
}

/// How a sequencer has ended, for who asks after it was freed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    /// A majority is sealed; no offset at or beyond this was given out.
    Sealed(Offset),
    /// Its last offsets are in doubt.
    Lost,
}

impl Ended {
    /// What a late append is told: surely not taken in, either way (P16).
    pub(super) fn answer(self, request: u64, loglet: LogletId) -> Message<'static> {
        match self {
            Self::Sealed(first) => Message::AppendSealed { request, loglet, first, count: 0 },
            Self::Lost => Message::SequencerLost { request, loglet },
        }
    }
}

/// Whether an append may be handed in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Admission {
    /// It may.
    Open,
    /// Not before there is room.
    Full,
    /// There is no sequencer, or not any more.
    Ended(Ended),
}

/// Plain counts since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counters {
    /// Append frames taken in.
    append_frames: u64,
    /// Records in them.
    append_records: u64,
    /// Append frames refused for want of space on a majority.
    refused_for_space: u64,
}

struct Slot {
    loglet: LogletId,
    /// The LogServer of this very shard, by its number in the configuration.
    local: Option<usize>,
    /// By number in the configuration; none for the local one.
    links: Vec<Option<Link>>,
    answers: AnswerTimes,
}

impl Sequencing {
    pub(super) fn new(limits: &Limits, shard: usize, inboxes: Vec<Arc<Inbox>>) -> Self {
        let lanes_max = (limits.lanes as usize).min(inboxes.len());
        Self {
            sequencers: Sequencers::new(limits_of_lane(limits, lanes_max)),
            slots: BTreeMap::new(),
            next_slot: 0,
            by_loglet: BTreeMap::new(),
            ended: BTreeMap::new(),
            memory_bytes: 0,
            pool_bytes: limits.sequencer_pool_bytes as usize,
            shed_at: Instant::ORIGIN,
            counters: Counters::default(),
            lanes: BTreeMap::new(),
            shard,
            inboxes,
            lanes_max,
        }
    }

    /// Whether an append to this loglet may be handed in. When the memory for all of them is used up, what is only kept for slow
    /// LogServers is given up first; what is left is acknowledged, or given up by its sequencer, in bounded time.
    pub(super) fn admit(&mut self, loglet: LogletId, now: Instant) -> Admission {
        if self.memory_bytes > self.pool_bytes && self.shed_at != now {
            self.shed_at = now;
            self.sequencers.iter_mut().for_each(Sequencer::shed);
            self.count_memory();
        }
        match self.sequencers.get(loglet) {
            // Refused at once, without memory.
            Some(sequencer) if sequencer.lacks_space() => Admission::Open,
            Some(sequencer) if sequencer.has_room() && self.memory_bytes <= self.pool_bytes => Admission::Open,
            Some(_) => Admission::Full,
            None => Admission::Ended(self.ended.get(&loglet).copied().unwrap_or(Ended::Lost)),
        }
    }

    /// Takes in an append that was admitted.
    pub(super) fn append(
        &mut self,
        loglet: LogletId,
        peer: PeerId,
        request: u64,
        batch: Batch<'_>,
        body_checksum: u32,
        now: Instant,
    ) {
        let sequencer = self.sequencers.get_mut(loglet).expect("admitted before");
        if sequencer.lacks_space() {
            self.counters.refused_for_space += 1;
            return sequencer.handle_append(peer, request, batch, body_checksum, now);
        }
        let before = sequencer.memory_bytes();
        // A map that is empty costs nothing to ask.
        match self.lanes.get_mut(&loglet) {
            None => sequencer.handle_append(peer, request, batch, body_checksum, now),
            Some(_) if !sequencer.takes_appends() => sequencer.refuse_append(peer, request),
            // Everything that can fail is behind: it was admitted, and has its place in every queue (P11).
            Some(lane) => match lane.take(batch.count()) {
                Some(first) => sequencer.handle_granted_append(peer, request, first, batch, body_checksum, now),
                None => sequencer.refuse_append(peer, request),
            },
        }
        self.memory_bytes = (self.memory_bytes + sequencer.memory_bytes()).saturating_sub(before);
        self.counters.append_frames += 1;
        self.counters.append_records += u64::from(batch.count());
    }

    /// Takes in a request for no-ops up to `to`, if it is to be handed in.
    pub(super) fn fill(&mut self, loglet: LogletId, peer: PeerId, request: u64, to: Offset, now: Instant) -> Admission {
        let admission = self.admit(loglet, now);
        let (Admission::Open, Some(sequencer)) = (admission, self.sequencers.get_mut(loglet)) else { return admission };
        if !sequencer.has_room_to_fill() {
            return Admission::Full;
        }
        let before = sequencer.memory_bytes();
        match self.lanes.get_mut(&loglet) {
            None => sequencer.handle_fill(peer, request, to, now),
            Some(_) if !sequencer.takes_appends() => sequencer.refuse_append(peer, request),
            Some(lane) => match lane.raise(to, sequencer.no_ops_max()) {
                Some(granted) => {
                    // Other lanes may have given out what was not to be granted any more.
                    let (tail, watermark) = lane.exchange(sequencer.known_tail());
                    sequencer.handle_lanes(tail, watermark, now);
                    sequencer.handle_granted_fill(peer, request, to, granted, now);
                }
                None => sequencer.refuse_append(peer, request),
            },
        }
        self.memory_bytes = (self.memory_bytes + sequencer.memory_bytes()).saturating_sub(before);
        admission
    }

    /// Bytes of memory that the sequencers hold for batches and answers.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Loglets that this process has ended, and remembers for its life.
    pub(super) fn ended(&self) -> usize {
        self.sequencers.ended()
    }

    fn count_memory(&mut self) {
        self.memory_bytes = self.sequencers.iter_mut().map(|sequencer| sequencer.memory_bytes()).sum();
    }

    /// Frees the sequencers that have nothing left to do, and memory that is not used. Their loglets are never sequenced here again
    /// (P4).
    pub(super) fn release_idle(&mut self, mut log_server: Option<&mut LogServer>) {
        for (&number, slot) in &mut self.slots {
            let Some(sequencer) = self.sequencers.get_mut(slot.loglet) else { continue };
            sequencer.trim_memory();
            slot.links.iter_mut().flatten().filter_map(Link::connection).for_each(Connection::release_memory);
            if !sequencer.is_finished() {
                continue;
            }
            let sealed = sequencer.state() == State::Sealed;
            let ended = if sealed { Ended::Sealed(sequencer.status().tail()) } else { Ended::Lost };
            tracing::info!(loglet = %slot.loglet, ?ended, "a sequencer has nothing left to do");
            self.sequencers.end(slot.loglet);
            self.ended.insert(slot.loglet, ended);
            self.by_loglet.remove(&slot.loglet);
            self.lanes.remove(&slot.loglet);
            slot.links.iter_mut().flatten().for_each(|link| link.set_wanted(false));
            if let (Some(_), Some(log_server)) = (slot.local, &mut log_server) {
                log_server.handle_disconnected(local_sequencer(number));
            }
        }
        let Self { slots, sequencers, .. } = self;
        slots
            .retain(|_, slot| sequencers.get(slot.loglet).is_some() || !slot.links.iter().flatten().all(Link::is_idle));
        self.count_memory();
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sequencer> {
        self.slots.values().filter_map(|slot| self.sequencers.get(slot.loglet))
    }

    /// Starts the sequencer that `config` names, if that is this life of this process (P4), with all its lanes. Idempotent. Without a
    /// LogServer this node is none of the loglet's.
    pub(super) fn activate(
        &mut self,
        config: LogletConfig,
        identity: &NodeIdentity,
        limits: &Limits,
        log_server: Option<&mut LogServer>,
        now: Instant,
    ) -> bool {
        let loglet = config.id;
        let is_new = !self.by_loglet.contains_key(&loglet);
        if !self.start(&config, identity, limits, log_server, now) {
            return false;
        }
        if is_new && let Some(lanes) = Lanes::new(self.shard, self.lanes_max, self.inboxes.len()) {
            // Nobody appends on another shard before this one has sent it there, behind this.
            for shard in lanes.shards().iter().filter(|shard| **shard != self.shard) {
                self.inboxes[*shard].push(Command::OpenLane { config: config.clone(), lanes: lanes.clone() });
            }
            self.lanes.insert(loglet, Lane::new(lanes));
        }
        true
    }

    /// Has a lane of a loglet whose home is another shard of this node.
    pub(super) fn open_lane(
        &mut self,
        config: LogletConfig,
        lanes: Arc<Lanes>,
        identity: &NodeIdentity,
        limits: &Limits,
        now: Instant,
    ) {
        // Refused, it is not there, and its connections go back to the home.
        if self.start(&config, identity, limits, None, now) {
            self.lanes.insert(config.id, Lane::new(lanes));
        }
    }

    /// Starts a sequencer, which calls the LogServer here directly, if it is the loglet's.
    fn start(
        &mut self,
        config: &LogletConfig,
        identity: &NodeIdentity,
        limits: &Limits,
        log_server: Option<&mut LogServer>,
        now: Instant,
    ) -> bool {
        let loglet = config.id;
        let sequencer = match self.sequencers.activate(config, identity.node, identity.incarnation, now) {
            Ok(sequencer) => sequencer,
            Err(reason) => {
                tracing::warn!(%loglet, %reason, "refused to sequence");
                return false;
            }
        };
        if self.by_loglet.contains_key(&loglet) {
            return true;
        }
        let members = &config.log_servers;
        let local = members.iter().position(|member| member.node == identity.node && log_server.is_some());
        let hello = identity.hello(Role::Sequencer, loglet);
        let link_to = |(server, member): (usize, &Member)| {
            (Some(server) != local).then(|| Link::new(member.address, hello, Some(member.node), limits))
        };
        let slot = self.next_slot;
        self.next_slot += 1;
        if let (Some(local), Some(log_server)) = (local, log_server) {
            log_server.handle_connected(local_sequencer(slot), &hello);
            sequencer.handle_connected(local, now);
        }
        let answers = AnswerTimes::new(members.len());
        let links = members.iter().enumerate().map(link_to).collect();
        self.slots.insert(slot, Slot { loglet, local, links, answers });
        self.by_loglet.insert(loglet, slot);
        tracing::info!(%loglet, "sequencing");
        true
    }

    /// Lanes learn from each other: how far the loglet is, and that one of them has stopped. Before something is sent, so that it says
    /// what is known then (P11 c).
    fn exchange(&mut self, now: Instant) {
        for (&loglet, lane) in &mut self.lanes {
            let Some(sequencer) = self.sequencers.get_mut(loglet) else { continue };
            let lost = match sequencer.state() {
                State::Running => {
                    let (tail, watermark) = lane.exchange(sequencer.known_tail());
                    sequencer.handle_lanes(tail, watermark, now);
                    continue;
                }
                State::Lost(reason) => Some(reason),
                State::Sealing | State::Sealed => None,
            };
            if !std::mem::replace(&mut lane.stop_told, true) {
                lane.seal(loglet);
                for shard in lane.shards().iter().filter(|shard| **shard != self.shard) {
                    self.inboxes[*shard].push(Command::LaneStopped { loglet, lost });
                }
            }
        }
    }

    /// Another lane has stopped.
    pub(super) fn handle_lane_stopped(&mut self, loglet: LogletId, lost: Option<Lost>) {
        let Some(sequencer) = self.sequencers.get_mut(loglet) else { return };
        sequencer.handle_lane_stopped(lost);
        if let Some(lane) = self.lanes.get_mut(&loglet) {
            // Who has stopped has told all.
            lane.stop_told = true;
        }
    }

    /// Whether appends to this loglet are answered here: by its sequencer, by a lane of it, or by how that has ended.
    pub(super) fn has_lane(&self, loglet: LogletId) -> bool {
        self.by_loglet.contains_key(&loglet) || self.ended.contains_key(&loglet)
    }

    /// The other shard that a connection goes to which comes to the home of its loglet: those of appenders are spread over the lanes.
    pub(super) fn spread(&mut self, hello: &Hello) -> Option<usize> {
        let lane = self.lanes.get_mut(&hello.route).filter(|_| hello.role == Role::Appender)?;
        Some(lane.next_shard()).filter(|shard| *shard != self.shard)
    }

    /// Shards with a lane of this loglet's sequencer.
    pub(super) fn lanes(&self, loglet: LogletId) -> usize {
        self.lanes.get(&loglet).map_or(1, |lane| lane.shards().len())
    }

    /// A LogServer of this shard answers the sequencer in `slot`.
    pub(super) fn handle_local(&mut self, slot: usize, message: Message<'_>, now: Instant) {
        let Some(Slot { loglet, local, answers, .. }) = self.slots.get_mut(&slot) else { return };
        let local = local.expect("only a sequencer with a local LogServer is answered here");
        if let Message::Stored { tail, .. } = message {
            answers.answered(local, tail, now);
        }
        if let Some(sequencer) = self.sequencers.get_mut(*loglet) {
            catch_up(self.lanes.get(loglet), sequencer, &message, now);
            sequencer.handle(local, message, now);
        }
    }

    /// Takes in an outcome of the link in `slot` to LogServer `server`.
    pub(super) fn handle_link(&mut self, slot: usize, server: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        let slot = self.slots.get_mut(&slot).expect("a slot stays until its links are idle");
        let Slot { loglet, links, answers, .. } = slot;
        let Some(link) = &mut links[server] else { return };
        let Some(sequencer) = self.sequencers.get_mut(*loglet) else {
            return link.handle(outcome, bytes, now, |_| {});
        };
        let lane = self.lanes.get(loglet);
        link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Open => sequencer.handle_connected(server, now),
            LinkEvent::Up(_) => {}
            LinkEvent::Message(message) => {
                if let Message::Stored { tail, .. } = message {
                    answers.answered(server, tail, now);
                }
                catch_up(lane, sequencer, &message, now);
                sequencer.handle(server, message, now);
            }
            LinkEvent::Down(reason) => {
                tracing::debug!(%loglet, server, %reason, "lost the connection to a LogServer");
                sequencer.handle_disconnected(server, now);
            }
        });
    }

    /// Hands the LogServer of this shard what its sequencers have for it. Returns whether there was anything.
    pub(super) fn send_local(&mut self, log_server: &mut LogServer, disk: &mut impl Disk, now: Instant) -> bool {
        self.exchange(now);
        let mut sent = false;
        for (&index, slot) in &self.slots {
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
        for slot in self.slots.values_mut() {
            let Some(sequencer) = self.sequencers.get_mut(slot.loglet) else { continue };
            for (server, link) in slot.links.iter_mut().enumerate() {
                let Some(connection) = link.as_mut().and_then(Link::opened) else { continue };
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

    /// Everything that the sequencers have was handed to the LogServers, as far as they take it.
    pub(super) fn note_sequenced(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            let Some(sequencer) = self.sequencers.get_mut(slot.loglet) else { continue };
            if sequencer.note_sequenced(now) {
                slot.answers.handed_over(sequencer.status().end(), now);
            }
        }
    }

    /// The LogServer of this shard has made everything of a loglet below `end` durable.
    pub(super) fn note_stored(&mut self, loglet: LogletId, end: Offset, times: StoreTimes) {
        if let Some(sequencer) = self.sequencers.get_mut(loglet) {
            sequencer.note_stored(end, times);
        }
    }

    /// How long each LogServer of a loglet takes to answer, by number in the configuration.
    pub(super) fn answer_times(&self, loglet: LogletId) -> &[Histogram] {
        let slot = self.by_loglet.get(&loglet).and_then(|slot| self.slots.get(slot));
        slot.map_or(&[], |slot| slot.answers.times())
    }

    /// The node of a LogServer, by its number in the loglet's configuration.
    pub(super) fn member(&self, loglet: LogletId, server: u8) -> Option<NodeId> {
        let config = self.sequencers.get(loglet)?.config();
        config.log_servers.get(usize::from(server)).map(|member| member.node)
    }

    /// Hands out the answers for clients.
    pub(super) fn poll_replies(&mut self, mut on_reply: impl FnMut(PeerId, Message<'static>)) {
        for slot in self.slots.values() {
            let Some(sequencer) = self.sequencers.get_mut(slot.loglet) else { continue };
            while let Some((peer, message)) = sequencer.poll_reply() {
                on_reply(peer, message);
            }
        }
    }

    pub(super) fn handle_client_disconnected(&mut self, peer: PeerId) {
        for slot in self.slots.values() {
            if let Some(sequencer) = self.sequencers.get_mut(slot.loglet) {
                sequencer.handle_client_disconnected(peer);
            }
        }
    }

    pub(super) fn handle_timeouts(&mut self, now: Instant) {
        self.exchange(now);
        for slot in self.slots.values() {
            if let Some(sequencer) = self.sequencers.get_mut(slot.loglet)
                && sequencer.poll_timeout().is_some_and(|(deadline, _)| deadline <= now)
            {
                sequencer.handle_timeout(now);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let links = self.slots.values().flat_map(|slot| slot.links.iter().flatten().filter_map(Link::poll_timeout));
        let cores = self.iter().filter_map(|sequencer| sequencer.poll_timeout().map(|(deadline, _)| deadline));
        links.chain(cores).min()
    }

    /// The next operation of any link, with its slot and server.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, usize, Op)> {
        for (&index, slot) in &mut self.slots {
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
        self.slots.values_mut().flat_map(|slot| slot.links.iter_mut().flatten())
    }
}

/// Has a lane know of the ranges of others before it is answered about them.
fn catch_up(lane: Option<&Lane>, sequencer: &mut Sequencer, message: &Message<'_>, now: Instant) {
    let (Some(lane), Message::Stored { tail, .. } | Message::Behind { tail, .. }) = (lane, message) else { return };
    if *tail > sequencer.status().tail() {
        let (tail, watermark) = lane.exchange(sequencer.known_tail());
        sequencer.handle_lanes(tail, watermark, now);
    }
}
