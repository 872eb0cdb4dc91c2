//! What an append costs more on a virtual log than on its bare loglet, in the client's cores: both driven alike, without I/O.
//!
//! `cargo bench --bench virtualization`; without `--bench` each runs once, as a test.

#[path = "virtualization/cores.rs"]
mod cores;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("append");
    group.sample_size(50).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let mut bare = cores::Bare::new();
    group.bench_function("bare loglet", |bencher| bencher.iter(|| bare.append()));
    let mut log = cores::Virtual::new();
    group.bench_function("virtual log over it", |bencher| bencher.iter(|| log.append()));
    group.finish();
    criterion.final_summary();
}
