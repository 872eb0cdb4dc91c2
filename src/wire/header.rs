use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::base::LogletId;
use crate::base::checksum::crc32c;

/// The first two bytes of every frame: "NX".
const MAGIC: u16 = u16::from_le_bytes(*b"NX");
/// The version of the frames described here.
pub const PROTOCOL_VERSION: u8 = 1;
/// Bytes of a frame header.
pub const HEADER_BYTES: usize = size_of::<FrameHeader>();

/// The fixed header before every frame body, little-endian. What `count`, `offset` and `aux` mean depends on the opcode; see
/// [`Message`](super::Message).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, PartialEq, Eq)]
#[repr(C)]
pub struct FrameHeader {
    magic: U16,
    version: u8,
    opcode: u8,
    flags: U16,
    reserved: U16,
    /// Bytes of the body that follows.
    pub body_bytes: U32,
    /// CRC-32C of the body. It leaves out everything that a hop may change, so it travels unchanged end to end.
    pub body_checksum: U32,
    /// A number of records or bytes.
    pub count: U32,
    reserved_2: U32,
    /// Pairs an answer with its request; 0 where nothing is answered.
    pub request: U64,
    log: U64,
    loglet_version: U64,
    nonce: U64,
    /// The offset that the frame is about.
    pub offset: U64,
    /// The sender's known tail of the loglet.
    pub known_tail: U64,
    /// A second number, by opcode.
    pub aux: U64,
    reserved_3: U32,
    header_checksum: U32,
}

const _: () = assert!(HEADER_BYTES == 88, "the header's size is part of the protocol");

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $value:literal),* $(,)?) => {
        /// What a frame is.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Opcode { $($(#[$doc])* $name = $value),* }

        impl Opcode {
            fn decode(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }
        }
    };
}

opcodes! {
    /// First frame in each direction.
    Hello = 1,
    /// The connection, or a request, is refused; the body says why.
    Reject = 2,
    /// Asks whether the peer is there.
    Ping = 3,
    /// It is.
    Pong = 4,
    /// Creates a loglet on a LogServer.
    Create = 10,
    /// Starts the sequencer of a loglet.
    Activate = 11,
    /// Sequencer to LogServer: store these records.
    Store = 12,
    /// A bare known tail (L3).
    KnownTail = 13,
    /// Seals a loglet.
    Seal = 14,
    /// Asks for the local tail.
    CheckTail = 15,
    /// Asks for the local tail once it has reached an offset.
    AwaitTail = 16,
    /// Reads records.
    Read = 17,
    /// Streams records as they become readable.
    Subscribe = 18,
    /// Grants a subscription more bytes.
    Credit = 19,
    /// Gives up a prefix.
    Trim = 20,
    /// A repair's copy of records to a sealed LogServer.
    Repair = 21,
    /// Deletes a loglet.
    Delete = 22,
    /// Client to sequencer: append these records.
    Append = 23,
    /// Asks a node about itself.
    Status = 24,
    /// Asks an acceptor for its state of an instance, without preparing.
    RegisterQuery = 25,
    /// Phase 1 of Paxos.
    RegisterPrepare = 26,
    /// Phase 2 of Paxos.
    RegisterAccept = 27,
    /// Tells an acceptor a decision.
    RegisterLearn = 28,
    /// Client to sequencer: place no-ops, so that every offset below one is given out (P6).
    FillTo = 29,
    /// Done, with nothing to add.
    Done = 40,
    /// Everything below an offset is durable here and the loglet is open here.
    Stored = 41,
    /// An unsealed local tail.
    Tail = 42,
    /// The loglet is sealed here, durably; with the local tail.
    Sealed = 43,
    /// The store is out of order; the sequencer resends from the local tail.
    Behind = 44,
    /// Another record is stored at this offset.
    Conflict = 45,
    /// The loglet has been deleted.
    Gone = 46,
    /// Records, in answer to a read or for a subscription.
    Records = 47,
    /// This server lacks the records of a range below its local tail.
    Gap = 48,
    /// The records have been trimmed.
    Trimmed = 49,
    /// An append is acknowledged.
    Appended = 50,
    /// An append met a seal after it was given these offsets; its outcome is settled by the chain (P16).
    AppendSealed = 51,
    /// This node does not sequence the loglet, or no longer.
    SequencerLost = 52,
    /// The answer to a status request.
    StatusReport = 53,
    /// The server cannot do that now, for instance because its journal has failed.
    Unavailable = 54,
    /// The server's journal has no space for records.
    NoSpace = 55,
    /// An append was not acknowledged, for want of space on a majority.
    AppendNoSpace = 56,
    /// An acceptor's state of an instance that it holds no decision of.
    RegisterState = 57,
    /// The answer to phase 1.
    RegisterPromised = 58,
    /// The answer to phase 2.
    RegisterAccepted = 59,
    /// Another ballot has been promised.
    RegisterRefused = 60,
    /// The acceptor holds this decision, and votes on nothing at or below it.
    RegisterDecided = 61,
    /// The acceptor lacks the decision before the instance asked about.
    RegisterBehind = 62,
    /// The acceptor holds a decision at or beyond the one that it was told.
    RegisterLearned = 63,
    /// What a sequencer has placed is committed.
    Filled = 64,
}

