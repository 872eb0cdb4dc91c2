use super::inbound::peer_of;
use super::journal_disk::JournalDisk;
use super::sequencing::Sequencing;
use super::{ShardConfig, home_shard};
use crate::base::Instant;
use crate::io::op::ConnId;
use crate::net::Flow;
use crate::proto::PeerId;
use crate::proto::log_server::LogServer;
use crate::storage::Journal;
use crate::wire::{FrameHeader, Hello, Message, RejectCode, Role};

/// What a connection's messages lead to on the connection itself, collected while the connection is being read.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) messages: Vec<Message<'static>>,
    pub(super) reject: Option<(RejectCode, String)>,
    pub(super) hold: bool,
    pub(super) status: Vec<u64>,
    pub(super) handoff: Option<usize>,
}

/// Dispatches the messages of one connection.
pub(super) struct Requests<'a> {
    log_server: &'a mut LogServer,
    sequencing: &'a mut Sequencing,
    journal: &'a mut Journal,
    config: &'a ShardConfig,
    peer: PeerId,
    hello: &'a mut Option<Hello>,
    now: Instant,
    pub(super) answers: Answers,
}

impl<'a> Requests<'a> {
    pub(super) fn of(
        log_server: &'a mut LogServer,
        sequencing: &'a mut Sequencing,
        journal: &'a mut Journal,
        config: &'a ShardConfig,
        conn: ConnId,
        hello: &'a mut Option<Hello>,
        now: Instant,
    ) -> Self {
        let peer = peer_of(conn);
        Self { log_server, sequencing, journal, config, peer, hello, now, answers: Answers::default() }
    }

    pub(super) fn handle(&mut self, header: &FrameHeader, message: Message<'_>) -> Flow {
        if self.answers.reject.is_some() {
            return Flow::Continue;
        }
        let loglet = header.loglet();
        match message {
            Message::Hello(hello) => self.greet(hello),
            _ if self.hello.is_none() => self.reject(RejectCode::Malformed, "the first frame must be a hello"),
            Message::Status { request } => self.answers.status.push(request),
            // Stored here, it would be looked for elsewhere (P13).
            _ if home_shard(loglet, self.config.shards) != self.config.shard => {
                self.reject(RejectCode::UnknownLoglet, "the loglet lives on another shard than the hello has named");
            }
            Message::Append { request, loglet, batch } => {
                let Some(sequencer) = self.sequencing.get_mut(loglet) else {
                    self.answers.messages.push(Message::SequencerLost { request, loglet });
                    return Flow::Continue;
                };
                if !sequencer.has_room() {
                    self.answers.hold = true;
                    return Flow::Hold;
                }
                sequencer.handle_append(self.peer, request, batch, header.body_checksum.get(), self.now);
                self.sequencing.count_append(batch.count());
            }
            Message::Activate { request, config } => {
                let loglet = config.id;
                let (identity, limits) = (&self.config.identity, &self.config.limits);
                let active = self.sequencing.activate(config, identity, limits, self.log_server, self.now);
                self.answers.messages.push(match active {
                    true => Message::Done { request, loglet },
                    false => Message::SequencerLost { request, loglet },
                });
            }
            Message::Read { .. }
                if self.log_server.reads_of(self.peer) >= self.config.limits.reads_per_connection_max as usize =>
            {
                self.answers.hold = true;
                return Flow::Hold;
            }
            message => self.log_server.handle(self.peer, message, self.now, &mut JournalDisk(self.journal)),
        }
        Flow::Continue
    }

    fn greet(&mut self, hello: Hello) {
        let identity = &self.config.identity;
        if self.hello.is_some() {
            return self.reject(RejectCode::Malformed, "a second hello");
        }
        // A client that only wants to know who this is does not know the cluster yet.
        let asks_only = hello.role == Role::Client && hello.cluster.0 == 0;
        if hello.cluster != identity.cluster && !asks_only {
            let detail = format!("this node belongs to cluster {}, the peer to {}", identity.cluster, hello.cluster);
            return self.reject(RejectCode::Cluster, &detail);
        }
        let routed = hello.route != Default::default();
        let home = if routed { home_shard(hello.route, self.config.shards) } else { self.config.shard };
        *self.hello = Some(hello);
        if home == self.config.shard {
            self.log_server.handle_connected(self.peer, &hello);
            self.answers.messages.push(Message::Hello(identity.hello(Role::LogServer, hello.route)));
        } else {
            self.answers.handoff = Some(home);
        }
    }

    fn reject(&mut self, code: RejectCode, detail: &str) {
        self.answers.reject = Some((code, detail.to_owned()));
    }
}
