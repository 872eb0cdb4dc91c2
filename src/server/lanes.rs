//! What the lanes of one loglet's sequencer share, over the shards of its node.

use std::ops::Range;
use std::sync::Arc;

use crate::base::{Limits, LogletId, Offset};
use crate::ring::{Ticket, Watermark};

/// What all lanes of a loglet look at. A lane is a sequencer core on one shard, with its own clients and its own ways to the LogServers;
/// what it does in the path of an append it does alone, but for taking its offsets here.
#[derive(Debug)]
pub struct Lanes {
    ticket: Ticket,
    watermark: Watermark,
    /// Those with a lane, the loglet's home first.
    shards: Vec<usize>,
}

impl Lanes {
    /// Lanes on so many of a node's shards, from the loglet's home on; none where that is but one.
    pub(super) fn new(home: usize, lanes: usize, shards: usize) -> Option<Arc<Self>> {
        assert!(home < shards && lanes <= shards, "a lane is on a shard of the node");
        (lanes > 1).then(|| {
            let shards = (0..lanes).map(|lane| (home + lane) % shards).collect();
            Arc::new(Self { ticket: Ticket::default(), watermark: Watermark::default(), shards })
        })
    }

    /// The shards with a lane.
    pub(super) fn shards(&self) -> &[usize] {
        &self.shards
    }

    /// How far all lanes together are: where offsets end, and what is committed.
    fn reached(&self) -> (Offset, Offset) {
        // In this order: what is committed was given out before.
        let watermark = self.watermark.get();
        (Offset(self.ticket.tail()), Offset(watermark))
    }
}

/// One lane's view of all.
pub(super) struct Lane {
    shared: Arc<Lanes>,
    /// A range was refused: the loglet is sealed, and who has sealed it is about to say why. No further one is asked for.
    refused: bool,
    /// The others know that this lane has stopped, or have stopped it.
    pub(super) stop_told: bool,
    /// Appenders' connections that were spread from here.
    spread: usize,
}

impl Lane {
    pub(super) fn new(shared: Arc<Lanes>) -> Self {
        Self { shared, refused: false, stop_told: false, spread: 0 }
    }

    /// The first of `count` offsets, unless the loglet is sealed.
    pub(super) fn take(&mut self, count: u32) -> Option<Offset> {
        if self.refused {
            return None;
        }
        let first = self.shared.ticket.take(count.into());
        self.refused = first.is_none();
        first.map(Offset)
    }

    /// The offsets that are missing below `to`, at most `max` of them; empty where none are, and nothing when the loglet is sealed.
    pub(super) fn raise(&mut self, to: Offset, max: u32) -> Option<Range<Offset>> {
        if self.refused {
            return None;
        }
        let granted = self.shared.ticket.raise(to.0, max.into());
        self.refused = granted.is_none();
        granted.map(|granted| Offset(granted.start)..Offset(granted.end))
    }

    /// Tells the others how far this lane knows the loglet to be committed, and is told where offsets end and what they know.
    pub(super) fn exchange(&self, known_tail: Offset) -> (Offset, Offset) {
        let reached = self.shared.reached();
        if known_tail > reached.1 {
            self.shared.watermark.raise(known_tail.0);
            return (reached.0.max(known_tail), known_tail);
        }
        reached
    }

    /// No lane gives out offsets any more.
    pub(super) fn seal(&mut self, loglet: LogletId) {
        if let Some(boundary) = self.shared.ticket.seal() {
            tracing::info!(%loglet, boundary, "no offsets are given out any more");
        }
    }

    /// The shards with a lane.
    pub(super) fn shards(&self) -> &[usize] {
        self.shared.shards()
    }

    /// The shard for one more appender's connection: each in turn.
    pub(super) fn next_shard(&mut self) -> usize {
        let shards = self.shared.shards();
        let shard = shards[self.spread % shards.len()];
        self.spread = self.spread.wrapping_add(1);
        shard
    }
}

/// The bounds of one lane of so many: together they have no more on the way to a LogServer than one alone would have, as long as each may
/// have a frame of any size, so that what one lane has early for want of another's range fits the LogServer's window.
pub(super) fn limits_of_lane(limits: &Limits, lanes: usize) -> Limits {
    let share = limits.store_window_bytes / u32::try_from(lanes.max(1)).unwrap_or(u32::MAX);
    Limits { store_window_bytes: share.max(limits.frame_body_bytes_max), ..limits.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_begin_at_the_home_and_take_connections_in_turn() {
        assert!(Lanes::new(2, 1, 4).is_none(), "one lane shares nothing");
        let mut lane = Lane::new(Lanes::new(2, 3, 4).unwrap());
        assert_eq!(lane.shards(), [2, 3, 0]);
        assert_eq!([0; 5].map(|_| lane.next_shard()), [2, 3, 0, 2, 3]);
    }

    #[test]
    fn a_lane_that_was_refused_asks_no_more() {
        let shared = Lanes::new(0, 2, 2).unwrap();
        let (mut one, mut other) = (Lane::new(shared.clone()), Lane::new(shared.clone()));
        assert_eq!((one.take(3), other.take(2)), (Some(Offset(0)), Some(Offset(3))));
        assert_eq!(one.exchange(Offset(3)), (Offset(5), Offset(3)));
        assert_eq!(other.exchange(Offset(0)), (Offset(5), Offset(3)));
        one.seal(LogletId::default());
        assert_eq!((other.take(4), other.take(4)), (None, None));
        assert_eq!(shared.ticket.tail(), 9, "the word has moved once behind the seal");
        assert_eq!(shared.ticket.boundary(), Some(5));
    }

    /// P6 c: lanes that fill at once do not add up.
    #[test]
    fn lanes_take_together_what_is_missing() {
        let shared = Lanes::new(0, 2, 2).unwrap();
        let (mut one, mut other) = (Lane::new(shared.clone()), Lane::new(shared.clone()));
        let range = |first, end| Some(Offset(first)..Offset(end));
        assert_eq!((one.take(3), other.raise(Offset(5), 9)), (Some(Offset(0)), range(3, 5)));
        assert_eq!((one.raise(Offset(5), 9), one.raise(Offset(9), 2)), (range(5, 5), range(5, 7)));
        one.seal(LogletId::default());
        assert_eq!((other.raise(Offset(5), 9), other.take(1)), (None, None));
        assert_eq!(
            shared.ticket.tail(),
            7,
            "a raise that is refused leaves the word alone, and nothing is asked after it"
        );
    }

    #[test]
    fn all_lanes_together_have_on_the_way_what_one_may_have() {
        let limits = Limits::default();
        assert_eq!(limits_of_lane(&limits, 1), limits);
        assert_eq!(limits_of_lane(&limits, 2).store_window_bytes, limits.store_window_bytes / 2);
        assert_eq!(limits_of_lane(&limits, 200).store_window_bytes, limits.frame_body_bytes_max);
    }
}
