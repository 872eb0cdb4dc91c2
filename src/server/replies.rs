use crate::proto::PeerId;

/// Peer numbers from here on are sequencers in this very shard, below they are connections.
const LOCAL: u64 = 1 << 62;

/// Whom a LogServer's answer goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recipient {
    /// A connection.
    Connection(PeerId),
    /// The sequencer in this slot of this shard.
    LocalSequencer(usize),
}

impl Recipient {
    pub(super) fn of(peer: PeerId) -> Self {
        match peer.0.checked_sub(LOCAL) {
            Some(slot) => Self::LocalSequencer(slot as usize),
            None => Self::Connection(peer),
        }
    }
}

/// The peer number of the sequencer in this slot.
pub(super) fn local_sequencer(slot: usize) -> PeerId {
    PeerId(LOCAL + slot as u64)
}
