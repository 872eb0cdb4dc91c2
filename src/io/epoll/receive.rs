//! Receive buffers: filled by receives, held by the caller, filled again.

use std::os::fd::AsFd;

use rustix::net::RecvFlags;

use crate::base::Buf;
use crate::io::op::Chunk;

/// The receive buffers of one driver. Each is allocated when none of those before it is free, so that a driver with little to
/// receive has few.
pub(super) struct ReceiveBuffers {
    buffers: Vec<Buf>,
    buffers_max: usize,
    buffer_bytes: usize,
    free: Vec<u32>,
    /// For each buffer, how many bytes the caller holds in it.
    held: Vec<Option<u32>>,
}

impl ReceiveBuffers {
    pub(super) fn new(buffers: u16, buffer_bytes: u32) -> Self {
        assert!(buffers > 0 && buffer_bytes > 0, "receive buffers hold something");
        let buffer_bytes = buffer_bytes as usize;
        Self {
            buffers: Vec::new(),
            buffers_max: buffers.into(),
            buffer_bytes,
            free: Vec::with_capacity(buffers.into()),
            held: vec![None; buffers.into()],
        }
    }

    /// Whether the caller holds every buffer, so that only a release can make room.
    pub(super) fn are_all_held(&self) -> bool {
        self.free.is_empty() && self.buffers.len() == self.buffers_max
    }

    /// Receives what a socket has, up to one buffer. Nothing at the end of the stream is [`Chunk::END`].
    pub(super) fn fill(&mut self, socket: impl AsFd) -> rustix::io::Result<Chunk> {
        if self.free.is_empty() {
            assert!(self.buffers.len() < self.buffers_max, "asked before");
            self.free.push(u32::try_from(self.buffers.len()).expect("their number has 16 bits"));
            self.buffers.push(Buf::zeroed(self.buffer_bytes));
        }
        let buffer = *self.free.last().expect("there is one now");
        let memory = &mut self.buffers[buffer as usize][..self.buffer_bytes];
        let (len, _) = rustix::net::recv(socket, memory, RecvFlags::DONTWAIT)?;
        if len == 0 {
            return Ok(Chunk::END);
        }
        self.free.pop();
        let len = u32::try_from(len).expect("a buffer's length has 32 bits");
        self.held[buffer as usize] = Some(len);
        Ok(Chunk { buffer, len })
    }

    /// Whether a chunk is less than there was room for, so that its socket had nothing more.
    pub(super) fn is_short(&self, chunk: &Chunk) -> bool {
        (chunk.len as usize) < self.buffer_bytes
    }

    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        if *chunk == Chunk::END {
            return &[];
        }
        assert_eq!(self.held[chunk.buffer as usize], Some(chunk.len), "a chunk of this driver, not yet released");
        &self.buffers[chunk.buffer as usize][..chunk.len as usize]
    }

    pub(super) fn release(&mut self, chunk: Chunk) {
        if chunk == Chunk::END {
            return;
        }
        let held = self.held[chunk.buffer as usize].take();
        assert_eq!(held, Some(chunk.len), "a chunk of this driver, not yet released");
        self.free.push(chunk.buffer);
    }
}
