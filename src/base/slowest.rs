/// The slowest events of a time, with what is known about each: a fixed number of them, so that offering one costs a comparison
/// most of the time and allocates nothing.
#[derive(Clone, Debug)]
pub struct Slowest<T> {
    /// No order; at most `capacity`.
    kept: Vec<(u64, T)>,
    capacity: usize,
    /// Where the fastest of those kept is, once there are as many as are kept.
    fastest: usize,
}

impl<T> Slowest<T> {
    /// Keeps so many, at least one.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "something is kept");
        Self { kept: Vec::with_capacity(capacity), capacity, fastest: 0 }
    }

    /// An event that took so long; `what` is asked for only when it is one of the slowest so far.
    pub fn offer(&mut self, nanos: u64, what: impl FnOnce() -> T) {
        if self.kept.len() < self.capacity {
            self.kept.push((nanos, what()));
        } else if nanos > self.kept[self.fastest].0 {
            self.kept[self.fastest] = (nanos, what());
        } else {
            return;
        }
        let times = self.kept.iter().enumerate();
        self.fastest = times.min_by_key(|(_, (nanos, _))| *nanos).map_or(0, |(index, _)| index);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// The slowest first.
    pub fn sorted(&self) -> Vec<&(u64, T)> {
        let mut sorted: Vec<_> = self.kept.iter().collect();
        sorted.sort_by_key(|(nanos, _)| std::cmp::Reverse(*nanos));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stay_whatever_order_they_come_in() {
        let mut slowest = Slowest::new(3);
        for nanos in [5, 1, 9, 7, 2, 8, 8, 3] {
            slowest.offer(nanos, || nanos * 10);
        }
        let kept: Vec<_> = slowest.sorted().into_iter().copied().collect();
        assert_eq!(kept, [(9, 90), (8, 80), (8, 80)]);
        slowest.offer(1, || unreachable!("nobody asks for what is not kept"));
        slowest.clear();
        slowest.offer(1, || 1);
        assert_eq!(slowest.sorted().len(), 1);
    }
}
