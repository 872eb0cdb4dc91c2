use std::collections::{BTreeMap, BTreeSet};

use super::AppendToken;
use crate::base::WriterId;

/// Whether a token has come before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It is new.
    First,
    /// It has come before; or it is so far below the newest of its writer that it must have (see [`Deduplicate`]).
    Repeat,
}

/// Says which records of a log are repeats, by their tokens, in memory that does not grow with the log.
///
/// It remembers the last `window` sequence numbers of each of the last `writers` writers. What it says is right if a writer has at most
/// `window` tokens whose outcome it does not know yet, and appends nothing more while another `writers` writers append. All readers
/// that began at one position and were given the same records are told the same.
#[derive(Clone, Debug)]
pub struct Deduplicate {
    window: u64,
    writers_max: usize,
    writers: BTreeMap<WriterId, Writer>,
    /// The writers by when they were heard last.
    order: BTreeSet<(u64, WriterId)>,
    records: u64,
}

#[derive(Clone, Debug)]
struct Writer {
    /// The largest sequence number.
    newest: u64,
    /// Whether each of the last `window` numbers, the newest included, has come: a ring, by the number modulo its length.
    come: Vec<bool>,
    /// When it was heard last, counted in records.
    heard: u64,
}

impl Writer {
    fn new(first: u64, window: u64) -> Self {
        let slots = usize::try_from(window).expect("a window fits into memory");
        Self { newest: first, come: vec![false; slots], heard: 0 }
    }

    fn see(&mut self, sequence: u64) -> Seen {
        let window = self.come.len() as u64;
        if sequence.saturating_add(window) <= self.newest {
            return Seen::Repeat;
        }
        // What the window moves over has not come yet.
        let passed = sequence.saturating_sub(self.newest).min(window);
        for number in 0..passed {
            self.come[((sequence - number) % window) as usize] = false;
        }
        self.newest = self.newest.max(sequence);
        match std::mem::replace(&mut self.come[(sequence % window) as usize], true) {
            true => Seen::Repeat,
            false => Seen::First,
        }
    }
}

impl Default for Deduplicate {
    /// For up to 1,024 writers with up to 4,096 records under way each: at most 4 MiB.
    fn default() -> Self {
        Self::new(4096, 1024)
    }
}

impl Deduplicate {
    /// Remembers so many sequence numbers of each of so many writers, a byte for each number.
    ///
    /// # Panics
    /// When either is zero.
    pub fn new(window: u32, writers: usize) -> Self {
        assert!(window > 0 && writers > 0, "who remembers nothing tells no repeats");
        Self {
            window: window.into(),
            writers_max: writers,
            writers: BTreeMap::new(),
            order: BTreeSet::new(),
            records: 0,
        }
    }

    /// Takes note of a record's token, in the order of the log.
    pub fn see(&mut self, token: AppendToken) -> Seen {
        let AppendToken { writer: id, sequence } = token;
        self.records += 1;
        let writer = self.writers.entry(id).or_insert_with(|| Writer::new(sequence, self.window));
        self.order.remove(&(writer.heard, id));
        writer.heard = self.records;
        self.order.insert((self.records, id));
        let seen = writer.see(sequence);
        if self.writers.len() > self.writers_max {
            let (_, longest_silent) = self.order.pop_first().expect("as many as there are writers");
            self.writers.remove(&longest_silent);
        }
        assert_eq!(self.writers.len(), self.order.len(), "each writer was heard once last");
        seen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::Rng;

    fn token(writer: u128, sequence: u64) -> AppendToken {
        AppendToken { writer: WriterId(writer), sequence }
    }

    #[test]
    fn a_token_is_new_once() {
        let mut deduplicate = Deduplicate::new(4, 2);
        let mut see = |sequence| deduplicate.see(token(1, sequence));
        assert_eq!([see(5), see(5), see(6), see(5)], [Seen::First, Seen::Repeat, Seen::First, Seen::Repeat]);
        // A batch that went first may be stored behind another.
        assert_eq!([see(9), see(7), see(8), see(7)], [Seen::First, Seen::First, Seen::First, Seen::Repeat]);
        assert_eq!(see(3), Seen::Repeat, "below the window");
        assert_eq!([see(1000), see(996), see(997)], [Seen::First, Seen::Repeat, Seen::First]);
        assert_eq!([see(u64::MAX), see(u64::MAX)], [Seen::First, Seen::Repeat]);
    }

    #[test]
    fn writers_do_not_touch_each_other_and_the_longest_silent_is_forgotten() {
        let mut deduplicate = Deduplicate::new(4, 2);
        assert_eq!(deduplicate.see(token(1, 0)), Seen::First);
        assert_eq!(deduplicate.see(token(2, 0)), Seen::First);
        assert_eq!(deduplicate.see(token(1, 0)), Seen::Repeat);
        assert_eq!(deduplicate.see(token(3, 0)), Seen::First);
        assert_eq!(deduplicate.see(token(1, 0)), Seen::Repeat, "heard later than the second");
        assert_eq!(deduplicate.see(token(2, 0)), Seen::First, "forgotten");
        assert_eq!(deduplicate.writers.len(), 2);
    }

    /// Against one that remembers everything: writers with up to a window of records under way, which come in any order, and again.
    #[test]
    fn it_says_what_one_says_that_remembers_everything() {
        const WINDOW: u64 = 8;
        for seed in 0..200 {
            let mut random = Rng::with_seed(seed);
            let (mut bounded, mut all) = (Deduplicate::new(WINDOW as u32, 3), BTreeSet::new());
            let mut done = [0u64; 3];
            let mut repeats = 0;
            for _ in 0..500 {
                let writer = random.usize(..3);
                // All below `done` are known to have come.
                let token = token(writer as u128, done[writer] + random.u64(..WINDOW));
                let expected = if all.insert(token) { Seen::First } else { Seen::Repeat };
                repeats += usize::from(expected == Seen::Repeat);
                assert_eq!(bounded.see(token), expected, "{token:?}, seed {seed}");
                while all.contains(&self::token(writer as u128, done[writer])) {
                    done[writer] += 1;
                }
            }
            assert!(repeats > 50);
        }
    }
}
