//! What can be chosen about a ring, and what it reports about itself.

use std::fmt;

/// The sizes of a ring and of what is registered with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Places in the submission queue: operations started by one system call.
    pub submission_entries: u32,
    /// Places in the completion queue. Continuing operations complete many times for one submission, hence more.
    pub completion_entries: u32,
    /// Receive buffers, shared by all connections; a power of two.
    pub receive_buffers: u16,
    /// Size of one receive buffer.
    pub receive_buffer_bytes: u32,
    /// Most file buffers registered with the kernel at once; others work, a little slower.
    pub fixed_buffers: u16,
    /// Most files registered with the kernel at once; others work, a little slower.
    pub fixed_files: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            submission_entries: 256,
            completion_entries: 4096,
            receive_buffers: 64,
            receive_buffer_bytes: 64 << 10,
            fixed_buffers: 256,
            fixed_files: 256,
        }
    }
}

/// Which optional features of the kernel a ring uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// How completions reach the thread, as the names of the set-up flags.
    pub setup: &'static str,
    /// Whether system calls name the ring by a registered index.
    pub registered_ring: bool,
    /// Whether files are registered.
    pub fixed_files: bool,
    /// Whether file buffers are registered.
    pub fixed_buffers: bool,
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |yes| if yes { "yes" } else { "no" };
        write!(
            f,
            "io_uring {}, registered ring: {}, files: {}, buffers: {}",
            self.setup,
            has(self.registered_ring),
            has(self.fixed_files),
            has(self.fixed_buffers)
        )
    }
}

/// What a driver has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Operations handed to the kernel, its own included.
    pub submits: u64,
    /// System calls that submit and wait.
    pub enters: u64,
    /// Completions taken from the kernel.
    pub completions: u64,
    /// Bytes that completed operations have moved.
    pub bytes: u64,
    /// Receives that found no free buffer.
    pub enobufs: u64,
    /// Sends that left in part and were continued.
    pub resends: u64,
}