/// Why bytes are not a frame. The connection that sent them is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not our protocol at all.
    #[error("the peer does not speak this protocol: a frame begins with {0:#06x}")]
    Magic(u16),
    /// A version that this build does not speak.
    #[error("the peer speaks protocol version {0}; this is version {PROTOCOL_VERSION}")]
    Version(u8),
    /// An opcode that this version does not have.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// A header that does not match its checksum.
    #[error("the checksum of a frame header does not match")]
    HeaderChecksum,
    /// A body that does not match its checksum.
    #[error("the checksum of a frame body does not match")]
    BodyChecksum,
    /// A body above the limit.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// What the header announced.
        bytes: u32,
        /// What is accepted.
        limit: u32,
    },
    /// A body that does not say what its opcode promises.
    #[error("a frame's body is malformed: {0}")]
    Malformed(&'static str),
}

impl FrameHeader {
    /// A header without checksums; [`FrameHeader::finish`] adds them.
    pub fn new(opcode: Opcode, loglet: LogletId) -> Self {
        Self {
            magic: MAGIC.into(),
            version: PROTOCOL_VERSION,
            opcode: opcode as u8,
            flags: 0.into(),
            reserved: 0.into(),
            body_bytes: 0.into(),
            body_checksum: 0.into(),
            count: 0.into(),
            reserved_2: 0.into(),
            request: 0.into(),
            log: loglet.log.into(),
            loglet_version: loglet.version.into(),
            nonce: loglet.nonce.into(),
            offset: 0.into(),
            known_tail: 0.into(),
            aux: 0.into(),
            reserved_3: 0.into(),
            header_checksum: 0.into(),
        }
    }

    /// Completes the header for a body of this size and checksum.
    pub fn finish(mut self, body_bytes: u32, body_checksum: u32) -> Self {
        self.body_bytes = body_bytes.into();
        self.body_checksum = body_checksum.into();
        self.header_checksum = self.checksum().into();
        self
    }

    fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c(&bytes[..HEADER_BYTES - 4])
    }

    /// Reads a header from the first [`HEADER_BYTES`] of `bytes`, which must be there, and checks everything but the body.
    ///
    /// # Errors
    /// Whatever makes these bytes unacceptable as a frame, most basic reason first.
    pub fn decode(bytes: &[u8], body_bytes_max: u32) -> Result<Self, FrameError> {
        let (header, _) = Self::read_from_prefix(bytes).expect("the caller has a whole header");
        if header.magic.get() != MAGIC {
            return Err(FrameError::Magic(header.magic.get()));
        }
        if header.version != PROTOCOL_VERSION {
            return Err(FrameError::Version(header.version));
        }
        if header.header_checksum.get() != header.checksum() {
            return Err(FrameError::HeaderChecksum);
        }
        if Opcode::decode(header.opcode).is_none() {
            return Err(FrameError::Opcode(header.opcode));
        }
        if header.body_bytes.get() > body_bytes_max {
            return Err(FrameError::TooLarge { bytes: header.body_bytes.get(), limit: body_bytes_max });
        }
        Ok(header)
    }

    /// The opcode of a header that [`FrameHeader::decode`] has accepted.
    pub fn opcode(&self) -> Opcode {
        Opcode::decode(self.opcode).expect("checked when decoded")
    }

    /// The loglet that the frame is about.
    pub fn loglet(&self) -> LogletId {
        LogletId { log: self.log.get(), version: self.loglet_version.get(), nonce: self.nonce.get() }
    }
}
