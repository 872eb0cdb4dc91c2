//! The models, each over the product's own code, and over mutants of it that it must catch.
//!
//! Loom goes through every interleaving with at most so many preemptions, and through every value that a relaxed load may see. A
//! thread that is never woken is a deadlock, which it reports.

use std::env;
use std::ops::Range;
use std::process::Command;
use std::sync::Arc as PlainArc;

use loom::model::Builder;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use naxos_loom::{completion, mutants, relay, ticket, wake_flag, watermark, work_queue};

const PREEMPTIONS: usize = 3;

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// An implementation of the wake flag.
trait Flag: Default + Send + Sync + 'static {
    fn notify(&self) -> bool;
    fn prepare_to_sleep(&self) -> bool;
    fn awake(&self) -> bool;
}

macro_rules! flags {
    ($($path:path),*) => {$(
        impl Flag for $path {
            fn notify(&self) -> bool {
                self.notify()
            }
            fn prepare_to_sleep(&self) -> bool {
                self.prepare_to_sleep()
            }
            fn awake(&self) -> bool {
                self.awake()
            }
        }
    )*};
}

flags!(
    wake_flag::WakeFlag,
    mutants::notifies_without_ordering::WakeFlag,
    mutants::notifies_in_two_steps::WakeFlag,
    mutants::sleeps_although_notified::WakeFlag
);

/// The event descriptor of a driver: a signal stays until somebody waits.
struct Shared<F> {
    flag: F,
    inbox: Mutex<usize>,
    /// Read and written without any order of its own.
    published: AtomicUsize,
    signalled: Mutex<bool>,
    signal: Condvar,
}

impl<F: Flag> Shared<F> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            flag: F::default(),
            inbox: Mutex::new(0),
            published: AtomicUsize::new(0),
            signalled: Mutex::new(false),
            signal: Condvar::new(),
        })
    }

    /// As the wakers of the drivers do.
    fn wake(&self) {
        if self.flag.notify() {
            *self.signalled.lock().unwrap() = true;
            self.signal.notify_one();
        }
    }

    /// Sleeps in the kernel, unless something is there already.
    fn sleep(&self) {
        let mut signalled = self.signalled.lock().unwrap();
        while !*signalled {
            signalled = self.signal.wait(signalled).unwrap();
        }
        *signalled = false;
    }
}

/// Two threads leave something each for a loop that takes, looks whether it may sleep, and sleeps: it gets both.
fn nothing_is_left_lying<F: Flag>() {
    let shared = Shared::<F>::new();
    let notifiers: Vec<_> = (0..2)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                *shared.inbox.lock().unwrap() += 1;
                shared.wake();
            })
        })
        .collect();
    let mut taken = 0;
    loop {
        taken += std::mem::take(&mut *shared.inbox.lock().unwrap());
        if taken == 2 {
            break;
        }
        if shared.flag.prepare_to_sleep() {
            shared.sleep();
        }
        // Also by one that did not sleep, as the drivers do.
        shared.flag.awake();
    }
    notifiers.into_iter().for_each(|notifier| notifier.join().unwrap());
}

/// What was done before a notification is seen behind it, with no lock between.
fn what_came_before_a_notification_is_seen<F: Flag>() {
    let shared = Shared::<F>::new();
    let notifier = {
        let shared = shared.clone();
        thread::spawn(move || {
            shared.published.store(1, Relaxed);
            shared.wake();
        })
    };
    let told = if shared.flag.prepare_to_sleep() {
        // A deadline passes at once: nobody sleeps.
        shared.flag.awake()
    } else {
        true
    };
    assert!(!told || shared.published.load(Relaxed) == 1);
    notifier.join().unwrap();
}

/// One sleeper, asleep once: of two notifiers one has to wake it, and not both.
fn one_of_two_wakes<F: Flag>() {
    let shared = Shared::<F>::new();
    assert!(shared.flag.prepare_to_sleep());
    let notifiers: Vec<_> = (0..2)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || shared.flag.notify())
        })
        .collect();
    let wakes = notifiers.into_iter().map(|notifier| notifier.join().unwrap());
    assert_eq!(wakes.filter(|wakes| *wakes).count(), 1);
}

