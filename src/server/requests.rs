use super::cores::Cores;
use super::inbound::{Inbound, peer_of};
use super::journal_disk::JournalDisk;
use super::sequencing::Admission;
use super::{ShardConfig, home_shard};
use crate::base::Instant;
use crate::io::op::ConnId;
use crate::net::Flow;
use crate::proto::PeerId;
use crate::wire::{FrameHeader, Hello, Message, RejectCode, Role};

/// What a connection's messages lead to on the connection itself, collected while the connection is being read.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) messages: Vec<Message<'static>>,
    pub(super) reject: Option<(RejectCode, String)>,
    pub(super) hold: bool,
    pub(super) status: Option<u64>,
    pub(super) handoff: Option<usize>,
    /// Whether any message was taken in.
    pub(super) moved: bool,
}

/// Where a connection's messages come from.
pub(super) enum Input<'a> {
    /// Bytes received now.
    Received(&'a [u8]),
    /// What was held back.
    Held,
}

/// Hands a connection's messages to the cores.
pub(super) fn serve(
    inbound: &mut Inbound,
    input: Input<'_>,
    cores: &mut Cores,
    config: &ShardConfig,
    is_short_of_memory: bool,
    now: Instant,
) -> Answers {
    let Inbound { connection, hello, asking, handoff, .. } = inbound;
    let leaves = handoff.is_some();
    let peer = peer_of(connection.id());
    // While memory is short, an answer is asked for only when the one before has left.
    let may_read = !is_short_of_memory || connection.outbound_bytes() == 0;
    let answers = Answers::default();
    let mut requests =
        Requests { cores, config, peer, hello, asking, leaves, may_read, is_short_of_memory, now, answers };
    match input {
        Input::Received(bytes) => connection.handle_received(bytes, |header, message| requests.handle(header, message)),
        Input::Held => connection.resume(|header, message| requests.handle(header, message)),
    }
    requests.answers
}

/// Dispatches the messages of one connection.
struct Requests<'a> {
    cores: &'a mut Cores,
    config: &'a ShardConfig,
    peer: PeerId,
    hello: &'a mut Option<Hello>,
    asking: &'a mut bool,
    /// Its hello has named another shard: everything else is for that one.
    leaves: bool,
    may_read: bool,
    is_short_of_memory: bool,
    now: Instant,
    answers: Answers,
}

impl Requests<'_> {
    fn handle(&mut self, header: &FrameHeader, message: Message<'_>) -> Flow {
        let flow = self.dispatch(header, message);
        self.answers.moved |= flow == Flow::Continue;
        self.answers.hold |= flow == Flow::Hold;
        flow
    }

    fn dispatch(&mut self, header: &FrameHeader, message: Message<'_>) -> Flow {
        if self.answers.reject.is_some() {
            return Flow::Continue;
        }
        let loglet = header.loglet();
        match message {
            _ if self.leaves => return Flow::Hold,
            Message::Hello(hello) => self.greet(hello),
            _ if self.hello.is_none() => self.reject(RejectCode::Malformed, "the first frame must be a hello"),
            Message::Ping { request } => self.answers.messages.push(Message::Pong { request }),
            // A report is larger than its request: one at a time.
            Message::Status { .. } if *self.asking || !self.may_read => return Flow::Hold,
            Message::Status { request } => {
                *self.asking = true;
                self.answers.status = Some(request);
            }
            // Stored here, it would be looked for elsewhere (P13).
            _ if home_shard(loglet, self.config.shards) != self.config.shard && !self.is_for_lane(&message) => {
                self.reject(RejectCode::UnknownLoglet, "the loglet lives on another shard than the hello has named");
            }
            Message::Append { request, loglet, batch } => {
                let sequencing = &mut self.cores.sequencing;
                match sequencing.admit(loglet, self.now) {
                    Admission::Open => {
                        sequencing.append(loglet, self.peer, request, batch, header.body_checksum.get(), self.now);
                    }
                    Admission::Full => return Flow::Hold,
                    Admission::Ended(ended) => self.answers.messages.push(ended.answer(request, loglet)),
                }
            }
            Message::FillTo { request, loglet, offset } => {
                match self.cores.sequencing.fill(loglet, self.peer, request, offset, self.now) {
                    Admission::Open => {}
                    Admission::Full => return Flow::Hold,
                    Admission::Ended(ended) => self.answers.messages.push(ended.answer(request, loglet)),
                }
            }
            Message::Activate { request, config } => {
                let loglet = config.id;
                let (identity, limits) = (&self.config.identity, &self.config.limits);
                let active = self.cores.sequencing.activate(
                    config,
                    identity,
                    limits,
                    Some(&mut self.cores.log_server),
                    self.now,
                );
                self.answers.messages.push(match active {
                    true => Message::Done { request, loglet },
                    false => Message::SequencerLost { request, loglet },
                });
            }
            message @ Message::Register { .. } => {
                let Cores { acceptor, journal, .. } = &mut *self.cores;
                acceptor.handle(self.peer, message, self.now, &mut JournalDisk(journal));
            }
            Message::Read { .. } if !self.may_read || !self.cores.log_server.may_read(self.peer) => return Flow::Hold,
            message => {
                // One more, and the next one waits for the answer.
                self.may_read &= !(self.is_short_of_memory && matches!(message, Message::Read { .. }));
                let Cores { log_server, journal, .. } = &mut *self.cores;
                log_server.handle(self.peer, message, self.now, &mut JournalDisk(journal));
            }
        }
        Flow::Continue
    }

    /// Whether a message for a loglet of another shard is for the lane that this one has of it.
    fn is_for_lane(&self, message: &Message<'_>) -> bool {
        match message {
            Message::Append { loglet, .. } | Message::FillTo { loglet, .. } => self.cores.sequencing.has_lane(*loglet),
            Message::Activate { config, .. } => self.cores.sequencing.has_lane(config.id),
            _ => false,
        }
    }

    fn greet(&mut self, hello: Hello) {
        let identity = &self.config.identity;
        if self.hello.is_some() {
            return self.reject(RejectCode::Malformed, "a second hello");
        }
        if let Some((code, detail)) = identity.refusal(&hello) {
            return self.reject(code, &detail);
        }
        let routed = hello.route != Default::default();
        let home = if routed { home_shard(hello.route, self.config.shards) } else { self.config.shard };
        *self.hello = Some(hello);
        // What comes from within the process has no socket that could be given away.
        let is_local = ConnId(self.peer.0).is_local();
        let home = match home == self.config.shard && routed && !is_local {
            true => self.cores.sequencing.spread(&hello).unwrap_or(home),
            false => home,
        };
        if home == self.config.shard {
            self.cores.log_server.handle_connected(self.peer, &hello);
            self.answers.messages.push(Message::Hello(identity.hello(Role::LogServer, hello.route)));
        } else {
            self.leaves = true;
            self.answers.handoff = Some(home);
        }
    }

    fn reject(&mut self, code: RejectCode, detail: &str) {
        self.answers.reject = Some((code, detail.to_owned()));
    }
}
