//! The sequencer's process where the sequencer has several lanes: what its host does for them.

use std::collections::VecDeque;

use super::world::{LOGLET, Process};
use crate::base::{Instant, Limits, Offset};
use crate::proto::PeerId;
use crate::proto::sequencer::{Lost, Sequencer, State};
use crate::wire::{Batch, LogletConfig};

/// What lanes share, and those beyond the first.
#[derive(Clone, Hash)]
pub(crate) struct Lanes {
    others: Vec<Sequencer>,
    /// The ticket.
    tail: Offset,
    sealed: bool,
    watermark: Offset,
    /// Lanes that have been told, or have told all others, that one has stopped.
    told: Vec<bool>,
    /// Who is still to be told, and why.
    stops: VecDeque<(usize, Option<Lost>)>,
}

impl Process {
    /// Makes it so many lanes, once the first is there.
    pub(super) fn open_lanes(&mut self, lanes: usize, config: &LogletConfig, limits: &Limits, now: Instant) {
        if lanes > 1 && self.lanes.is_none() {
            self.lanes = Some(Lanes {
                others: (1..lanes).map(|_| Sequencer::new(config.clone(), limits, now)).collect(),
                tail: Offset::ZERO,
                sealed: false,
                watermark: Offset::ZERO,
                told: vec![false; lanes],
                stops: VecDeque::new(),
            });
        }
    }

    /// Lanes that there are.
    pub(crate) fn lanes(&self) -> usize {
        1 + self.lanes.as_ref().map_or(0, |lanes| lanes.others.len())
    }

    pub(crate) fn lane(&self, lane: usize) -> Option<&Sequencer> {
        match lane.checked_sub(1) {
            None => self.sequencer(LOGLET),
            Some(other) => self.lanes.as_ref()?.others.get(other),
        }
    }

    pub(super) fn lane_mut(&mut self, lane: usize) -> Option<&mut Sequencer> {
        match lane.checked_sub(1) {
            None => self.sequencer_mut(LOGLET),
            Some(other) => self.lanes.as_mut()?.others.get_mut(other),
        }
    }

    /// An append comes to a lane that is there and has room.
    pub(super) fn append(
        &mut self,
        lane: usize,
        peer: PeerId,
        request: u64,
        batch: Batch<'_>,
        checksum: u32,
        now: Instant,
    ) {
        let takes = self.lane(lane).expect("it is there").takes_appends();
        let granted = self.lanes.as_mut().filter(|lanes| takes && !lanes.sealed).map(|lanes| {
            let first = lanes.tail;
            lanes.tail = first + u64::from(batch.count());
            first
        });
        let is_only = self.lanes.is_none();
        let sequencer = self.lane_mut(lane).expect("it is there");
        match granted {
            _ if is_only => sequencer.handle_append(peer, request, batch, checksum, now),
            Some(first) => sequencer.handle_granted_append(peer, request, first, batch, checksum, now),
            None => sequencer.refuse_append(peer, request),
        }
    }

    /// A request for no-ops comes to a lane that is there and has room.
    pub(super) fn fill(&mut self, lane: usize, peer: PeerId, request: u64, to: Offset, now: Instant) {
        let sequencer = self.lane(lane).expect("it is there");
        let (takes, max) = (sequencer.takes_appends(), u64::from(sequencer.no_ops_max()));
        let granted = self.lanes.as_mut().filter(|lanes| takes && !lanes.sealed).map(|lanes| {
            let first = lanes.tail;
            lanes.tail = to.min(first + max).max(first);
            first..lanes.tail
        });
        if granted.is_some() {
            self.exchange(lane, now);
        }
        let is_only = self.lanes.is_none();
        let sequencer = self.lane_mut(lane).expect("it is there");
        match granted {
            _ if is_only => sequencer.handle_fill(peer, request, to, now),
            Some(granted) => sequencer.handle_granted_fill(peer, request, to, granted, now),
            None => sequencer.refuse_append(peer, request),
        }
    }

    /// The lane learns what the others know, and they what it knows.
    pub(super) fn exchange(&mut self, lane: usize, now: Instant) {
        let Some(sequencer) = self.lane(lane) else { return };
        let (state, known) = (sequencer.state(), sequencer.known_tail());
        let Some(lanes) = &mut self.lanes else { return };
        let lost = match state {
            State::Running => {
                lanes.watermark = lanes.watermark.max(known);
                let (tail, watermark) = (lanes.tail, lanes.watermark);
                return self.lane_mut(lane).expect("it is there").handle_lanes(tail, watermark, now);
            }
            State::Lost(reason) => Some(reason),
            State::Sealing | State::Sealed => None,
        };
        if !std::mem::replace(&mut lanes.told[lane], true) {
            lanes.sealed = true;
            let others = (0..lanes.told.len()).filter(|other| *other != lane);
            lanes.stops.extend(others.map(|other| (other, lost)));
        }
    }

    /// Whether a lane is still to be told that another one has stopped.
    pub(super) fn owes_stop(&self) -> bool {
        self.lanes.as_ref().is_some_and(|lanes| !lanes.stops.is_empty())
    }

    /// The next lane is told that another one has stopped.
    pub(super) fn tell_stop(&mut self) {
        let Some((lane, lost)) = self.lanes.as_mut().and_then(|lanes| lanes.stops.pop_front()) else { return };
        if let Some(lanes) = &mut self.lanes {
            lanes.told[lane] = true;
        }
        if let Some(sequencer) = self.lane_mut(lane) {
            sequencer.handle_lane_stopped(lost);
        }
    }
}