#[test]
fn no_wake_up_is_lost() {
    explore(nothing_is_left_lying::<wake_flag::WakeFlag>);
}

#[test]
fn a_notification_orders_what_came_before_it() {
    explore(what_came_before_a_notification_is_seen::<wake_flag::WakeFlag>);
}

#[test]
fn a_sleeper_is_woken_by_one_notifier() {
    explore(one_of_two_wakes::<wake_flag::WakeFlag>);
}

/// An implementation of the work queue.
trait Queue<T>: Send + Sync + 'static {
    fn with_capacity(items: usize) -> Self;
    fn push(&self, item: T);
    fn pop(&self) -> Option<T>;
    fn try_pop(&self) -> Option<T>;
    fn close(&self);
}

/// The same for items of any type.
trait Queues {
    type Of<T: Send + 'static>: Queue<T>;
}

macro_rules! queues {
    ($($name:ident = $($part:ident)::*),*) => {$(
        struct $name;

        impl Queues for $name {
            type Of<T: Send + 'static> = $($part)::*::WorkQueue<T>;
        }

        impl<T: Send + 'static> Queue<T> for $($part)::*::WorkQueue<T> {
            fn with_capacity(items: usize) -> Self {
                Self::with_capacity(items)
            }
            fn push(&self, item: T) {
                self.push(item);
            }
            fn pop(&self) -> Option<T> {
                self.pop()
            }
            fn try_pop(&self) -> Option<T> {
                self.try_pop()
            }
            fn close(&self) {
                self.close();
            }
        }
    )*};
}

queues!(
    Real = work_queue,
    Forgetful = mutants::forgets_the_last_sleeper,
    Lonely = mutants::ends_one_worker_only,
    Miscounting = mutants::counts_whom_it_has_woken
);

/// Two workers, one item each, from a queue that was made for one: both end, with different items.
fn every_item_finds_a_worker<Q: Queues>() {
    let queue = Arc::new(Q::Of::with_capacity(1));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || queue.pop())
        })
        .collect();
    queue.push(1);
    queue.push(2);
    let mut items: Vec<Option<i32>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, [Some(1), Some(2)]);
}

/// One worker comes back for more, and others push at the same time: in order for each of them, and each item once.
fn a_worker_comes_back<Q: Queues>() {
    let queue = Arc::new(Q::Of::with_capacity(1));
    let pusher = {
        let queue = queue.clone();
        thread::spawn(move || {
            queue.push(1);
            queue.push(2);
        })
    };
    let first = queue.pop();
    assert_eq!((first, queue.pop()), (Some(1), Some(2)));
    assert_eq!(queue.try_pop(), None);
    pusher.join().unwrap();
}

/// Workers that sleep end when the queue is closed.
fn closing_ends_all_workers<Q: Queues>() {
    let queue = Arc::new(Q::Of::<u8>::with_capacity(1));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || queue.pop())
        })
        .collect();
    queue.close();
    workers.into_iter().for_each(|worker| assert_eq!(worker.join().unwrap(), None));
}

/// What is left at the end is dropped, whether a worker has seen the end or not.
fn what_is_left_is_dropped<Q: Queues>() {
    let queue = Arc::new(Q::Of::with_capacity(1));
    let item = PlainArc::new(());
    let worker = {
        let queue = queue.clone();
        thread::spawn(move || queue.pop().is_some())
    };
    queue.push(item.clone());
    queue.push(item.clone());
    queue.close();
    worker.join().unwrap();
    assert_eq!(PlainArc::strong_count(&item), 1);
    assert!(queue.pop().is_none());
}

#[test]
fn every_item_of_a_queue_finds_a_worker() {
    explore(every_item_finds_a_worker::<Real>);
}

#[test]
fn a_worker_takes_items_in_order() {
    explore(a_worker_comes_back::<Real>);
}

#[test]
fn closing_a_queue_ends_all_workers() {
    explore(closing_ends_all_workers::<Real>);
}

#[test]
fn a_closed_queue_drops_what_is_left() {
    explore(what_is_left_is_dropped::<Real>);
}

/// An implementation of the completion cell.
trait Cell<T>: Default + Send + Sync + 'static {
    fn complete(&self, value: T);
    fn get(&self) -> Option<T>;
    fn wait(&self) -> T;
}

