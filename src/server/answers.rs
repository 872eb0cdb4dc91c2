use std::collections::VecDeque;

use crate::base::{Histogram, Instant, Offset};

/// Marks that are kept. Where more are on the way every second one is given up, so that a LogServer which is far behind still meets
/// some from before it was.
const MARKS_MAX: usize = 64;

/// How long each LogServer of a loglet takes to answer stores: from the turn that hands them over to the turn that has the answer. A
/// sample for each turn with appends, not for each of them.
pub(super) struct AnswerTimes {
    /// How far the loglet had come, and when; ascending.
    marks: VecDeque<(Offset, Instant)>,
    /// By number in the configuration: what has been answered.
    heard: Vec<Offset>,
    times: Vec<Histogram>,
}

impl AnswerTimes {
    /// Memory of one for so many LogServers.
    pub(super) fn bytes_max(servers: u64) -> u64 {
        let marks = MARKS_MAX * size_of::<(Offset, Instant)>();
        (size_of::<Self>() + marks) as u64 + servers * (size_of::<Histogram>() + size_of::<Offset>()) as u64
    }

    pub(super) fn new(servers: usize) -> Self {
        let marks = VecDeque::with_capacity(MARKS_MAX);
        Self { marks, heard: vec![Offset::ZERO; servers], times: vec![Histogram::default(); servers] }
    }

    /// Everything below `tail` has been handed over.
    pub(super) fn handed_over(&mut self, tail: Offset, now: Instant) {
        if self.marks.back().is_some_and(|(last, _)| *last >= tail) {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.marks.push_back((tail, now));
    }

    /// A LogServer has everything below `tail`.
    pub(super) fn answered(&mut self, server: usize, tail: Offset, now: Instant) {
        let heard = self.heard[server];
        self.heard[server] = heard.max(tail);
        let new = self.marks.partition_point(|(mark, _)| *mark <= heard);
        for (_, since) in self.marks.range(new..).take_while(|(mark, _)| *mark <= tail) {
            self.times[server].record(now.since(*since));
        }
        let everywhere = self.heard.iter().min().copied().unwrap_or(Offset::ZERO);
        while self.marks.front().is_some_and(|(mark, _)| *mark <= everywhere) {
            self.marks.pop_front();
        }
    }

    /// By number in the configuration.
    pub(super) fn times(&self) -> &[Histogram] {
        &self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    fn of(times: &AnswerTimes, server: usize) -> (u64, u64) {
        (times.times()[server].count(), times.times()[server].sum_nanos() / 1000)
    }

    #[test]
    fn an_answer_counts_once_for_each_turn_that_it_covers() {
        let mut times = AnswerTimes::new(2);
        times.handed_over(Offset(5), at(0));
        times.handed_over(Offset(5), at(3));
        times.handed_over(Offset(9), at(10));
        times.answered(0, Offset(5), at(20));
        times.answered(0, Offset(5), at(30));
        times.answered(1, Offset(9), at(40));
        times.answered(0, Offset(9), at(50));
        times.answered(0, Offset(3), at(60));
        assert_eq!((of(&times, 0), of(&times, 1)), ((2, 20 + 40), (2, 40 + 30)));
        assert!(times.marks.is_empty(), "everybody has answered them");
    }

    #[test]
    fn one_that_is_far_behind_is_seen_to_be() {
        let mut times = AnswerTimes::new(2);
        for turn in 1..=10_000 {
            times.handed_over(Offset(turn), at(turn));
            times.answered(0, Offset(turn), at(turn));
        }
        assert!(times.marks.len() <= MARKS_MAX && times.marks.capacity() <= 2 * MARKS_MAX);
        times.answered(1, Offset(10_000), at(10_000));
        assert_eq!(of(&times, 0).0, 10_000);
        assert!(times.times()[1].max_nanos() > 9_000_000, "{}", times.times()[1].max_nanos());
    }
}
