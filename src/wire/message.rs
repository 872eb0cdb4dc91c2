use zerocopy::IntoBytes;

use super::header::{FrameError, FrameHeader, HEADER_BYTES, Opcode};
use super::register::RegisterNumbers;
use super::{Batch, LogletConfig, RegisterMessage, Residence};
use crate::base::checksum::crc32c;
use crate::base::{ClusterId, Incarnation, Limits, LogletId, NodeId, Offset, RegisterId};

/// Why a connection or a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[repr(u8)]
pub enum RejectCode {
    /// Another protocol version.
    #[error("unsupported protocol version")]
    Version = 1,
    /// Another cluster.
    #[error("wrong cluster")]
    Cluster = 2,
    /// The node at this address is not the one asked for.
    #[error("wrong node")]
    Node = 3,
    /// Bytes that are no frame, or a frame out of place.
    #[error("malformed frame")]
    Malformed = 4,
    /// The loglet is not known here.
    #[error("unknown loglet")]
    UnknownLoglet = 5,
    /// A limit is exceeded.
    #[error("over a limit")]
    Limit = 6,
    /// The loglet's configuration contradicts the one known here.
    #[error("conflicting configuration")]
    Config = 7,
    /// The node has no such role: it only sequences.
    #[error("not a role of this node")]
    Role = 8,
}

impl RejectCode {
    fn decode(value: u64) -> Result<Self, FrameError> {
        use RejectCode::{Cluster, Config, Limit, Malformed, Node, Role, UnknownLoglet, Version};
        [Version, Cluster, Node, Malformed, UnknownLoglet, Limit, Config, Role]
            .into_iter()
            .find(|code| *code as u64 == value)
            .ok_or(FrameError::Malformed("unknown reject code"))
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Role {
    /// A client: appends, reads, control.
    Client = 1,
    /// A sequencer that stores on this LogServer; in an answer, a node that sequences and does nothing else.
    Sequencer = 2,
    /// A LogServer that fetches records it lacks; in an answer, a node that stores.
    LogServer = 3,
    /// A client on its way to a loglet's sequencer.
    Appender = 4,
}

/// The first frame in each direction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hello {
    /// The cluster; 0 from a client that does not know it yet.
    pub cluster: ClusterId,
    /// Who speaks; 0 for a client.
    pub node: NodeId,
    /// The life of the speaking process (P4).
    pub incarnation: Incarnation,
    /// Whom the speaker takes the other for, who refuses the connection if it is somebody else, before anything that comes behind the hello
    /// is looked at; 0 for anybody, and in answers.
    pub to: NodeId,
    /// What the connection is for.
    pub role: Role,
    /// The loglet by which the connection is routed to a shard; all zero for none.
    pub route: LogletId,
}

impl Hello {
    const BODY_BYTES: usize = 65;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.to.0.to_le_bytes());
        out.push(self.role as u8);
    }

    fn decode(route: LogletId, body: &[u8]) -> Result<Self, FrameError> {
        if body.len() != Self::BODY_BYTES {
            return Err(FrameError::Malformed("a hello has another size"));
        }
        let id = |at: usize| u128::from_le_bytes(body[at..at + 16].try_into().expect("sixteen bytes"));
        let role = match body[64] {
            1 => Role::Client,
            2 => Role::Sequencer,
            3 => Role::LogServer,
            4 => Role::Appender,
            _ => return Err(FrameError::Malformed("unknown role")),
        };
        let (cluster, node, incarnation, to) = (ClusterId(id(0)), NodeId(id(16)), Incarnation(id(32)), NodeId(id(48)));
        Ok(Self { cluster, node, incarnation, to, role, route })
    }
}