/// The same for values of any type.
trait Cells {
    type Of<T: Clone + Send + Sync + 'static>: Cell<T>;
}

macro_rules! cells {
    ($($name:ident = $($part:ident)::*),*) => {$(
        struct $name;

        impl Cells for $name {
            type Of<T: Clone + Send + Sync + 'static> = $($part)::*::Completion<T>;
        }

        impl<T: Clone + Send + Sync + 'static> Cell<T> for $($part)::*::Completion<T> {
            fn complete(&self, value: T) {
                self.complete(value);
            }
            fn get(&self) -> Option<T> {
                self.get()
            }
            fn wait(&self) -> T {
                self.wait()
            }
        }
    )*};
}

cells!(
    Sound = completion,
    Hasty = mutants::looks_once_before_it_waits,
    Early = mutants::wakes_before_the_value_is_there
);

/// Two threads wait, and both get the value, whoever comes first.
fn whoever_waits_gets_the_value<C: Cells>() {
    let cell = Arc::new(C::Of::default());
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let cell = cell.clone();
            thread::spawn(move || cell.wait())
        })
        .collect();
    cell.complete(7);
    assert_eq!(cell.get(), Some(7));
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), 7));
}

/// Whoever asked may be gone, or go, when the value comes: it is dropped once.
fn either_side_may_go_first<C: Cells>() {
    let value = PlainArc::new(());
    let cell = Arc::new(C::Of::default());
    let completer = {
        let (cell, value) = (cell.clone(), value.clone());
        thread::spawn(move || cell.complete(value))
    };
    drop(cell.get());
    drop(cell);
    completer.join().unwrap();
    assert_eq!(PlainArc::strong_count(&value), 1);
}

#[test]
fn whoever_waits_for_a_completion_gets_it() {
    explore(whoever_waits_gets_the_value::<Sound>);
}

#[test]
fn either_side_of_a_completion_may_go_first() {
    explore(either_side_may_go_first::<Sound>);
}

/// An implementation of the relay. Its queue is crossbeam's, each of whose operations is one step here.
trait Pieces: Send + Sync + 'static {
    fn new() -> Self;
    /// False: there is no room.
    fn push(&self) -> bool;
    /// Whether room is awaited; none where there is nothing to pop.
    fn pop(&self) -> Option<bool>;
    fn close(&self);
    fn is_over(&self) -> bool;
}

macro_rules! relays {
    ($($($part:ident)::*),*) => {$(
        impl Pieces for $($part)::*::Relay {
            fn new() -> Self {
                // Full with one byte.
                Self::new(4, 1)
            }
            fn push(&self) -> bool {
                matches!(self.push(vec![0]), $($part)::*::Pushed::Taken)
            }
            fn pop(&self) -> Option<bool> {
                match self.pop() {
                    $($part)::*::Popped::Bytes { awaited, .. } => Some(awaited),
                    _ => None,
                }
            }
            fn close(&self) {
                self.close();
            }
            fn is_over(&self) -> bool {
                self.pop() == $($part)::*::Popped::Closed
            }
        }
    )*};
}

relays!(
    relay,
    mutants::looks_for_room_before_it_announces,
    mutants::looks_who_waits_before_it_makes_room,
    mutants::looks_for_the_close_last
);

/// A relay is full, and whoever has more waits to be woken, once room is there.
fn whoever_waits_for_room_is_woken<R: Pieces>() {
    let relay = Arc::new(R::new());
    assert!(relay.push());
    let pusher = {
        let relay = relay.clone();
        thread::spawn(move || {
            while !relay.push() {
                thread::park();
            }
        })
    };
    if relay.pop().expect("it is full") {
        pusher.thread().unpark();
    }
    pusher.join().unwrap();
    assert!(relay.pop().is_some(), "the second piece is there");
}

/// The end of a relay comes behind everything that was pushed.
fn the_close_comes_last<R: Pieces>() {
    let relay = Arc::new(R::new());
    let popper = {
        let relay = relay.clone();
        thread::spawn(move || {
            let was_over = relay.is_over();
            assert!(!was_over || relay.pop().is_none(), "the end came before the last piece");
        })
    };
    assert!(relay.push());
    relay.close();
    popper.join().unwrap();
}

