//! What a journal was told, and what it may therefore say.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{CellKey, LogletId, Rng};
use crate::storage::testing::loglet;

pub(super) const LOGLETS: u64 = 2;

/// One write that the journal has taken.
#[derive(Clone)]
pub(super) enum Effect {
    /// The record at the loglet's tail, as (seed, length), from which its bytes are derived.
    Record(LogletId, u64, usize),
    Cell(CellKey, u64, usize),
    Removed(CellKey),
}

pub(super) fn bytes_of(seed: u64, count: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| rng.u64(..)).take(count.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(count);
    bytes
}

pub(super) type CellValues = BTreeMap<CellKey, Vec<u8>>;

/// Everything that the journal was told in order, less what a start has found to be lost.
#[derive(Default)]
pub(super) struct History {
    effects: Vec<Effect>,
    /// How many effects there are up to the end of each entry of the journal.
    entries: Vec<usize>,
    /// Every record there ever was at an offset.
    ever: BTreeMap<(LogletId, u64), Vec<(u64, usize)>>,
    /// So many of them are acknowledged.
    pub(super) acknowledged: usize,
    /// Up to where each loglet is trimmed.
    pub(super) trims: BTreeMap<LogletId, u64>,
}

/// What a start has found.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) records: BTreeMap<(LogletId, u64), Vec<u8>>,
    pub(super) cells: CellValues,
    /// Offsets that are named as lost, by the start or by a read.
    pub(super) lost: BTreeSet<(LogletId, u64)>,
}

impl History {
    /// Notes a write that the journal has taken, as one entry.
    pub(super) fn push(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Record(loglet, seed, bytes) = effect {
                let offset = self.tail(loglet);
                self.ever.entry((loglet, offset)).or_default().push((seed, bytes));
            }
            self.effects.push(effect);
        }
        self.entries.push(self.effects.len());
    }

    pub(super) fn len(&self) -> usize {
        self.effects.len()
    }

    /// How many effects there are up to the end of this many entries.
    pub(super) fn len_after(&self, entries: usize) -> usize {
        entries.checked_sub(1).map_or(0, |last| self.entries[last])
    }

    /// Everything behind the first `count` effects is lost, and does not come back; the number of entries that are left.
    pub(super) fn truncate(&mut self, count: usize) -> usize {
        self.effects.truncate(count);
        self.acknowledged = count;
        self.entries.retain(|end| *end <= count);
        assert_eq!(self.entries.last().copied().unwrap_or(0), count, "entries are found whole");
        self.entries.len()
    }

    /// How many records of a loglet there are.
    pub(super) fn tail(&self, loglet: LogletId) -> u64 {
        self.tail_after(loglet, self.effects.len())
    }

    /// How many there are among the first `count` effects.
    pub(super) fn tail_after(&self, loglet: LogletId, count: usize) -> u64 {
        let is_its = |effect: &&Effect| matches!(effect, Effect::Record(id, ..) if *id == loglet);
        self.effects[..count].iter().filter(is_its).count() as u64
    }

    /// Where each loglet may be trimmed: acknowledged records only.
    pub(super) fn acknowledged_tail(&self, loglet: LogletId) -> u64 {
        self.tail_after(loglet, self.acknowledged)
    }

    /// # Panics
    /// When a record has bytes that were never written at its offset; with `lasting`, also when it was and has been lost since.
    pub(super) fn check_bytes(&self, found: &Found, lasting: bool) {
        let is = |bytes: &Vec<u8>, (seed, count): (u64, usize)| bytes_of(seed, count) == *bytes;
        for (place, bytes) in &found.records {
            let written = self.ever.get(place).into_iter().flatten();
            assert!(
                written.clone().any(|record| is(bytes, *record)),
                "{place:?} has bytes that were never written there"
            );
        }
        if !lasting {
            return;
        }
        let mut tails = BTreeMap::new();
        for effect in &self.effects {
            let Effect::Record(loglet, seed, count) = effect else { continue };
            let offset: &mut u64 = tails.entry(*loglet).or_default();
            if let Some(bytes) = found.records.get(&(*loglet, *offset)) {
                assert!(is(bytes, (*seed, *count)), "{loglet} has bytes at {offset} that were lost before");
            }
            *offset += 1;
        }
    }

    /// After how many effects, at least `least`, a journal holds just what was found, beside what is named as lost.
    pub(super) fn prefix(&self, found: &Found, least: usize) -> Option<usize> {
        // What was found of each loglet ends here, and has no gap before there.
        let bounds = |loglet: LogletId| {
            let end =
                found.records.range((loglet, 0)..=(loglet, u64::MAX)).next_back().map_or(0, |((_, last), _)| last + 1);
            let is_known = |offset: &u64| {
                found.records.contains_key(&(loglet, *offset)) || found.lost.contains(&(loglet, *offset))
            };
            let trim = self.trims.get(&loglet).copied().unwrap_or(0);
            let whole = (trim..).take_while(is_known).last().map_or(trim, |last| last + 1);
            (end, whole)
        };
        let bounds: BTreeMap<LogletId, (u64, u64)> = (0..LOGLETS).map(loglet).map(|id| (id, bounds(id))).collect();
        let mut tails: BTreeMap<LogletId, u64> = bounds.keys().map(|id| (*id, 0)).collect();
        let mut cells = CellValues::new();
        for count in 0..=self.effects.len() {
            let fits = tails.iter().all(|(id, tail)| (bounds[id].0..=bounds[id].1).contains(tail));
            if count >= least && fits && cells == found.cells {
                return Some(count);
            }
            match self.effects.get(count) {
                Some(Effect::Record(id, ..)) => *tails.get_mut(id).expect("one of ours") += 1,
                Some(Effect::Cell(key, seed, bytes)) => drop(cells.insert(*key, bytes_of(*seed, *bytes))),
                Some(Effect::Removed(key)) => drop(cells.remove(key)),
                None => {}
            }
        }
        None
    }
}
