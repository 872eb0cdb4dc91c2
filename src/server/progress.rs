//! How everything inside a shard moves on.

use super::cores::Cores;
use super::home_shard;
use super::inbound::InboundTable;
use super::journal_disk::JournalDisk;
use super::replies::Recipient;
use super::requests::{Input, serve};
use super::shard::{RELEASE_AFTER, Shard};
use crate::base::Instant;
use crate::io::Driver;
use crate::proto::PeerId;
use crate::proto::log_server::{LogServer, Output, ReadId, ReadOutcome, RecoveredLoglet};
use crate::storage;
use crate::wire::Message;

/// Queues a message for a peer. One that does not take what it is sent gets nothing more from its subscriptions.
fn send(inbound: &mut InboundTable, log_server: &mut LogServer, to: PeerId, message: &Message<'_>) {
    if !inbound.send(to, message) {
        log_server.pause_peer(to);
    }
}

impl<D: Driver> Shard<D> {
    pub(super) fn recover(&mut self) {
        if self.recovered || self.cores.journal.state() != storage::State::Open {
            return;
        }
        let recovered = self.cores.journal.take_recovered();
        for damage in &recovered.damage {
            tracing::warn!(shard = self.config.shard, ?damage, "the journal is damaged");
        }
        let table_lost = recovered.damage.iter().any(|damage| !damage.table_survived || !damage.cells_lost.is_empty());
        let loglets =
            recovered.loglets.iter().map(|&id| RecoveredLoglet { id, stored: self.cores.journal.stored(id).collect() });
        let loglets: Vec<_> = loglets.collect();
        for loglet in &loglets {
            let home = home_shard(loglet.id, self.config.shards);
            assert_eq!(home, self.config.shard, "a loglet is stored where it is looked for");
        }
        self.damage = recovered.damage;
        self.cores.journal.prepare_stock(self.config.prepare_bytes.div_ceil(self.config.limits.segment_bytes) as u32);
        let Cores { log_server, acceptor, journal, .. } = &mut self.cores;
        acceptor.recover(&recovered.cells, table_lost, self.now, &mut JournalDisk(journal));
        log_server.recover(recovered.cells, loglets, table_lost, &mut JournalDisk(journal));
        self.durable = self.cores.journal.durable();
        self.recovered = true;
        for adoption in std::mem::take(&mut self.adoptions) {
            self.carry_out(adoption);
        }
    }