#[test]
fn whoever_waits_for_room_in_a_relay_is_woken() {
    explore(whoever_waits_for_room_is_woken::<relay::Relay>);
}

#[test]
fn nothing_is_left_in_a_relay_that_is_over() {
    explore(the_close_comes_last::<relay::Relay>);
}

/// An implementation of the ticket.
trait Tickets: Default + Send + Sync + 'static {
    fn take(&self, count: u64) -> Option<u64>;
    fn raise(&self, to: u64, max: u64) -> Option<Range<u64>>;
    fn seal(&self) -> Option<u64>;
    fn boundary(&self) -> Option<u64>;
    fn tail(&self) -> u64;
}

macro_rules! tickets {
    ($($path:path),*) => {$(
        impl Tickets for $path {
            fn take(&self, count: u64) -> Option<u64> {
                self.take(count)
            }
            fn raise(&self, to: u64, max: u64) -> Option<Range<u64>> {
                self.raise(to, max)
            }
            fn seal(&self) -> Option<u64> {
                self.seal()
            }
            fn boundary(&self) -> Option<u64> {
                self.boundary()
            }
            fn tail(&self) -> u64 {
                self.tail()
            }
        }
    )*};
}

tickets!(
    ticket::Ticket,
    mutants::takes_in_two_steps::Ticket,
    mutants::seals_in_two_steps::Ticket,
    mutants::grants_what_is_sealed::Ticket,
    mutants::fills_in_two_steps::Ticket,
    mutants::adds_what_was_missing::Ticket,
    mutants::fills_what_is_sealed::Ticket
);

/// Takes ranges of these sizes, up to the first refusal. Returns where each began and ended.
fn take_all(ticket: &impl Tickets, counts: [u64; 2]) -> Vec<(u64, u64)> {
    counts.into_iter().map_while(|count| ticket.take(count).map(|first| (first, first + count))).collect()
}

/// Ranges, whoever took them, lie end to end from 0 on. Returns where they end.
fn end_of(mut ranges: Vec<(u64, u64)>) -> u64 {
    ranges.sort_unstable();
    ranges.into_iter().fold(0, |end, range| {
        assert_eq!(range.0, end, "ranges lie end to end");
        range.1
    })
}

/// Three threads take; nothing is given twice, and nothing is left out.
fn ranges_lie_end_to_end<T: Tickets>() {
    let ticket = Arc::new(T::default());
    let takers: Vec<_> = [[1, 2], [3, 1]]
        .map(|counts| {
            let ticket = ticket.clone();
            thread::spawn(move || take_all(&*ticket, counts))
        })
        .into_iter()
        .collect();
    let mut ranges = take_all(&*ticket, [2, 5]);
    takers.into_iter().for_each(|taker| ranges.extend(taker.join().unwrap()));
    assert_eq!((end_of(ranges), ticket.tail()), (14, 14));
}

/// Two threads take while two seal: one of these learns the boundary, all ranges are below it and reach up to it, and nothing is
/// given afterwards.
fn ranges_end_at_the_boundary<T: Tickets>() {
    let ticket = Arc::new(T::default());
    let taker = {
        let ticket = ticket.clone();
        thread::spawn(move || take_all(&*ticket, [1, 2]))
    };
    let sealer = {
        let ticket = ticket.clone();
        thread::spawn(move || (take_all(&*ticket, [4, 8]), ticket.seal()))
    };
    let mine = ticket.seal();
    assert_eq!(ticket.take(1), None, "whoever has sealed gets nothing");
    let mut ranges = taker.join().unwrap();
    let (others, theirs) = sealer.join().unwrap();
    ranges.extend(others);
    assert!(mine.is_none() || theirs.is_none(), "one seals first");
    let boundary = mine.or(theirs).expect("and one does");
    assert_eq!(end_of(ranges), boundary);
    assert_eq!(ticket.boundary(), Some(boundary));
}

