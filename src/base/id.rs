//! Identities and positions: one type for each number that could be mistaken for another.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The text is not the hexadecimal number that this identity is written as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identity: expected up to 32 hexadecimal digits")]
pub struct InvalidId(String);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl $name {
            /// A new identity from the operating system's randomness.
            ///
            /// # Panics
            /// When the operating system has no randomness to give.
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).expect("the operating system gives randomness");
                Self(u128::from_le_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidId(text.to_owned()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

random_id! {
    /// Names one cluster; connections between different clusters are refused at the hello.
    ClusterId
}
random_id! {
    /// Names one data directory for its whole life. A blank disk is a new node (P7, P10).
    NodeId
}
random_id! {
    /// Names one formatting of a block device, so that a node knows its own again whatever the kernel calls it.
    DeviceId
}
random_id! {
    /// Drawn anew at every process start, so that a restarted sequencer can never resume (P4).
    Incarnation
}

random_id! {
    /// Names one proposer of the MetaStore for as long as it lives, so that no two ballots of one register are equal.
    ProposerId
}
random_id! {
    /// Drawn for each value that is proposed to the MetaStore, by which its writer knows it again (P8).
    Nonce
}

/// Names one register of the MetaStore: a virtual log's, by the number of the log, or the root register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegisterId(pub u64);

impl RegisterId {
    /// The register that names the nodes, the logs, and the first members of each log's register. No log has this number.
    pub const ROOT: Self = Self(0);

    /// The route of a hello on a connection for registers, whichever they are.
    pub const ROUTE: LogletId = LogletId { log: 0, version: 0, nonce: 1 };

    /// The register as frames and cells name it.
    pub const fn key(self) -> LogletId {
        LogletId { log: self.0, version: 0, nonce: 0 }
    }
}

impl fmt::Display for RegisterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT { f.write_str("the root register") } else { write!(f, "register {:x}", self.0) }
    }
}

/// Counts the values of a register. Version 0 is the one that it is born with; instance i of Paxos decides version i.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// What every register is born with.
    pub const BIRTH: Self = Self(0);

    /// The version after this one.
    ///
    /// # Panics
    /// Beyond 2^64 versions.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("versions stay far below 2^64"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

random_id! {
    /// Names one wish to reconfigure a virtual log; drawn by whoever wishes (P15).
    IntentId
}

random_id! {
    /// Names whoever appends records with tokens, for as long as it keeps count of them.
    WriterId
}

/// Names one loglet, never used twice (P5): the log, the chain version that installs it, and the proposer's nonce.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct LogletId {
    /// The virtual log.
    pub log: u64,
    /// The chain version that installs this loglet.
    pub version: u64,
    /// Drawn by the proposer, so that two proposals for one version differ.
    pub nonce: u64,
}

impl LogletId {
    /// The name of a stripe of this loglet, which is made for it and is never another's either (P5): names are drawn from so many that two
    /// of one version do not come to lie beside each other.
    pub fn stripe(self, stripe: usize) -> Self {
        Self { nonce: self.nonce.wrapping_add(1 + stripe as u64), ..self }
    }
}

impl fmt::Display for LogletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}-{:x}", self.log, self.version, self.nonce)
    }
}

/// A position inside one loglet, counted in records from 0. As a tail it is exclusive: the first offset not covered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset of every loglet.
    pub const ZERO: Self = Self(0);
    /// Above every offset; a limit that does not limit.
    pub const MAX: Self = Self(u64::MAX);
    /// The largest that a record, or an end of records, can have: what is above is none, and refused where it comes in.
    pub const LAST: Self = Self((1 << 62) - 1);

    /// How many records lie in `[earlier, self)`; zero when `earlier` is not below.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Offset {
    type Output = Self;
    fn add(self, records: u64) -> Self {
        Self(self.0.checked_add(records).expect("offsets stay far below 2^64"))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// A position in a virtual log, counted in records from 0. As a tail it is exclusive: the first position not covered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPos(pub u64);

impl LogPos {
    /// The first position of every log.
    pub const ZERO: Self = Self(0);
    /// Above every position; a bound that does not bound.
    pub const MAX: Self = Self(u64::MAX);

    /// What this position is in a loglet that begins at `start`.
    ///
    /// # Panics
    /// The position lies before the loglet.
    pub fn offset_from(self, start: Self) -> Offset {
        Offset(self.0.checked_sub(start.0).expect("a loglet has no positions before its start"))
    }
}

impl Add<u64> for LogPos {
    type Output = Self;
    fn add(self, records: u64) -> Self {
        Self(self.0.checked_add(records).expect("positions stay far below 2^64"))
    }
}

impl fmt::Display for LogPos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for LogPos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Names one small durable fact of the journal. The meaning of `kind` belongs to the layer that writes the cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct CellKey {
    /// Whom the fact is about.
    pub loglet: LogletId,
    /// Which fact it is.
    pub kind: u8,
}

/// A place in the journal's order of durable writes: the unit that something was put into. Writes become durable in this
/// order, so "durable through w" covers every write at or below w.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Write(pub u64);
