//! A node: one data directory, one listening port, and its shards, one thread each; or one that only sequences, and needs neither.

mod admin;
mod anchor_file;
mod data_dir;
mod descriptors;
mod device;
mod entrance;
mod facts;
mod free_space;
mod http;
mod reporter;
mod running;
mod sequencer;

pub use crate::control::Scaling;
pub use crate::io::device::{DeviceView, FileOnDevice};
pub use admin::{Admin, AdminListener};
pub use data_dir::{DataDir, DataDirError, Durability};
pub use descriptors::{TooFewDescriptors, raise_descriptors};
pub use device::DeviceOptions;
pub use facts::{NodeFacts, SharedLock, device_of, journal_directory};
pub use reporter::{Health, Reporter};
pub use running::{ControlOptions, Node, NodeConfig, ServeError};
pub use sequencer::{SequencerConfig, SequencerNode};