/// Two threads raise it to the same place beside one that takes: what all of them have lies end to end, and they stop where they meant to,
/// but for what is taken afterwards (P6 c).
fn raises_do_not_add_up<T: Tickets>() {
    let ticket = Arc::new(T::default());
    let raisers: Vec<_> = [5, 5]
        .map(|to| {
            let ticket = ticket.clone();
            thread::spawn(move || ticket.raise(to, 9).unwrap())
        })
        .into_iter()
        .collect();
    let first = ticket.take(2).unwrap();
    let mut ranges = vec![(first, first + 2)];
    let raised = raisers.into_iter().map(|raiser| raiser.join().unwrap());
    ranges.extend(raised.filter(|range| !range.is_empty()).map(|range| (range.start, range.end)));
    assert_eq!(end_of(ranges), ticket.tail());
    assert_eq!(ticket.tail(), first.max(3) + 2, "raised to 5, wherever the other range lies");
}

/// A raise beside a seal: what it has lies below the boundary, and afterwards it has nothing.
fn a_seal_ends_raises<T: Tickets>() {
    let ticket = Arc::new(T::default());
    let raiser = {
        let ticket = ticket.clone();
        thread::spawn(move || (ticket.raise(2, 9), ticket.raise(9, 3)))
    };
    let boundary = ticket.seal().expect("nobody else seals");
    assert_eq!(ticket.raise(20, 3), None, "nothing is given once it is sealed");
    let (first, second) = raiser.join().unwrap();
    assert!(first.is_some() || second.is_none(), "nothing is given once it is sealed");
    let end = second.or(first).map_or(0, |range| range.end);
    assert_eq!((end, ticket.tail()), (boundary, boundary));
}

#[test]
fn raises_of_a_ticket_do_not_add_up() {
    explore(raises_do_not_add_up::<ticket::Ticket>);
}

#[test]
fn raises_of_a_sealed_ticket_end_at_its_boundary() {
    explore(a_seal_ends_raises::<ticket::Ticket>);
}

#[test]
fn ranges_of_a_ticket_lie_end_to_end() {
    explore(ranges_lie_end_to_end::<ticket::Ticket>);
}

#[test]
fn ranges_of_a_sealed_ticket_end_at_its_boundary() {
    explore(ranges_end_at_the_boundary::<ticket::Ticket>);
}

/// An implementation of the watermark.
trait Marks: Default + Send + Sync + 'static {
    fn raise(&self, end: u64);
    fn get(&self) -> u64;
}

macro_rules! marks {
    ($($path:path),*) => {$(
        impl Marks for $path {
            fn raise(&self, end: u64) {
                self.raise(end);
            }
            fn get(&self) -> u64 {
                self.get()
            }
        }
    )*};
}

marks!(
    watermark::Watermark,
    mutants::raises_in_two_steps::Watermark,
    mutants::raises_without_ordering::Watermark,
    mutants::reads_without_ordering::Watermark
);

/// Two lanes take a range and raise the watermark to its end: whoever reads the watermark finds the ranges below it given out, and what
/// was written before the raise that it reads.
fn what_came_before_a_raise_is_seen<M: Marks>() {
    let lanes = Arc::new((ticket::Ticket::default(), M::default(), AtomicUsize::new(0)));
    let raisers: Vec<_> = (0..2)
        .map(|_| {
            let lanes = lanes.clone();
            thread::spawn(move || {
                let (ticket, watermark, published) = &*lanes;
                let end = ticket.take(1).unwrap() + 1;
                published.fetch_add(1, Relaxed);
                watermark.raise(end);
            })
        })
        .collect();
    let (ticket, watermark, published) = &*lanes;
    let known = watermark.get();
    assert!(published.load(Relaxed) as u64 >= known.min(1), "what was written before it");
    assert!(ticket.tail() >= known, "no offset below it is still to be given");
    raisers.into_iter().for_each(|raiser| raiser.join().unwrap());
    assert_eq!(watermark.get(), 2);
}

/// A lower end takes nothing back.
fn the_highest_raise_stays<M: Marks>() {
    let watermark = Arc::new(M::default());
    let raiser = {
        let watermark = watermark.clone();
        thread::spawn(move || {
            watermark.raise(2);
            watermark.get()
        })
    };
    watermark.raise(3);
    assert_eq!(watermark.get(), 3);
    assert!(raiser.join().unwrap() >= 2);
    assert_eq!(watermark.get(), 3);
}

#[test]
fn a_watermark_orders_what_came_before_it() {
    explore(what_came_before_a_raise_is_seen::<watermark::Watermark>);
}

