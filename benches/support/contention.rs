//! One thing, asked for by 1, 2, 4.. threads at once.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};

/// What threads ask for; each has one of its own from [`Shared::user`].
pub(crate) trait Shared: Sync {
    /// Makes what one thread asks with.
    fn user(&self) -> Box<dyn FnMut() -> u64 + Send + '_>;
}

/// Numbers of threads: doubling, up to as many as run at once, and two in any case.
pub(crate) fn threads() -> Vec<usize> {
    let most = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let mut counts: Vec<_> =
        std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|n| *n < most).collect();
    counts.push(most);
    counts
}

/// Measures an implementation with each number of threads; `new` makes a fresh one. Throughput is that of all threads together.
pub(crate) fn measure<S: Shared>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, new: impl Fn() -> S) {
    for count in threads() {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new(name, count), |bencher| {
            bencher.iter_custom(|times| run(&new(), count, times));
        });
    }
}

/// How long `count` threads take to ask so many times each, all of them at once.
fn run(shared: &impl Shared, count: usize, times: u64) -> Duration {
    let start = Barrier::new(count + 1);
    std::thread::scope(|scope| {
        let users: Vec<_> = (0..count)
            .map(|_| {
                let (mut ask, start) = (shared.user(), &start);
                scope.spawn(move || {
                    start.wait();
                    let last = (0..times).fold(0, |_, _| std::hint::black_box(ask()));
                    (last, Instant::now())
                })
            })
            .collect();
        let begun = Instant::now();
        start.wait();
        let ends = users.into_iter().map(|user| user.join().expect("a user asks and ends").1);
        ends.max().expect("there is a thread") - begun
    })
}

/// A group of measurements that takes seconds, not minutes.
pub(crate) fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}
