//! Which loglet follows which. It stands for the MetaStore: one value, read and conditionally written at once.

use crate::base::{LogletId, Offset};
use crate::wire::LogletConfig;

/// A loglet's part of the log.
pub(super) struct Link {
    pub(super) config: LogletConfig,
    /// The position of its first record.
    pub(super) start: u64,
    /// Where it ends.
    pub(super) stop: Option<Offset>,
}

/// The segments of the log, in order. The last one has no stop before the run is at its end.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    minted: u64,
}

impl Chain {
    /// An id that nobody has (P5).
    pub(super) fn mint(&mut self) -> LogletId {
        self.minted += 1;
        LogletId { log: 1, version: self.links.len() as u64 + 1, nonce: self.minted }
    }

    /// How many ids there are.
    pub(super) fn minted(&self) -> u64 {
        self.minted
    }

    pub(super) fn last(&self) -> usize {
        self.links.len() - 1
    }

    /// Ends segment `old` at `stop` and puts a new one behind it, if it is still the last one. Says whether it was.
    pub(super) fn extend(&mut self, old: usize, stop: Offset, config: LogletConfig) -> bool {
        if old != self.last() {
            return false;
        }
        let link = &mut self.links[old];
        assert!(link.stop.is_none(), "the last segment has no stop");
        link.stop = Some(stop);
        let start = link.start + stop.0;
        self.links.push(Link { config, start, stop: None });
        true
    }
}
