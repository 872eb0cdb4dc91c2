//! A number that several threads raise, each reading it behind its raise: the watermark, a number behind a mutex, and a thread that owns
//! the number.
//!
//! `cargo bench --bench watermark`; without `--bench` each runs once, as a test.

#[path = "support/contention.rs"]
mod contention;
#[path = "support/owner.rs"]
mod owner;

use std::sync::Mutex;

use contention::{Shared, group, measure};
use criterion::Criterion;
use naxos::ring::Watermark;
use owner::Owner;

struct LockFree(Watermark);

impl Shared for LockFree {
    fn user(&self) -> Box<dyn FnMut() -> u64 + Send + '_> {
        let mut end = 0;
        Box::new(move || {
            end += 1;
            self.0.raise(end);
            self.0.get()
        })
    }
}

struct Locked(Mutex<u64>);

impl Shared for Locked {
    fn user(&self) -> Box<dyn FnMut() -> u64 + Send + '_> {
        let mut end = 0;
        Box::new(move || {
            end += 1;
            let mut watermark = self.0.lock().expect("no panic while locked");
            *watermark = end.max(*watermark);
            *watermark
        })
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "raise and read");
    measure(&mut group, "watermark", || LockFree(Watermark::default()));
    measure(&mut group, "mutex", || Locked(Mutex::default()));
    measure(&mut group, "single owner", || {
        // What is asked is how far to go beyond what is there, so that each question raises it.
        Owner::new(1, |watermark, step| {
            *watermark += step;
            *watermark
        })
    });
    group.finish();
    criterion.final_summary();
}
