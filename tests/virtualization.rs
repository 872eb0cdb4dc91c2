//! An append to a virtual log allocates nothing more than one to its loglet alone: counted in the client's cores.

#[path = "../benches/virtualization/cores.rs"]
mod cores;
#[path = "support/counting.rs"]
#[allow(unreachable_pub, reason = "shared with other tests")]
mod counting;

use std::cell::Cell;

use counting::Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(count);

/// Allocations of this thread during 10,000 appends, after warm-up.
fn allocations(mut append: impl FnMut()) -> u64 {
    (0..1_000).for_each(|_| append());
    let before = ALLOCATIONS.get();
    (0..10_000).for_each(|_| append());
    ALLOCATIONS.get() - before
}

#[test]
fn virtualization_allocates_nothing_per_append() {
    let (mut bare, mut log) = (cores::Bare::new(), cores::Virtual::new());
    assert!(ALLOCATIONS.get() > 0, "the counter works");
    let bare = allocations(|| bare.append());
    let virtualized = allocations(|| log.append());
    assert_eq!((bare, virtualized), (0, 0), "on the bare loglet, and on a log over it");
}