    /// Lets everything inside the shard move until nothing moves any more.
    pub(super) fn settle(&mut self, now: Instant) {
        if !self.recovered {
            return;
        }
        self.cores.sequencing.handle_timeouts(now);
        if self.cores.log_server.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.cores.log_server.handle_timeout(now, &mut JournalDisk(&mut self.cores.journal));
        }
        self.cores.acceptor.handle_timeout(now, &mut JournalDisk(&mut self.cores.journal));
        loop {
            let mut moved = self.advance_journal(now);
            moved |= self.cores.sequencing.send_local(
                &mut self.cores.log_server,
                &mut JournalDisk(&mut self.cores.journal),
                now,
            );
            moved |= self.deliver_outputs(now);
            moved |= self.answer_questions();
            if !self.inbound.held.is_empty() {
                moved |= self.resume_held(now);
            }
            if !moved {
                break;
            }
        }
        self.cores.sequencing.send_remote();
        let Cores { sequencing, log_server, .. } = &mut self.cores;
        let (inbound, profile) = (&mut self.inbound, &mut self.profile);
        let released = if profile.is_enabled() { self.driver.now() } else { now };
        if profile.is_enabled() {
            sequencing.note_sequenced(released);
        }
        sequencing.poll_replies(|peer, mut message| {
            if let Message::Appended { loglet, first, count, residence: Some(residence), .. } = &mut message {
                profile.release((*loglet, *first, *count), residence, now, released);
            }
            send(inbound, log_server, peer, &message);
        });
        self.inbound.enforce_pool();
    }

    pub(super) fn advance_journal(&mut self, now: Instant) -> bool {
        let mut moved = false;
        if self.cores.journal.failure().is_some() && !std::mem::replace(&mut self.failure_told, true) {
            tracing::error!(shard = self.config.shard, reason = ?self.cores.journal.failure(), "the journal has failed");
            self.cores.log_server.handle_disk_failed();
            self.cores.acceptor.handle_disk_failed();
            moved = true;
        }
        let prepare_failures = self.cores.journal.counters().prepare_failures;
        if prepare_failures > std::mem::replace(&mut self.prepare_failures, prepare_failures) {
            tracing::warn!(
                shard = self.config.shard,
                directory = %self.config.directory.display(),
                prepared_bytes = self.cores.journal.prepared_bytes(),
                "a journal segment could not be prepared: is the disk full? Records are refused when none is left"
            );
        }
        self.tell_space();
        let durable = self.cores.journal.durable();
        if durable > self.durable && !self.failure_told {
            self.durable = durable;
            self.profile.note_durable(durable, &mut self.cores, now);
            let Cores { log_server, acceptor, journal, .. } = &mut self.cores;
            log_server.handle_durable(durable, now, &mut JournalDisk(journal));
            acceptor.handle_durable(durable, now, &mut JournalDisk(journal));
            moved = true;
        }
        while let Some((id, outcome)) = self.cores.journal.poll_read() {
            self.finish_read(ReadId(id), outcome, now);
            moved = true;
        }
        moved
    }

    /// One line in the log when the LogServers begin to refuse records for want of space, and one when they take them again.
    fn tell_space(&mut self) {
        let is_full = self.cores.log_server.is_full();
        if is_full == std::mem::replace(&mut self.full_told, is_full) {
            return;
        }
        let (shard, directory) = (self.config.shard, self.config.directory.display());
        if is_full {
            tracing::warn!(shard, %directory, "no journal space is left: records are refused until a trim or free space on the disk");
        } else {
            tracing::info!(shard, %directory, "there is journal space again: records are taken");
        }
    }

    pub(super) fn finish_read(&mut self, id: ReadId, outcome: storage::ReadOutcome, now: Instant) {
        let disk = &mut JournalDisk(&mut self.cores.journal);
        let answer = match &outcome {
            storage::ReadOutcome::Records { first, records } => {
                let outcome = ReadOutcome::Records { first: *first, batch: records.batch() };
                self.cores.log_server.handle_read(id, outcome, now, disk)
            }
            storage::ReadOutcome::Missing { from, to } => {
                self.cores.log_server.handle_read(id, ReadOutcome::Missing { from: *from, to: *to }, now, disk)
            }
            storage::ReadOutcome::Damaged { from, to } => {
                self.cores.log_server.handle_read(id, ReadOutcome::Damaged { from: *from, to: *to }, now, disk)
            }
        };
        if let Some((peer, message)) = answer {
            send(&mut self.inbound, &mut self.cores.log_server, peer, &message);
        }
        if let storage::ReadOutcome::Records { records, .. } = outcome {
            self.cores.journal.recycle(records);
        }
    }

    pub(super) fn deliver_outputs(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(output) = self.cores.log_server.poll_output() {
            moved = true;
            match output {
                Output::Send { to, message } => match Recipient::of(to) {
                    Recipient::Connection(peer) => {
                        send(&mut self.inbound, &mut self.cores.log_server, peer, &message);
                    }
                    Recipient::LocalSequencer(slot) => self.cores.sequencing.handle_local(slot, message, now),
                },
                Output::ToMember { to, message } => {
                    self.members.send(to, message, &self.config.identity, &self.config.limits);
                }
            }
        }
        while let Some((peer, message)) = self.cores.acceptor.poll_output() {
            moved = true;
            send(&mut self.inbound, &mut self.cores.log_server, peer, &message);
        }
        moved
    }

    /// The connections whose appends had no room are asked again. Returns whether any message was taken in.
    pub(super) fn resume_held(&mut self, now: Instant) -> bool {
        let mut moved = false;
        let mut held = std::mem::take(&mut self.inbound.held);
        for conn in held.drain(..) {
            let Some(mut inbound) = self.inbound.take(conn) else { continue };
            if !inbound.connection.has_room() {
                // Not before its peer has taken the answers to what it asked before.
                self.inbound.held.push(conn);
                self.inbound.put_back(inbound);
                continue;
            }
            let is_short = self.inbound.is_short_of_memory();
            let answers = serve(&mut inbound, Input::Held, &mut self.cores, &self.config, is_short, now);
            moved |= answers.moved;
            self.answer(&mut inbound, answers);
            self.inbound.put_back(inbound);
        }
        if self.inbound.held.is_empty() {
            self.inbound.held = held;
        }
        moved
    }

    pub(super) fn claim_when_idle(&mut self, now: Instant) {
        if !self.cores.journal.wants_claim() {
            self.claim_at = None;
        } else if self.claim_at.get_or_insert(now + self.config.limits.claim_delay).as_nanos() <= now.as_nanos() {
            self.claim_at = None;
            self.cores.journal.claim();
        }
    }

    /// Gives up memory and links that have not been used for a while.
    pub(super) fn release_idle(&mut self, now: Instant) {
        if self.release_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let more = self.inbound.release_idle() | self.members.release_idle();
        self.cores.sequencing.release_idle(Some(&mut self.cores.log_server));
        if more {
            self.release_at = Some(now + RELEASE_AFTER);
        }
    }
}
