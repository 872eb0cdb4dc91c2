//! What can be chosen about a driver, and what it reports about itself.

/// The sizes of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Events taken by one system call.
    pub events: u16,
    /// Most receive buffers, shared by all connections; allocated as they are needed.
    pub receive_buffers: u16,
    /// Size of one receive buffer.
    pub receive_buffer_bytes: u32,
    /// Most threads that write, and so writes carried out at once; started when there is work for them. A journal has at
    /// most four units in flight.
    pub write_threads: u16,
    /// Most threads that read, and so reads carried out at once. They are not those that write: no read delays a write.
    pub read_threads: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { events: 256, receive_buffers: 64, receive_buffer_bytes: 64 << 10, write_threads: 4, read_threads: 2 }
    }
}

/// What a driver has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// System calls that wait for, or look for, events.
    pub polls: u64,
    /// Bytes that completed operations have moved.
    pub bytes: u64,
    /// Times that a connection had something to receive and no buffer was free.
    pub enobufs: u64,
    /// Sends that left in part and were continued.
    pub resends: u64,
}