#[test]
fn a_watermark_never_sinks() {
    explore(the_highest_raise_stays::<watermark::Watermark>);
}

/// Tells a run of this very test, in a process of its own, which mutant to explore.
const MUTANT: &str = "NAXOS_LOOM_MUTANT";

/// What a thread that is never woken is reported as.
const NEVER_WOKEN: &str = "deadlock";

/// (mutant, its model, what the report of the fault says)
const MUTANTS: &[(&str, fn(), &str)] = &[
    (
        "notifies_without_ordering",
        what_came_before_a_notification_is_seen::<mutants::notifies_without_ordering::WakeFlag>,
        "assertion failed: !told",
    ),
    ("notifies_in_two_steps", nothing_is_left_lying::<mutants::notifies_in_two_steps::WakeFlag>, NEVER_WOKEN),
    ("sleeps_although_notified", nothing_is_left_lying::<mutants::sleeps_although_notified::WakeFlag>, NEVER_WOKEN),
    ("forgets_the_last_sleeper", a_worker_comes_back::<Forgetful>, NEVER_WOKEN),
    ("ends_one_worker_only", closing_ends_all_workers::<Lonely>, NEVER_WOKEN),
    ("counts_whom_it_has_woken", every_item_finds_a_worker::<Miscounting>, NEVER_WOKEN),
    ("looks_once_before_it_waits", whoever_waits_gets_the_value::<Hasty>, NEVER_WOKEN),
    ("wakes_before_the_value_is_there", whoever_waits_gets_the_value::<Early>, NEVER_WOKEN),
    (
        "looks_for_room_before_it_announces",
        whoever_waits_for_room_is_woken::<mutants::looks_for_room_before_it_announces::Relay>,
        NEVER_WOKEN,
    ),
    (
        "looks_who_waits_before_it_makes_room",
        whoever_waits_for_room_is_woken::<mutants::looks_who_waits_before_it_makes_room::Relay>,
        NEVER_WOKEN,
    ),
    (
        "looks_for_the_close_last",
        the_close_comes_last::<mutants::looks_for_the_close_last::Relay>,
        "the end came before the last piece",
    ),
    ("takes_in_two_steps", ranges_lie_end_to_end::<mutants::takes_in_two_steps::Ticket>, "ranges lie end to end"),
    ("seals_in_two_steps", ranges_end_at_the_boundary::<mutants::seals_in_two_steps::Ticket>, "panicked"),
    (
        "grants_what_is_sealed",
        ranges_end_at_the_boundary::<mutants::grants_what_is_sealed::Ticket>,
        "whoever has sealed gets nothing",
    ),
    ("fills_in_two_steps", raises_do_not_add_up::<mutants::fills_in_two_steps::Ticket>, "ranges lie end to end"),
    ("adds_what_was_missing", raises_do_not_add_up::<mutants::adds_what_was_missing::Ticket>, "panicked"),
    (
        "fills_what_is_sealed",
        a_seal_ends_raises::<mutants::fills_what_is_sealed::Ticket>,
        "nothing is given once it is sealed",
    ),
    ("raises_in_two_steps", the_highest_raise_stays::<mutants::raises_in_two_steps::Watermark>, "left == right"),
    (
        "raises_without_ordering",
        what_came_before_a_raise_is_seen::<mutants::raises_without_ordering::Watermark>,
        "what was written before it",
    ),
    (
        "reads_without_ordering",
        what_came_before_a_raise_is_seen::<mutants::reads_without_ordering::Watermark>,
        "what was written before it",
    ),
];

/// A fault ends the process, for loom's objects must not be dropped while it unwinds. So each mutant has one of its own.
#[test]
fn every_mutant_is_caught() {
    if let Ok(name) = env::var(MUTANT) {
        let (_, model, _) = MUTANTS.iter().find(|(mutant, ..)| *mutant == name).expect("a mutant of the table");
        return explore(model);
    }
    for (mutant, _, report) in MUTANTS {
        let mut run = Command::new(env::current_exe().unwrap());
        run.args(["every_mutant_is_caught", "--exact", "--nocapture"]);
        let output = run.env(MUTANT, mutant).env("RUST_BACKTRACE", "0").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{mutant} is not caught");
        assert!(said.contains(report), "{mutant} has failed otherwise: {said}");
    }
}
