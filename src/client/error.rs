use crate::base::Offset;

/// Why an append was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The loglet was sealed. With `record_at`, the record had been given that offset: below the loglet's stop it is part of the
    /// log, at or beyond it never will be (P16). Without, it surely is not.
    #[error("the loglet is sealed{}", match record_at { Some(at) => format!("; the record had been given offset {at}"), None => String::new() })]
    Sealed {
        /// The offset given.
        record_at: Option<Offset>,
    },
    /// Fewer LogServers than a majority have disk space left. With `record_at`, the record had been given that offset: it may become
    /// part of the log there later, and nowhere else. Without, it surely is not in the log, and never will be. Appends succeed again
    /// once there is space, for instance after a trim.
    #[error("no majority of LogServers has disk space left{}", match record_at { Some(at) => format!("; the record may become part of the log at offset {at}"), None => String::new() })]
    NoSpace {
        /// The offset given.
        record_at: Option<Offset>,
    },
    /// The sequencer is lost. If `maybe_stored`, the record may be in the log nevertheless.
    #[error("the sequencer is lost{}", if *maybe_stored { "; the record may be in the log nevertheless" } else { "" })]
    SequencerLost {
        /// Whether the record may be in the log.
        maybe_stored: bool,
    },
    /// The record is over the limit.
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        limit: u32,
    },
    /// The loglet has been deleted.
    #[error("the loglet has been deleted")]
    Gone,
    /// The client has been closed; if the record was on its way, its outcome is unknown.
    #[error("the client is closed")]
    Closed,
}

/// The client's window of unacknowledged appends is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's window of {window_bytes} unacknowledged bytes is full")]
pub struct Full {
    /// The window.
    pub window_bytes: u32,
}

/// A log was told two different stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the loglet ends at {known} and cannot end at {refused} as well")]
pub struct StopConflict {
    /// The stop that was told first, and stands.
    pub known: Offset,
    /// The one that was told now.
    pub refused: Offset,
}

/// Why any other operation has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// No majority, or not the node in question, answered in time.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
    /// The node is there, and what it has answered cannot be read.
    #[error("its answer cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The loglet has been deleted.
    #[error("the loglet has been deleted")]
    Gone,
    /// The loglet is sealed; or it was before it came to be.
    #[error("the loglet is sealed")]
    Sealed,
    /// The sequencer that the configuration names is not there any more.
    #[error("the sequencer that the configuration names is lost")]
    SequencerLost,
    /// Fewer LogServers than a majority have disk space left.
    #[error("no majority of LogServers has disk space left")]
    NoSpace,
    /// The client has been closed.
    #[error("the client is closed")]
    Closed,
}
