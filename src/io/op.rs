//! The vocabulary of input and output: operations go down, completions come up.
//!
//! An operation owns its memory until its completion, also when whoever asked has gone.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::base::Buf;

/// Chosen by whoever submits an operation, and returned by its completions. The upper byte names the owner, so that a loop
/// can route completions without a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// A token of `owner`; `value` must fit 56 bits.
    pub fn new(owner: u8, value: u64) -> Self {
        assert!(value < 1 << 56, "token values have 56 bits");
        Self(u64::from(owner) << 56 | value)
    }

    /// Whose operation it is.
    pub fn owner(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// What the owner calls it.
    pub fn value(self) -> u64 {
        self.0 & ((1 << 56) - 1)
    }
}

/// An open file of a driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A connection of a driver. Ids are not reused within the life of a driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// In the ids of connections that stay in this process; all others are far below it in their lower half.
    pub(super) const LOCAL: u64 = 1 << 31;

    /// Whether both ends of the connection are in this process, and no network between them.
    pub fn is_local(self) -> bool {
        self.0 & Self::LOCAL != 0
    }
}

/// A listening socket of a driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// One operation. Operations on one connection are carried out in order of submission; operations on files are not ordered.
#[derive(Debug)]
pub enum Op {
    /// Names the regular files of a directory, sorted by name. Completes as [`Outcome::Listed`].
    List {
        /// The directory.
        directory: PathBuf,
    },
    /// Opens an existing file for direct I/O after flushing it and its directory to stable storage (P9: nothing may be
    /// read that a power loss could still take back). Completes as [`Outcome::Opened`].
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Makes a new file of `bytes` bytes of written zeros, so that later writes into it neither allocate nor extend:
    /// fallocate, zeros, fsync, rename from a `.tmp` name, fsync of the directory. Completes as [`Outcome::Opened`] when
    /// all of it is durable.
    Prepare {
        /// The file's final name; nothing may exist there.
        path: PathBuf,
        /// Its size, a multiple of the block size.
        bytes: u64,
    },
    /// Removes a file and makes that durable. Completes as [`Outcome::Done`].
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// Closes a file; operations in flight on it complete first. Completes as [`Outcome::Done`].
    CloseFile {
        /// The file.
        file: FileId,
    },
    /// Reads `buf.len()` bytes; offset and length are whole blocks. Completes as [`Outcome::Read`].
    Read {
        /// The file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// Filled from its start.
        buf: Buf,
    },
    /// Writes `buf.len()` bytes to stable storage (`RWF_DSYNC`); offset and length are whole blocks. Completes as
    /// [`Outcome::Written`] when the bytes survive a power loss.
    Write {
        /// The file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// What.
        buf: Buf,
    },
    /// Accepts connections until the driver is dropped: one [`Outcome::Accepted`] each. After [`Outcome::Failed`] (no
    /// descriptor or memory left) nothing more comes until armed again.
    Accept {
        /// The listener, from [`super::Driver::listen`].
        listener: ListenerId,
    },
    /// Opens a connection. Completes as [`Outcome::Connected`].
    Connect {
        /// The peer.
        address: SocketAddr,
    },
    /// Receives until stopped: one [`Outcome::Received`] for each chunk, an empty one at the end of the stream, or
    /// [`Outcome::Failed`]. After the end, a failure or [`Op::StopReceive`] nothing more comes until armed again.
    Receive {
        /// The connection.
        conn: ConnId,
    },
    /// Pauses receiving, so that the peer feels back-pressure. Chunks already taken from the kernel still come. It has no
    /// completion of its own.
    StopReceive {
        /// The connection.
        conn: ConnId,
    },
    /// Sends all of `data`; at most one is in flight for each connection. Completes as [`Outcome::Sent`].
    Send {
        /// The connection.
        conn: ConnId,
        /// What; comes back, for reuse.
        data: Vec<u8>,
    },
    /// Takes a connection out of this driver, to hand it to another one on the same machine with [`super::Driver::attach`].
    /// Stops receiving; chunks already taken from the kernel still come, and a send in flight completes, before
    /// [`Outcome::Detached`]. Fails where connections cannot be handed over.
    Detach {
        /// The connection.
        conn: ConnId,
    },
    /// Closes a connection. Operations in flight on it complete first, with failures. Completes as [`Outcome::Done`],
    /// after which nothing comes from this connection.
    CloseConn {
        /// The connection.
        conn: ConnId,
    },
}

/// What a completion says.
#[derive(Debug)]
pub enum Outcome {
    /// The names and sizes, in bytes, of a directory's regular files.
    Listed(Vec<(String, u64)>),
    /// A file is open; `bytes` is its size.
    Opened {
        /// The file.
        file: FileId,
        /// Its size.
        bytes: u64,
    },
    /// A read has ended; fewer bytes than asked for are reported as they are.
    Read {
        /// The buffer of the operation.
        buf: Buf,
        /// Bytes read.
        result: io::Result<usize>,
    },
    /// A write has ended. A short write is reported as it is: the journal treats it as a failure.
    Written {
        /// The buffer of the operation.
        buf: Buf,
        /// Bytes written.
        result: io::Result<usize>,
    },
    /// A connection has come in.
    Accepted {
        /// The connection.
        conn: ConnId,
        /// The peer.
        peer: SocketAddr,
    },
    /// A connection is open.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// A connection has left the driver, with nothing in flight; what it has received was all reported before.
    Detached {
        /// The connection; the driver does not know it any more.
        conn: ConnId,
        /// Its socket.
        socket: OwnedFd,
    },
    /// Bytes have come in; an empty chunk is the end of the stream. Give it back with [`super::Driver::release`].
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes, readable with [`super::Driver::chunk`].
        chunk: Chunk,
    },
    /// A send has ended; anything but all bytes is an error.
    Sent {
        /// The connection.
        conn: ConnId,
        /// The memory of the operation.
        data: Vec<u8>,
        /// Whether all of it has left.
        result: io::Result<()>,
    },
    /// Done, with nothing to add.
    Done,
    /// It failed. Reads, writes and sends report failure in their own outcome, with their memory.
    Failed(io::Error),
}

/// Received bytes that live in the driver's memory until released.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which of the driver's buffers.
    pub(super) buffer: u32,
    /// How many bytes.
    pub(super) len: u32,
}

impl Chunk {
    /// The end of a stream; it has no memory and need not be released.
    pub const END: Self = Self { buffer: u32::MAX, len: 0 };

    /// In the numbers of chunks that came over a local connection.
    pub(super) const LOCAL: u32 = 1 << 31;

    /// Whether it came over a local connection.
    pub(super) fn is_local(&self) -> bool {
        !self.is_end() && self.buffer & Self::LOCAL != 0
    }

    /// Whether this is the end of the stream.
    pub fn is_end(&self) -> bool {
        self.len == 0
    }
}

/// The end of an operation, or one event of a continuing one ([`Op::Accept`], [`Op::Receive`]).
#[derive(Debug)]
pub struct Completion {
    /// The token of the operation.
    pub token: Token,
    /// How it went.
    pub outcome: Outcome,
}
