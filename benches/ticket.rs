//! Ranges of offsets, taken by several threads: from the ticket, from a counter behind a mutex, and from a thread that owns the counter.
//!
//! `cargo bench --bench ticket`; without `--bench` each runs once, as a test.

#[path = "support/contention.rs"]
mod contention;
#[path = "support/owner.rs"]
mod owner;

use std::sync::Mutex;

use contention::{Shared, group, measure};
use criterion::Criterion;
use naxos::ring::Ticket;
use owner::Owner;

/// Records in a batch.
const RANGE: u64 = 64;

struct LockFree(Ticket);

impl Shared for LockFree {
    fn user(&self) -> Box<dyn FnMut() -> u64 + Send + '_> {
        Box::new(|| self.0.take(RANGE).expect("nobody seals"))
    }
}

/// The next offset, and whether it is sealed.
struct Locked(Mutex<(u64, bool)>);

impl Shared for Locked {
    fn user(&self) -> Box<dyn FnMut() -> u64 + Send + '_> {
        Box::new(|| {
            let mut state = self.0.lock().expect("no panic while locked");
            assert!(!state.1, "nobody seals");
            let first = state.0;
            state.0 += RANGE;
            first
        })
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "take a range");
    measure(&mut group, "ticket", || LockFree(Ticket::default()));
    measure(&mut group, "mutex", || Locked(Mutex::default()));
    measure(&mut group, "single owner", || {
        Owner::new(RANGE, |next, count| {
            let first = *next;
            *next += count;
            first
        })
    });
    group.finish();
    criterion.final_summary();
}
