//! The MetaStore contract, as data: operations go in, results come out, for every implementation of it.
//!
//! A register holds a sequence of versions, each written on the condition that the one before it is the newest. Completion-shaped like
//! [`crate::proto::loglet`]: an operation carries an id of the caller's, and ends with exactly one result of that id.

use crate::base::{RegisterId, Version};
pub use crate::proto::loglet::OpId;
use crate::wire::Member;

/// What can be asked of a MetaStore.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MetaStoreOp {
    /// Reads the newest version.
    Read {
        /// Of which register.
        register: RegisterId,
    },
    /// Does ahead of time what a write of the version after `expected` can do before its value is known. It ends at once where there is
    /// nothing of the kind, or somebody else is about to write; the write that follows is none the worse for it.
    Prepare {
        /// To which register.
        register: RegisterId,
        /// The version that the caller has read or written.
        expected: Version,
    },
    /// Writes the version after `expected`, if that is the newest.
    Write {
        /// To which register.
        register: RegisterId,
        /// The version that the caller has read or written.
        expected: Version,
        /// Opaque bytes, at most `register_bytes_max` of [`crate::base::Limits`].
        value: Vec<u8>,
        /// Who decides the next version: most often the members of the version read. An implementation without members of its own
        /// gives them back when the version is read, and does nothing else with them.
        members: Vec<Member>,
    },
}

impl MetaStoreOp {
    /// Which register it is about.
    pub fn register(&self) -> RegisterId {
        match self {
            Self::Read { register } | Self::Prepare { register, .. } | Self::Write { register, .. } => *register,
        }
    }
}

/// One version of a register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Versioned {
    /// Which one.
    pub version: Version,
    /// Who decides the next one.
    pub members: Vec<Member>,
    /// The bytes that were written.
    pub value: Vec<u8>,
}

/// The end of an operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MetaStoreResult {
    /// The newest version, at some moment since the question.
    Value(Versioned),
    /// As far as it goes, a write is prepared.
    Prepared,
    /// The value has been written, as this version.
    Written {
        /// The version after the expected one.
        version: Version,
        /// A majority of the members of the next version know of it. Until then members of the version before must not be taken
        /// away; whoever reads or writes next hands it over.
        handed_over: bool,
    },
    /// Another version than the expected one is the newest, and the value has not been written, nor will it be. The version is decided
    /// and is not the expected one; there may be newer ones by now.
    Conflict(Versioned),
    /// The value may have been written, or may be written later.
    Unknown,
    /// The value is too large. It comes back.
    TooLarge {
        /// Most bytes.
        limit: u32,
        /// What was not written.
        value: Vec<u8>,
    },
    /// A register needs members, none twice, not too many.
    InvalidMembers,
    /// The register has not been opened here: nobody knows who its first members are (P8 a).
    UnknownRegister,
    /// No majority answered in time; nothing was written, nor will be. `reason` names what is missing.
    Unavailable {
        /// For people.
        reason: String,
    },
}
