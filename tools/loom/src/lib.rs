//! The sources of `src/ring`, compiled on loom's threads, locks and atomics, and mutants of them. `tests/` goes through the
//! interleavings.

mod once_lock;

/// What `src/ring/sync.rs` is in the product.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread::{Thread, current, park};

    pub(crate) use crate::once_lock::OnceLock;
}

/// A value that comes once, and that many wait for.
#[path = "../../../src/ring/completion.rs"]
pub mod completion;
#[path = "../../../src/ring/relay.rs"]
pub mod relay;
#[path = "../../../src/ring/ticket.rs"]
pub mod ticket;
#[path = "../../../src/ring/wake_flag.rs"]
pub mod wake_flag;
#[path = "../../../src/ring/watermark.rs"]
pub mod watermark;
#[path = "../../../src/ring/work_queue.rs"]
pub mod work_queue;

/// The same with one thing changed; `build.rs` says what.
pub mod mutants {
    use super::sync;

    macro_rules! mutant {
        ($name:ident) => {
            #[doc = "See `build.rs`."]
            pub mod $name {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
        };
    }

    mutant!(notifies_without_ordering);
    mutant!(notifies_in_two_steps);
    mutant!(sleeps_although_notified);
    mutant!(looks_once_before_it_waits);
    mutant!(wakes_before_the_value_is_there);
    mutant!(forgets_the_last_sleeper);
    mutant!(ends_one_worker_only);
    mutant!(counts_whom_it_has_woken);
    mutant!(takes_in_two_steps);
    mutant!(seals_in_two_steps);
    mutant!(grants_what_is_sealed);
    mutant!(fills_in_two_steps);
    mutant!(adds_what_was_missing);
    mutant!(fills_what_is_sealed);
    mutant!(raises_in_two_steps);
    mutant!(raises_without_ordering);
    mutant!(reads_without_ordering);
    mutant!(looks_for_room_before_it_announces);
    mutant!(looks_who_waits_before_it_makes_room);
    mutant!(looks_for_the_close_last);
}
