//! One shard of a node: a pinned thread with its own driver, connections, journal, LogServers and sequencers; or the one thread of a node
//! that only sequences.

mod answers;
mod commands;
mod cores;
mod identity;
mod inbound;
mod inbox;
mod journal_disk;
mod lanes;
mod members;
mod memory;
mod peers;
mod probes;
mod profile;
mod progress;
mod replies;
mod requests;
mod sequencer_requests;
mod sequencer_shard;
mod sequencing;
mod shard;
mod status;
mod timing;

pub use identity::{NodeIdentity, home_shard};
pub use inbox::{Command, Inbox};
pub use lanes::Lanes;
pub use sequencer_shard::{SequencerShard, SequencerShardConfig};
pub use shard::{Shard, ShardConfig};
pub use status::{node_report, sequencer_report};
