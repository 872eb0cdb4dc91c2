//! The peers of a shard: what comes over the connections that they have opened.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::home_shard;
use super::inbound::{Inbound, peer_of};
use super::inbox::Command;
use super::journal_disk::JournalDisk;
use super::requests::{Answers, Input, serve};
use super::shard::{Shard, owner};
use crate::base::Instant;
use crate::io::Driver;
use crate::io::op::{Chunk, ConnId, Op, Outcome, Token};
use crate::wire::RejectCode;

impl<D: Driver> Shard<D> {
    pub(super) fn accept(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            // Whoever comes during the stop would keep it from ending.
            Outcome::Accepted { conn, .. } if self.stopping => {
                self.driver.submit(Token::new(owner::INBOUND, conn.0), Op::CloseConn { conn });
            }
            Outcome::Accepted { conn, peer } => {
                self.take_in(conn, Some(peer));
            }
            Outcome::Failed(error) => {
                tracing::warn!(%error, "accepting a connection has failed");
                self.accept_at = Some(now + self.config.limits.reconnect_delay);
            }
            _ => unreachable!("a listener only accepts"),
        }
    }

    /// A connection that has not said anything yet, from this address or from this process.
    pub(super) fn take_in(&mut self, conn: ConnId, peer: Option<SocketAddr>) {
        self.inbound.insert(conn, peer, None, &self.config.limits);
        if self.inbound.len() > self.config.limits.connections_max as usize {
            let inbound = self.inbound.get_mut(conn).expect("just inserted");
            inbound.connection.reject(RejectCode::Limit, "this node has all the connections it may have");
        }
    }

    pub(super) fn handle_inbound(&mut self, conn: ConnId, outcome: Outcome, chunk: Option<&Chunk>, now: Instant) {
        let Some(mut inbound) = self.inbound.take(conn) else { return };
        match outcome {
            Outcome::Received { .. } => {
                let bytes = chunk.map_or(&[][..], |chunk| self.driver.chunk(chunk));
                let is_short = self.inbound.is_short_of_memory();
                let input = Input::Received(bytes);
                let answers = serve(&mut inbound, input, &mut self.cores, &self.config, is_short, now);
                self.answer(&mut inbound, answers);
            }
            Outcome::Sent { data, result, .. } => {
                inbound.connection.handle_sent(data, result);
                if inbound.connection.has_room() {
                    let journal = &mut self.cores.journal;
                    self.cores.log_server.resume_peer(peer_of(conn), now, &mut JournalDisk(journal));
                }
            }
            Outcome::Failed(error) => inbound.connection.handle_receive_failed(error),
            Outcome::Detached { socket, .. } => {
                self.inbound.forget(&inbound);
                return self.hand_over(inbound, socket);
            }
            Outcome::Done => {
                self.forget(&mut inbound);
                self.inbound.forget(&inbound);
                return;
            }
            _ => unreachable!("no such operation on an inbound connection"),
        }
        if inbound.connection.is_closing() {
            self.forget(&mut inbound);
        }
        self.inbound.put_back(inbound);
    }

    /// Takes in what another shard had received of a connection that is here now.
    pub(super) fn take_unread(&mut self, conn: ConnId, unread: &[u8]) {
        let mut inbound = self.inbound.take(conn).expect("just adopted");
        let is_short = self.inbound.is_short_of_memory();
        let input = Input::Received(unread);
        let answers = serve(&mut inbound, input, &mut self.cores, &self.config, is_short, self.now);
        self.answer(&mut inbound, answers);
        if inbound.connection.is_closing() {
            self.forget(&mut inbound);
        }
        self.inbound.put_back(inbound);
    }

    /// Tells the cores, once, that a peer is gone.
    pub(super) fn forget(&mut self, inbound: &mut Inbound) {
        if !std::mem::replace(&mut inbound.loss_told, true) && inbound.hello.is_some() && inbound.handoff.is_none() {
            let peer = peer_of(inbound.connection.id());
            self.cores.log_server.handle_disconnected(peer);
            self.cores.acceptor.handle_disconnected(peer);
            self.cores.sequencing.handle_client_disconnected(peer);
        }
    }

    /// Carries out what a connection's own messages have asked for.
    pub(super) fn answer(&mut self, inbound: &mut Inbound, answers: Answers) {
        let Answers { messages, reject, hold, status, handoff, .. } = answers;
        messages.iter().for_each(|message| inbound.connection.send(message));
        if let Some((code, detail)) = reject {
            tracing::debug!(peer = ?inbound.peer, %code, detail, "refused a connection");
            inbound.connection.reject(code, &detail);
        }
        let peer = peer_of(inbound.connection.id());
        if let Some(request) = status {
            self.questions.ask(peer, request);
        }
        if let Some(home) = handoff {
            inbound.connection.detach();
            inbound.handoff = Some(home);
        }
        // What is behind the hello of one that goes elsewhere is read there.
        if hold && inbound.handoff.is_none() {
            self.inbound.held.push(inbound.connection.id());
        }
    }

    /// Gives a connection to the shard that its loglet lives on, or has a lane on, which answers the hello and all that has come behind
    /// it.
    pub(super) fn hand_over(&self, mut inbound: Inbound, socket: OwnedFd) {
        let (Some(home), Some(hello)) = (inbound.handoff, inbound.hello) else {
            unreachable!("it has said where to go")
        };
        let unread = inbound.connection.take_unread();
        let spread = home == home_shard(hello.route, self.config.shards);
        self.peers[home].push(Command::Adopt { socket, hello, unread, spread });
    }
}
