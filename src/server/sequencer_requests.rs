use super::inbound::{Inbound, peer_of};
use super::requests::{Answers, Input};
use super::sequencer_shard::SequencerShardConfig;
use super::sequencing::{Admission, Sequencing};
use crate::base::Instant;
use crate::net::Flow;
use crate::proto::PeerId;
use crate::wire::{FrameHeader, Hello, LogletConfig, Message, RejectCode, Role};

/// What everything that a sequencer's node does not do is answered with.
const SEQUENCES_ONLY: &str = "this node sequences and does nothing else: it stores nothing and keeps no registers";

/// What the messages of a connection go to.
pub(super) struct Host<'a> {
    pub(super) sequencing: &'a mut Sequencing,
    pub(super) config: &'a SequencerShardConfig,
    /// Memory for connections is short.
    pub(super) is_short: bool,
    pub(super) now: Instant,
}

/// Hands a connection's messages to the sequencers.
pub(super) fn serve(inbound: &mut Inbound, input: Input<'_>, host: Host<'_>) -> Answers {
    let Inbound { connection, hello, .. } = inbound;
    let peer = peer_of(connection.id());
    // While memory is short, a report, which is larger than its request, waits until the answer before has left.
    let may_report = !host.is_short || connection.outbound_bytes() == 0;
    let mut requests = Requests { host, peer, hello, may_report, answers: Answers::default() };
    match input {
        Input::Received(bytes) => connection.handle_received(bytes, |header, message| requests.handle(header, message)),
        Input::Held => connection.resume(|header, message| requests.handle(header, message)),
    }
    requests.answers
}

/// Dispatches the messages of one connection.
struct Requests<'a> {
    host: Host<'a>,
    peer: PeerId,
    hello: &'a mut Option<Hello>,
    may_report: bool,
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
        match message {
            Message::Hello(hello) => self.greet(hello),
            _ if self.hello.is_none() => self.reject(RejectCode::Malformed, "the first frame must be a hello"),
            Message::Ping { request } => self.answers.messages.push(Message::Pong { request }),
            // One at a time.
            Message::Status { .. } if !std::mem::take(&mut self.may_report) => return Flow::Hold,
            Message::Status { request } => self.answers.status = Some(request),
            Message::Append { request, loglet, batch } => {
                let Host { sequencing, now, .. } = &mut self.host;
                match sequencing.admit(loglet, *now) {
                    Admission::Open => {
                        sequencing.append(loglet, self.peer, request, batch, header.body_checksum.get(), *now);
                    }
                    Admission::Full => return Flow::Hold,
                    Admission::Ended(ended) => self.answers.messages.push(ended.answer(request, loglet)),
                }
            }
            Message::FillTo { request, loglet, offset } => {
                let Host { sequencing, now, .. } = &mut self.host;
                match sequencing.fill(loglet, self.peer, request, offset, *now) {
                    Admission::Open => {}
                    Admission::Full => return Flow::Hold,
                    Admission::Ended(ended) => self.answers.messages.push(ended.answer(request, loglet)),
                }
            }
            Message::Activate { request, config } => self.activate(request, config),
            // What asks for nothing in return, as a store does, cannot be refused alone.
            _ if header.request.get() == 0 => self.reject(RejectCode::Role, SEQUENCES_ONLY),
            _ => self.refuse(header.request.get(), SEQUENCES_ONLY),
        }
        Flow::Continue
    }

    fn greet(&mut self, hello: Hello) {
        let identity = &self.host.config.identity;
        if self.hello.is_some() {
            return self.reject(RejectCode::Malformed, "a second hello");
        }
        if let Some((code, detail)) = identity.refusal(&hello) {
            return self.reject(code, &detail);
        }
        *self.hello = Some(hello);
        self.answers.messages.push(Message::Hello(identity.hello(Role::Sequencer, hello.route)));
    }

    fn activate(&mut self, request: u64, config: LogletConfig) {
        let Host { sequencing, config: SequencerShardConfig { identity, limits, .. }, now, .. } = &mut self.host;
        let loglet = config.id;
        if config.log_servers.iter().any(|member| member.node == identity.node) {
            return self
                .refuse(request, "this node sequences and does nothing else: it cannot be a LogServer of the loglet");
        }
        let active = sequencing.activate(config, identity, limits, None, *now);
        self.answers.messages.push(match active {
            true => Message::Done { request, loglet },
            false => Message::SequencerLost { request, loglet },
        });
    }

    fn refuse(&mut self, request: u64, detail: &'static str) {
        self.answers.messages.push(Message::Reject { request, code: RejectCode::Role, detail });
    }

    fn reject(&mut self, code: RejectCode, detail: &str) {
        self.answers.reject = Some((code, detail.to_owned()));
    }
}
