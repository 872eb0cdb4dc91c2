//! Operations in flight: each owns the memory that the kernel uses for it.

use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use rustix::net::SocketAddrAny;

use crate::base::Buf;
use crate::io::op::{FileId, Token};

/// The id of the one group of provided receive buffers.
pub(super) const RECEIVE_GROUP: u16 = 0;

/// How an operation names its file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Fd(RawFd),
    Fixed(u32),
}

/// One operation in flight.
pub(super) enum Flight {
    Wake { event: RawFd, count: Box<u64> },
    Accept { token: Token, listener: u32, socket: RawFd },
    Connect { token: Token, conn: u64, socket: RawFd, address: Box<SocketAddrAny> },
    Receive { conn: u64, socket: RawFd },
    Send { token: Token, conn: u64, socket: RawFd, data: Vec<u8>, sent: usize },
    Read(Transfer),
    Write(Transfer),
}

/// A read or write of a file.
pub(super) struct Transfer {
    pub(super) token: Token,
    pub(super) file: FileId,
    pub(super) target: Target,
    pub(super) offset: u64,
    /// From the start of `buf`.
    pub(super) bytes: u32,
    pub(super) buf: Buf,
    /// Where `buf` is registered.
    pub(super) registered: Option<u16>,
}

impl Flight {
    /// The kernel's description of this operation. It points into heap memory that `self` owns, which stays where it is
    /// when `self` moves.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        match self {
            Self::Wake { event, count } => {
                opcode::Read::new(types::Fd(*event), std::ptr::from_mut(&mut **count).cast(), 8).build()
            }
            Self::Accept { socket, .. } => {
                opcode::AcceptMulti::new(types::Fd(*socket)).flags(libc::SOCK_CLOEXEC).build()
            }
            Self::Connect { socket, address, .. } => {
                opcode::Connect::new(types::Fd(*socket), address.as_ptr().cast(), address.addr_len()).build()
            }
            Self::Receive { socket, .. } => opcode::RecvMulti::new(types::Fd(*socket), RECEIVE_GROUP).build(),
            Self::Send { socket, data, sent, .. } => {
                let rest = &data[*sent..];
                let bytes = u32::try_from(rest.len()).unwrap_or(1 << 30);
                let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
                opcode::Send::new(types::Fd(*socket), rest.as_ptr(), bytes).flags(flags).build()
            }
            Self::Read(transfer) => transfer.read_entry(),
            Self::Write(transfer) => transfer.write_entry(),
        }
    }
}

impl Transfer {
    fn read_entry(&mut self) -> squeue::Entry {
        let (len, memory, offset) = (self.bytes, self.buf.as_mut_ptr(), self.offset);
        match (self.target, self.registered) {
            (Target::Fd(fd), None) => opcode::Read::new(types::Fd(fd), memory, len).offset(offset).build(),
            (Target::Fixed(file), None) => opcode::Read::new(types::Fixed(file), memory, len).offset(offset).build(),
            (Target::Fd(fd), Some(index)) => {
                opcode::ReadFixed::new(types::Fd(fd), memory, len, index).offset(offset).build()
            }
            (Target::Fixed(file), Some(index)) => {
                opcode::ReadFixed::new(types::Fixed(file), memory, len, index).offset(offset).build()
            }
        }
    }

    fn write_entry(&mut self) -> squeue::Entry {
        let (len, memory, offset, flags) = (self.bytes, self.buf.as_ptr(), self.offset, libc::RWF_DSYNC);
        match (self.target, self.registered) {
            (Target::Fd(fd), None) => {
                opcode::Write::new(types::Fd(fd), memory, len).offset(offset).rw_flags(flags).build()
            }
            (Target::Fixed(file), None) => {
                opcode::Write::new(types::Fixed(file), memory, len).offset(offset).rw_flags(flags).build()
            }
            (Target::Fd(fd), Some(index)) => {
                opcode::WriteFixed::new(types::Fd(fd), memory, len, index).offset(offset).rw_flags(flags).build()
            }
            (Target::Fixed(file), Some(index)) => {
                opcode::WriteFixed::new(types::Fixed(file), memory, len, index).offset(offset).rw_flags(flags).build()
            }
        }
    }
}