/// One message between processes. Requests carry a number that their answers repeat.
///
/// `known_tail` obeys P1 wherever it stands: it was reached by unsealed answers, never by a sealed checkTail or a repair.
#[derive(Clone, PartialEq, Hash, Debug)]
#[expect(missing_docs, reason = "each variant's text explains its fields")]
pub enum Message<'a> {
    /// First frame in each direction.
    Hello(Hello),
    /// Refusal of the connection (`request` 0, the sender closes) or of one request.
    Reject { request: u64, code: RejectCode, detail: &'a str },

    /// Asks whether the peer is there, and not stopped or cut off. Answer: `Pong`, at once.
    Ping { request: u64 },
    /// The peer is there.
    Pong { request: u64 },

    /// Creates a loglet, idempotently. Answer: `Done`, `Gone`, or `Sealed` if a seal came first (P5).
    Create { request: u64, config: LogletConfig },
    /// Starts the sequencer on the node that the configuration names. Answer: `Done` or `SequencerLost` (P4).
    Activate { request: u64, config: LogletConfig },
    /// Records at `first..`. Answer: `Stored`, unnumbered and cumulative, or `Sealed`, `Behind`, `NoSpace`, `Conflict`, `Gone`.
    Store { loglet: LogletId, first: Offset, known_tail: Offset, batch: Batch<'a> },
    /// A bare known tail (L3).
    KnownTail { loglet: LogletId, known_tail: Offset },
    /// Seals. Answer: `Sealed`, when the seal is durable (P2).
    Seal { request: u64, loglet: LogletId },
    /// Asks for the local tail, telling the client's known tail (L3). Answer: `Tail` or `Sealed`.
    CheckTail { request: u64, loglet: LogletId, known_tail: Offset },
    /// Asks to be told when the local tail has reached `at_least`, or the loglet is sealed. Answer: `Tail` or `Sealed`, or
    /// `NoSpace` while it cannot grow.
    AwaitTail { request: u64, loglet: LogletId, at_least: Offset },
    /// Reads from `min`, below `max` and below max(`limit`, the server's known tail) (P17). Answer: `Records`, `Gap`,
    /// `Behind`, `Trimmed` or `Gone`.
    Read { request: u64, loglet: LogletId, min: Offset, max: Offset, limit: Offset, bytes_max: u32 },
    /// Streams `Records` from `from`, below max(`limit`, the server's known tail), while `credit` bytes last; ends with
    /// `Sealed`, `Gap`, `Trimmed` or `Gone` (L5). The same request number with `credit` 0 ends it from the client's side.
    Subscribe { request: u64, loglet: LogletId, from: Offset, limit: Offset, credit: u32 },
    /// Grants the subscription `request` more bytes, and tells it a new limit.
    Credit { request: u64, loglet: LogletId, limit: Offset, bytes: u32 },
    /// Gives up everything below `point`, clipped to max(`committed`, the server's known tail), where `committed` is the
    /// largest tail that the sender knows to be committed (P3). Answer: `Trimmed`.
    Trim { request: u64, loglet: LogletId, point: Offset, committed: Offset },
    /// A repair's copy of records onto a sealed LogServer, on top of its local tail (P3). Answer: `Sealed` with the new local
    /// tail when durable, or `Behind`, or `NoSpace`.
    Repair { request: u64, loglet: LogletId, first: Offset, batch: Batch<'a> },
    /// Deletes the loglet, on a chain version that does not name it, but `live` (P5). Answer: `Gone`.
    Delete { request: u64, loglet: LogletId, chain_version: u64, live: Vec<LogletId> },
    /// Appends; without no-ops. Answer: `Appended`, `AppendSealed`, `AppendNoSpace` or `SequencerLost`.
    Append { request: u64, loglet: LogletId, batch: Batch<'a> },
    /// Gives out every offset below `offset` that is not given out yet, as far as one request reaches, to no-ops; nothing where it is
    /// there already (P6). Answer: `Filled`, when that is committed; else as to an append, with `count` 0.
    FillTo { request: u64, loglet: LogletId, offset: Offset },
    /// Asks a node about itself. Answer: `StatusReport`.
    Status { request: u64 },

    /// Done.
    Done { request: u64, loglet: LogletId },
    /// Everything below `tail` is durable here while the loglet is open here; `followed` when somebody waits here for the known tail.
    Stored { loglet: LogletId, tail: Offset, followed: bool },
    /// The local tail of an open loglet, and its trim point.
    Tail { request: u64, loglet: LogletId, tail: Offset, known_tail: Offset, trim_point: Offset },
    /// The loglet is sealed here, durably (P2); its local tail and trim point. `request` is 0 in answer to a `Store`.
    Sealed { request: u64, loglet: LogletId, tail: Offset, known_tail: Offset, trim_point: Offset },
    /// The server's local tail is below what was asked. `request` is 0 in answer to a `Store`.
    Behind { request: u64, loglet: LogletId, tail: Offset, known_tail: Offset },
    /// Another record is stored at `at`.
    Conflict { request: u64, loglet: LogletId, at: Offset },
    /// The loglet has been deleted; ask the MetaStore. `request` is 0 in answer to a `Store`.
    Gone { request: u64, loglet: LogletId },
    /// Records from `first` on, in answer to a read or for a subscription.
    Records { request: u64, loglet: LogletId, first: Offset, known_tail: Offset, batch: Batch<'a> },
    /// The server lacks `from..to`, which lies below its local tail; another server has it.
    Gap { request: u64, loglet: LogletId, from: Offset, to: Offset },
    /// The trim point.
    Trimmed { request: u64, loglet: LogletId, trim_point: Offset },
    /// The records are on stable storage on a majority, at `first..first + count`; with where their time went, if the sequencer's node
    /// measures that.
    Appended {
        request: u64,
        loglet: LogletId,
        first: Offset,
        count: u32,
        known_tail: Offset,
        residence: Option<Residence>,
    },
    /// Everything below the offset asked for, or as far as one request reaches, is on stable storage on a majority: `known_tail` is at
    /// least that. `placed` no-ops are this request's own.
    Filled { request: u64, loglet: LogletId, placed: u64, known_tail: Offset },
    /// The loglet was sealed when the records had been given `first..first + count` (P16); `count` is 0 when none were given.
    AppendSealed { request: u64, loglet: LogletId, first: Offset, count: u32 },
    /// This process does not sequence the loglet, or no longer; the outcome of an append in flight is unknown.
    SequencerLost { request: u64, loglet: LogletId },
    /// A JSON object about the node.
    /// With `left` bytes of the JSON still to come, in further frames.
    StatusReport { request: u64, left: u64, json: &'a [u8] },
    /// The server cannot do that now.
    Unavailable { request: u64, loglet: LogletId, reason: &'a str },
    /// The server's journal has no space for records; nothing of the request was taken. `request` is 0 in answer to a `Store`: then
    /// nothing more is taken before a `Behind` says from where on to send again.
    NoSpace { request: u64, loglet: LogletId },
    /// Fewer LogServers than a majority have space. The records had been given `first..first + count`, where they may become part
    /// of the log later and nowhere else; `count` is 0 when none were given, and then they never will (P16).
    AppendNoSpace { request: u64, loglet: LogletId, first: Offset, count: u32 },
    /// Between a proposer and an acceptor of the MetaStore, about one register; in both directions (P8). Beside the answers that
    /// belong to it, `Reject` and `Unavailable` may come. In a box, so that the messages of the data plane stay small.
    Register { request: u64, register: RegisterId, message: Box<RegisterMessage> },
}

/// The numbers of a header, by name; what remains of a message beside opcode, loglet and body.
#[derive(Default)]
struct Numbers {
    request: u64,
    offset: Offset,
    known_tail: Offset,
    aux: u64,
    count: u32,
}

impl<'a> Message<'a> {
    /// Appends the frame of this message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        let (opcode, loglet, numbers) = self.encode_body(out);
        let checked = checked_part(opcode, numbers.count, &out[start + HEADER_BYTES..]);
        self.finish(start, opcode, loglet, &numbers, crc32c(checked.expect("a batch has its table")), out);
    }

    /// As [`Message::encode`], for a message whose body was received in a frame with this checksum: the body's bytes are not
    /// read again.
    pub fn encode_with_checksum(&self, body_checksum: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        let (opcode, loglet, numbers) = self.encode_body(out);
        debug_assert_eq!(crc32c(&out[start + HEADER_BYTES..]), body_checksum);
        self.finish(start, opcode, loglet, &numbers, body_checksum, out);
    }

    fn finish(&self, start: usize, opcode: Opcode, loglet: LogletId, numbers: &Numbers, checksum: u32, out: &mut [u8]) {
        let body_bytes = u32::try_from(out.len() - start - HEADER_BYTES).expect("frame bodies are far below 4 GiB");
        let mut header = FrameHeader::new(opcode, loglet);
        header.request = numbers.request.into();
        header.offset = numbers.offset.0.into();
        header.known_tail = numbers.known_tail.0.into();
        header.aux = numbers.aux.into();
        header.count = numbers.count.into();
        let header = header.finish(body_bytes, checksum);
        out[start..start + HEADER_BYTES].copy_from_slice(header.as_bytes());
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> (Opcode, LogletId, Numbers) {
        let none = Numbers::default();
        match *self {
            Self::Hello(ref hello) => {
                hello.encode(out);
                (Opcode::Hello, hello.route, none)
            }
            Self::Reject { request, code, detail } => {
                out.extend_from_slice(detail.as_bytes());
                (Opcode::Reject, LogletId::default(), Numbers { request, aux: code as u64, ..none })
            }
            Self::Ping { request } => (Opcode::Ping, LogletId::default(), Numbers { request, ..none }),
            Self::Pong { request } => (Opcode::Pong, LogletId::default(), Numbers { request, ..none }),
            Self::Create { request, ref config } => {
                out.extend_from_slice(&config.to_json());
                (Opcode::Create, config.id, Numbers { request, ..none })
            }
            Self::Activate { request, ref config } => {
                out.extend_from_slice(&config.to_json());
                (Opcode::Activate, config.id, Numbers { request, ..none })
            }
            Self::Store { loglet, first, known_tail, batch } => {
                batch.write_to(out);
                (Opcode::Store, loglet, Numbers { offset: first, known_tail, count: batch.count(), ..none })
            }
            Self::KnownTail { loglet, known_tail } => (Opcode::KnownTail, loglet, Numbers { known_tail, ..none }),
            Self::Seal { request, loglet } => (Opcode::Seal, loglet, Numbers { request, ..none }),
            Self::CheckTail { request, loglet, known_tail } => {
                (Opcode::CheckTail, loglet, Numbers { request, known_tail, ..none })
            }
            Self::AwaitTail { request, loglet, at_least } => {
                (Opcode::AwaitTail, loglet, Numbers { request, offset: at_least, ..none })
            }
            Self::Read { request, loglet, min, max, limit, bytes_max } => {
                out.extend_from_slice(&max.0.to_le_bytes());
                (Opcode::Read, loglet, Numbers { request, offset: min, aux: limit.0, count: bytes_max, ..none })
            }
            Self::Subscribe { request, loglet, from, limit, credit } => {
                (Opcode::Subscribe, loglet, Numbers { request, offset: from, aux: limit.0, count: credit, ..none })
            }
            Self::Credit { request, loglet, limit, bytes } => {
                (Opcode::Credit, loglet, Numbers { request, aux: limit.0, count: bytes, ..none })
            }
            Self::Trim { request, loglet, point, committed } => {
                (Opcode::Trim, loglet, Numbers { request, offset: point, aux: committed.0, ..none })
            }
            Self::Repair { request, loglet, first, batch } => {
                batch.write_to(out);
                (Opcode::Repair, loglet, Numbers { request, offset: first, count: batch.count(), ..none })
            }
            Self::Delete { request, loglet, chain_version, ref live } => {
                for LogletId { log, version, nonce } in live {
                    [log, version, nonce].into_iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
                }
                (Opcode::Delete, loglet, Numbers { request, aux: chain_version, ..none })
            }
            Self::Append { request, loglet, batch } => {
                batch.write_to(out);
                (Opcode::Append, loglet, Numbers { request, count: batch.count(), ..none })
            }
            Self::FillTo { request, loglet, offset } => (Opcode::FillTo, loglet, Numbers { request, offset, ..none }),
            Self::Status { request } => (Opcode::Status, LogletId::default(), Numbers { request, ..none }),
            Self::Done { request, loglet } => (Opcode::Done, loglet, Numbers { request, ..none }),
            Self::Stored { loglet, tail, followed } => {
                (Opcode::Stored, loglet, Numbers { offset: tail, aux: u64::from(followed), ..none })
            }
            Self::Tail { request, loglet, tail, known_tail, trim_point } => {
                (Opcode::Tail, loglet, Numbers { request, offset: tail, known_tail, aux: trim_point.0, ..none })
            }
            Self::Sealed { request, loglet, tail, known_tail, trim_point } => {
                (Opcode::Sealed, loglet, Numbers { request, offset: tail, known_tail, aux: trim_point.0, ..none })
            }
            Self::Behind { request, loglet, tail, known_tail } => {
                (Opcode::Behind, loglet, Numbers { request, offset: tail, known_tail, ..none })
            }
            Self::Conflict { request, loglet, at } => {
                (Opcode::Conflict, loglet, Numbers { request, offset: at, ..none })
            }
            Self::Gone { request, loglet } => (Opcode::Gone, loglet, Numbers { request, ..none }),
            Self::Records { request, loglet, first, known_tail, batch } => {
                batch.write_to(out);
                (Opcode::Records, loglet, Numbers { request, offset: first, known_tail, count: batch.count(), ..none })
            }
            Self::Gap { request, loglet, from, to } => {
                (Opcode::Gap, loglet, Numbers { request, offset: from, aux: to.0, ..none })
            }
            Self::Trimmed { request, loglet, trim_point } => {
                (Opcode::Trimmed, loglet, Numbers { request, offset: trim_point, ..none })
            }
            Self::Appended { request, loglet, first, count, known_tail, residence } => {
                if let Some(residence) = residence {
                    residence.encode(out);
                }
                let aux = u64::from(residence.is_some());
                (Opcode::Appended, loglet, Numbers { request, offset: first, count, known_tail, aux })
            }
            Self::Filled { request, loglet, placed, known_tail } => {
                (Opcode::Filled, loglet, Numbers { request, aux: placed, known_tail, ..none })
            }
            Self::AppendSealed { request, loglet, first, count } => {
                (Opcode::AppendSealed, loglet, Numbers { request, offset: first, count, ..none })
            }
            Self::SequencerLost { request, loglet } => (Opcode::SequencerLost, loglet, Numbers { request, ..none }),
            Self::StatusReport { request, left, json } => {
                out.extend_from_slice(json);
                (Opcode::StatusReport, LogletId::default(), Numbers { request, aux: left, ..none })
            }
            Self::Unavailable { request, loglet, reason } => {
                out.extend_from_slice(reason.as_bytes());
                (Opcode::Unavailable, loglet, Numbers { request, ..none })
            }
            Self::NoSpace { request, loglet } => (Opcode::NoSpace, loglet, Numbers { request, ..none }),
            Self::AppendNoSpace { request, loglet, first, count } => {
                (Opcode::AppendNoSpace, loglet, Numbers { request, offset: first, count, ..none })
            }
            Self::Register { request, register, ref message } => {
                let (opcode, RegisterNumbers { aux, offset, count }) = message.encode_body(out);
                (opcode, register.key(), Numbers { request, offset: Offset(offset), aux, count, ..none })
            }
        }
    }

    /// The message of an accepted header and its body, whose checksum is verified here. That of `Records` covers the batch's table
    /// alone: the table has the checksum of each record, and whoever takes records verifies those ([`Batch::verify`]).
    ///
    /// # Errors
    /// The body does not match its checksum, or not its opcode.
    pub fn decode(header: &FrameHeader, body: &'a [u8]) -> Result<Self, FrameError> {
        debug_assert_eq!(body.len(), header.body_bytes.get() as usize);
        let checked = checked_part(header.opcode(), header.count.get(), body)
            .ok_or(FrameError::Malformed("a batch's lengths do not add up"))?;
        if crc32c(checked) != header.body_checksum.get() {
            return Err(FrameError::BodyChecksum);
        }
        let loglet = header.loglet();
        let request = header.request.get();
        let offset = Offset(header.offset.get());
        let known_tail = Offset(header.known_tail.get());
        let aux = header.aux.get();
        let count = header.count.get();
        let batch = || Batch::new(count, body).map_err(|_| FrameError::Malformed("a batch's lengths do not add up"));
        let text = || str::from_utf8(body).map_err(|_| FrameError::Malformed("a text is not UTF-8"));
        let config = || match LogletConfig::from_json(body) {
            Ok(config) if config.id == loglet => Ok(config),
            Ok(_) => Err(FrameError::Malformed("a configuration is of another loglet")),
            Err(_) => Err(FrameError::Malformed("a loglet configuration does not parse")),
        };
        let message = match header.opcode() {
            Opcode::Hello => return Ok(Self::Hello(Hello::decode(loglet, body)?)),
            Opcode::Reject => Self::Reject { request, code: RejectCode::decode(aux)?, detail: text()? },
            Opcode::Create => Self::Create { request, config: config()? },
            Opcode::Activate => Self::Activate { request, config: config()? },
            Opcode::Store => Self::Store { loglet, first: checked_range(offset, count)?, known_tail, batch: batch()? },
            Opcode::Repair => Self::Repair { request, loglet, first: checked_range(offset, count)?, batch: batch()? },
            Opcode::Append => {
                // Only a sequencer places no-ops (P6).
                let batch = Batch::without_no_ops(count, body);
                let refused = FrameError::Malformed("an append's lengths do not add up, or it has no-ops");
                Self::Append { request, loglet, batch: batch.map_err(|_| refused)? }
            }
            Opcode::Records => {
                Self::Records { request, loglet, first: checked_range(offset, count)?, known_tail, batch: batch()? }
            }
            Opcode::Read => {
                let max = body.try_into().map_err(|_| FrameError::Malformed("a read has another size"))?;
                let max = Offset(u64::from_le_bytes(max));
                Self::Read { request, loglet, min: offset, max, limit: Offset(aux), bytes_max: count }
            }
            Opcode::StatusReport => Self::StatusReport { request, left: aux, json: body },
            Opcode::Unavailable => Self::Unavailable { request, loglet, reason: text()? },
            opcode @ (Opcode::RegisterQuery
            | Opcode::RegisterPrepare
            | Opcode::RegisterAccept
            | Opcode::RegisterLearn
            | Opcode::RegisterState
            | Opcode::RegisterPromised
            | Opcode::RegisterAccepted
            | Opcode::RegisterRefused
            | Opcode::RegisterDecided
            | Opcode::RegisterBehind
            | Opcode::RegisterLearned) => {
                let register = RegisterId(loglet.log);
                if register.key() != loglet {
                    return Err(FrameError::Malformed("a register has neither version nor nonce"));
                }
                let message = RegisterMessage::decode(opcode, RegisterNumbers { aux, offset: offset.0, count }, body);
                let message = Box::new(message.expect("these are its opcodes")?);
                Self::Register { request, register, message }
            }
            Opcode::Delete => Self::Delete { request, loglet, chain_version: aux, live: loglet_ids(body)? },
            Opcode::Appended => {
                let residence = Residence::decode(aux, body)?;
                Self::Appended { request, loglet, first: checked_range(offset, count)?, count, known_tail, residence }
            }
            _ if !body.is_empty() => return Err(FrameError::Malformed("a frame of this opcode has no body")),
            Opcode::Ping => Self::Ping { request },
            Opcode::Pong => Self::Pong { request },
            Opcode::KnownTail => Self::KnownTail { loglet, known_tail },
            Opcode::Seal => Self::Seal { request, loglet },
            Opcode::CheckTail => Self::CheckTail { request, loglet, known_tail },
            Opcode::AwaitTail => Self::AwaitTail { request, loglet, at_least: offset },
            Opcode::Subscribe => Self::Subscribe { request, loglet, from: offset, limit: Offset(aux), credit: count },
            Opcode::Credit => Self::Credit { request, loglet, limit: Offset(aux), bytes: count },
            Opcode::Trim => Self::Trim { request, loglet, point: offset, committed: Offset(aux) },
            Opcode::FillTo => Self::FillTo { request, loglet, offset: checked_range(offset, 0)? },
            Opcode::Filled => Self::Filled { request, loglet, placed: aux, known_tail },
            Opcode::Status => Self::Status { request },
            Opcode::Done => Self::Done { request, loglet },
            Opcode::Stored => Self::Stored { loglet, tail: offset, followed: aux == 1 },
            Opcode::Tail => Self::Tail { request, loglet, tail: offset, known_tail, trim_point: Offset(aux) },
            Opcode::Sealed => Self::Sealed { request, loglet, tail: offset, known_tail, trim_point: Offset(aux) },
            Opcode::Behind => Self::Behind { request, loglet, tail: offset, known_tail },
            Opcode::Conflict => Self::Conflict { request, loglet, at: offset },
            Opcode::Gone => Self::Gone { request, loglet },
            Opcode::Gap => Self::Gap { request, loglet, from: offset, to: Offset(aux) },
            Opcode::Trimmed => Self::Trimmed { request, loglet, trim_point: offset },
            Opcode::AppendSealed => Self::AppendSealed { request, loglet, first: checked_range(offset, count)?, count },
            Opcode::SequencerLost => Self::SequencerLost { request, loglet },
            Opcode::NoSpace => Self::NoSpace { request, loglet },
            Opcode::AppendNoSpace => {
                Self::AppendNoSpace { request, loglet, first: checked_range(offset, count)?, count }
            }
        };
        Ok(message)
    }
}

/// What the body's checksum covers.
fn checked_part(opcode: Opcode, count: u32, body: &[u8]) -> Option<&[u8]> {
    if opcode == Opcode::Records { body.get(..count as usize * Limits::RECORD_OVERHEAD as usize) } else { Some(body) }
}

/// Names of loglets, 24 bytes each.
fn loglet_ids(body: &[u8]) -> Result<Vec<LogletId>, FrameError> {
    let (ids, rest) = body.as_chunks::<24>();
    if !rest.is_empty() {
        return Err(FrameError::Malformed("names of loglets have another size"));
    }
    let word = |id: &[u8; 24], at: usize| u64::from_le_bytes(id[at..at + 8].try_into().expect("eight bytes"));
    Ok(ids.iter().map(|id| LogletId { log: word(id, 0), version: word(id, 8), nonce: word(id, 16) }).collect())
}

/// `first`, unless the range of `count` offsets from it leaves the numbers that offsets may have.
fn checked_range(first: Offset, count: u32) -> Result<Offset, FrameError> {
    if first <= Offset::LAST && u64::from(count) < 1 << 31 {
        Ok(first)
    } else {
        Err(FrameError::Malformed("an offset is out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_batch(out: &mut Vec<u8>) -> Batch<'_> {
        let mut builder = crate::wire::BatchBuilder::default();
        builder.push(b"alpha");
        builder.push(b"");
        builder.write_to(out);
        Batch::new(2, out).unwrap()
    }

    fn samples<'a>(batch: Batch<'a>) -> Vec<Message<'a>> {
        let loglet = LogletId { log: 1, version: 2, nonce: 3 };
        let (request, first, known_tail, trim_point) = (7, Offset(40), Offset(39), Offset(5));
        let address = "127.0.0.1:4100".parse().unwrap();
        let config = LogletConfig {
            id: loglet,
            sequencer: crate::wire::Sequencer { node: NodeId(1), incarnation: Incarnation(9), address },
            log_servers: vec![crate::wire::Member { node: NodeId(1), address }],
        };
        let mut samples = vec![
            Message::Hello(Hello {
                cluster: ClusterId(5),
                node: NodeId(6),
                incarnation: Incarnation(7),
                to: NodeId(8),
                role: Role::Sequencer,
                route: loglet,
            }),
            Message::Reject { request, code: RejectCode::Cluster, detail: "another cluster" },
            Message::Ping { request },
            Message::Pong { request },
            Message::Create { request, config: config.clone() },
            Message::Activate { request, config },
            Message::Store { loglet, first, known_tail, batch },
            Message::KnownTail { loglet, known_tail },
            Message::Seal { request, loglet },
            Message::CheckTail { request, loglet, known_tail },
            Message::AwaitTail { request, loglet, at_least: first },
            Message::Read { request, loglet, min: first, max: Offset(90), limit: Offset(80), bytes_max: 4096 },
            Message::Subscribe { request, loglet, from: first, limit: Offset(80), credit: 4096 },
            Message::Credit { request, loglet, limit: Offset(80), bytes: 4096 },
            Message::Trim { request, loglet, point: first, committed: Offset(41) },
            Message::Repair { request, loglet, first, batch },
            Message::Delete { request, loglet, chain_version: 12, live: vec![loglet, LogletId { nonce: 9, ..loglet }] },
            Message::Append { request, loglet, batch },
            Message::FillTo { request, loglet, offset: first },
            Message::Status { request },
            Message::Done { request, loglet },
            Message::Stored { loglet, tail: first, followed: false },
            Message::Stored { loglet, tail: first, followed: true },
            Message::Tail { request, loglet, tail: first, known_tail, trim_point },
            Message::Sealed { request, loglet, tail: first, known_tail, trim_point },
            Message::Behind { request, loglet, tail: first, known_tail },
            Message::Conflict { request, loglet, at: first },
            Message::Gone { request, loglet },
            Message::Records { request, loglet, first, known_tail, batch },
            Message::Gap { request, loglet, from: first, to: Offset(50) },
            Message::Trimmed { request, loglet, trim_point },
            Message::Appended { request, loglet, first, count: 2, known_tail, residence: None },
            Message::Appended {
                request,
                loglet,
                first,
                count: 2,
                known_tail,
                residence: Some(Residence { arrived: u64::MAX, stages: [1, 2, 3, 4, 5, u32::MAX], last: 2 }),
            },
            Message::Filled { request, loglet, placed: 3, known_tail },
            Message::AppendSealed { request, loglet, first, count: 2 },
            Message::SequencerLost { request, loglet },
            Message::StatusReport { request, left: 7, json: b"{}" },
            Message::Unavailable { request, loglet, reason: "the journal has failed" },
            Message::NoSpace { request, loglet },
            Message::AppendNoSpace { request, loglet, first, count: 2 },
        ];
        samples.extend(register_samples());
        samples
    }

    fn register_samples<'a>() -> impl Iterator<Item = Message<'a>> {
        use crate::base::{Nonce, ProposerId, Version};
        use crate::wire::{Ballot, Decision, Vote};

        let ballot = Ballot { round: 3, proposer: ProposerId(9) };
        let members = [1, 2].map(|node| crate::wire::Member {
            node: NodeId(node),
            address: format!("127.0.0.{node}:4100").parse().unwrap(),
        });
        let decision =
            Decision { version: Version(5), nonce: Nonce(11), members: members.to_vec(), value: b"{}".to_vec() };
        let instance = decision.version;
        let accepted = Some(Vote { ballot, decision: decision.clone() });
        [
            RegisterMessage::Query { instance },
            RegisterMessage::Prepare { instance, ballot },
            RegisterMessage::Accept { ballot, decision: decision.clone() },
            RegisterMessage::Learn { decision: decision.clone() },
            RegisterMessage::State { instance, accepted: accepted.clone() },
            RegisterMessage::State { instance, accepted: None },
            RegisterMessage::Promised { instance, ballot, accepted },
            RegisterMessage::Promised { instance, ballot, accepted: None },
            RegisterMessage::Accepted { instance, ballot },
            RegisterMessage::Refused { instance, promised: ballot },
            RegisterMessage::Decided { decision },
            RegisterMessage::Behind { instance, next: Version(2) },
            RegisterMessage::Learned { version: instance },
        ]
        .into_iter()
        .map(|message| Message::Register { request: 7, register: RegisterId(4), message: Box::new(message) })
    }

    #[test]
    fn every_message_survives_its_frame() {
        let mut bytes = Vec::new();
        for message in samples(sample_batch(&mut bytes)) {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let header = FrameHeader::decode(&frame, Limits::default().frame_body_bytes_max).unwrap();
            assert_eq!(Message::decode(&header, &frame[HEADER_BYTES..]).unwrap(), message);
        }
    }

    /// Only a sequencer places no-ops (P6); from there on they are records like others.
    #[test]
    fn an_append_with_a_no_op_is_refused_and_a_store_is_not() {
        let mut builder = crate::wire::BatchBuilder::default();
        builder.push(b"alpha");
        builder.push_no_op();
        let (loglet, first, batch) = (LogletId::default(), Offset(4), builder.batch());
        let decoded = |message: Message<'_>| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let header = FrameHeader::decode(&frame, u32::MAX).unwrap();
            Message::decode(&header, &frame[HEADER_BYTES..]).map(|decoded| assert_eq!(decoded, message))
        };
        assert!(matches!(decoded(Message::Append { request: 1, loglet, batch }), Err(FrameError::Malformed(_))));
        decoded(Message::Store { loglet, first, known_tail: first, batch }).unwrap();
        decoded(Message::Repair { request: 1, loglet, first, batch }).unwrap();
        decoded(Message::Records { request: 1, loglet, first, known_tail: first, batch }).unwrap();
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let mut bytes = Vec::new();
        for message in samples(sample_batch(&mut bytes)) {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            for bit in 0..frame.len() * 8 {
                let mut damaged = frame.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let decoded = FrameHeader::decode(&damaged, u32::MAX)
                    .and_then(|header| Message::decode(&header, &damaged[HEADER_BYTES..]));
                let accepted = match decoded {
                    Ok(Message::Records { batch, .. }) => batch.verify().is_ok(),
                    decoded => decoded.is_ok(),
                };
                assert!(!accepted, "bit {bit} of {message:?}");
            }
        }
    }
}
