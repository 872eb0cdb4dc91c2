use super::*;
use std::cell::{Cell, RefCell};
use std::future::{Ready, ready};
use std::rc::Rc;

fn plan(pace: Pace) -> Plan {
    Plan {
        check_history: false,
        pace,
        record_bytes: 32,
        seed: 1,
        warm_up: Duration::from_millis(5),
        measured: Duration::from_millis(30),
        drain: Duration::from_secs(10),
        realtime: false,
        trim_behind: None,
    }
}

/// Acknowledges at once, up to a number of appends; then fails.
struct Instantly {
    log: Rc<RefCell<Vec<Vec<u8>>>>,
    fails_from: usize,
}

impl Appender for Instantly {
    type Append = Ready<Result<Offset, String>>;
    fn try_append(&self, record: &[u8]) -> Option<Self::Append> {
        let mut log = self.log.borrow_mut();
        if log.len() >= self.fails_from {
            return Some(ready(Err("sealed".to_owned())));
        }
        log.push(record.to_vec());
        Some(ready(Ok(Offset(log.len() as u64 - 1))))
    }
}

fn verified(plan: &Plan, generated: &Generated, log: &[Vec<u8>]) -> super::super::verify::Verified {
    let mut checker = super::super::verify::Checker::new(plan.seed, plan.record_bytes, &generated.ledgers);
    log.iter().for_each(|record| checker.record(record));
    checker.finish()
}

#[test]
fn a_closed_loop_runs_its_time_and_every_append_has_a_latency() {
    let (plan, log) = (plan(Pace::Closed { inflight: 3 }), Rc::default());
    let appenders = (0..4).map(|_| Instantly { log: Rc::clone(&log), fails_from: usize::MAX }).collect();
    let generated = generate(&plan, appenders, Instant::now(), &Mutex::default());
    assert_eq!(generated.latency.len(), generated.appended);
    assert!(generated.appended > 0);
    assert!(verified(&plan, &generated, &log.borrow()).holds());
}

#[test]
fn spans_have_the_latencies_of_what_was_due_in_them() {
    let (plan, log) = (plan(Pace::Open { appends_per_s: 10_000.0 }), Rc::default());
    let appenders = (0..4).map(|_| Instantly { log: Rc::clone(&log), fails_from: usize::MAX }).collect();
    let ends = [10, 25, 30].map(Duration::from_millis);
    let generated = generate_in_spans(&plan, &ends, appenders, Instant::now(), &Mutex::default());
    let counts: Vec<_> = generated.spans.iter().map(Histogram::len).collect();
    assert_eq!(counts, [50, 150, 50], "from the end of the warm-up at 5 ms to the end of the last span");
    assert_eq!(generated.latency.len(), 300);
}

#[test]
fn every_second_is_an_interval_of_its_own_and_there_are_not_too_many() {
    let intervals = |measured| {
        let measured = Duration::from_millis(measured);
        let warm_up = Duration::from_secs(1);
        Plan { measured, warm_up, ..plan(Pace::Closed { inflight: 1 }) }.intervals()
    };
    assert_eq!(intervals(300), [Duration::from_millis(1_300)]);
    assert_eq!(intervals(2_500), [2_000, 3_000, 3_500].map(Duration::from_millis));
    assert_eq!(intervals(60_000).len(), 60);
    let long = intervals(600_000);
    assert_eq!((long.len(), long[0], long[59]), (60, Duration::from_secs(11), Duration::from_secs(601)));
}

#[test]
fn an_open_loop_offers_its_rate() {
    let (plan, log) = (plan(Pace::Open { appends_per_s: 10_000.0 }), Rc::default());
    let appenders = (0..4).map(|_| Instantly { log: Rc::clone(&log), fails_from: usize::MAX }).collect();
    let generated = generate(&plan, appenders, Instant::now(), &Mutex::default());
    assert_eq!(generated.latency.len(), 300, "what is due in 30 ms at 10,000 a second");
    assert_eq!(generated.lag.as_ref().unwrap().len(), 300);
    assert!(verified(&plan, &generated, &log.borrow()).holds());
}

#[test]
fn a_failure_stops_its_client_and_ends_the_run_early() {
    let (plan, log) =
        (Plan { measured: Duration::from_secs(600), ..plan(Pace::Closed { inflight: 3 }) }, Rc::default());
    let appenders = (0..2).map(|_| Instantly { log: Rc::clone(&log), fails_from: 100 }).collect();
    let generated = generate(&plan, appenders, Instant::now(), &Mutex::default());
    assert_eq!(generated.first_error.as_deref(), Some("sealed"));
    assert!((1..=6).contains(&generated.failed), "what was in flight: {}", generated.failed);
    let verified = verified(&plan, &generated, &log.borrow());
    assert!(verified.holds());
    assert_eq!(verified.acked, 100);
}

/// Has room for one append only and completes it when it is polled for the second time.
struct Narrow {
    log: Rc<Cell<u64>>,
    room: Rc<Cell<bool>>,
}

struct Slow {
    polled: bool,
    offset: u64,
    room: Rc<Cell<bool>>,
}

impl Future for Slow {
    type Output = Result<Offset, String>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !std::mem::replace(&mut self.polled, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.room.set(true);
        Poll::Ready(Ok(Offset(self.offset)))
    }
}

impl Appender for Narrow {
    type Append = Slow;
    fn try_append(&self, _: &[u8]) -> Option<Slow> {
        let offset = self.log.get();
        self.room.replace(false).then(|| {
            self.log.set(offset + 1);
            Slow { polled: false, offset, room: Rc::clone(&self.room) }
        })
    }
}

#[test]
fn a_full_window_delays_appends_and_loses_none() {
    for pace in [Pace::Closed { inflight: 50 }, Pace::Open { appends_per_s: 20_000.0 }] {
        let (plan, log) = (plan(pace), Rc::new(Cell::new(0)));
        let appender = Narrow { log: Rc::clone(&log), room: Rc::new(Cell::new(true)) };
        let generated = generate(&plan, vec![appender], Instant::now(), &Mutex::default());
        assert_eq!(generated.failed, 0);
        assert_eq!(generated.ledgers[0].acknowledged(), log.get());
        match pace {
            Pace::Closed { .. } => assert!(generated.window_full > 0),
            Pace::Open { .. } => assert_eq!(generated.ledgers[0].acknowledged(), 700, "35 ms at 20,000 a second"),
        }
    }
}

/// Acknowledges nothing before the first poll that finds thousands in flight, then all of them, each of which takes some time to look at.
/// What happened is noted.
struct Burst {
    events: Rc<RefCell<Vec<Event>>>,
    released: Rc<Cell<bool>>,
    issued: Rc<Cell<u64>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Event {
    Issued,
    Completed,
}

struct InBurst {
    events: Rc<RefCell<Vec<Event>>>,
    released: Rc<Cell<bool>>,
    offset: u64,
}

const BURST: usize = 2_000;

impl Future for InBurst {
    type Output = Result<Offset, String>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.released.get() && self.events.borrow().len() < BURST {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.released.set(true);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(1) {}
        self.events.borrow_mut().push(Event::Completed);
        Poll::Ready(Ok(Offset(self.offset)))
    }
}

impl Appender for Burst {
    type Append = InBurst;
    fn try_append(&self, _: &[u8]) -> Option<InBurst> {
        self.events.borrow_mut().push(Event::Issued);
        let offset = self.issued.replace(self.issued.get() + 1);
        Some(InBurst { events: Rc::clone(&self.events), released: Rc::clone(&self.released), offset })
    }
}

#[test]
fn what_is_due_while_thousands_complete_does_not_wait_for_the_last_of_them() {
    let events = Rc::new(RefCell::new(Vec::new()));
    let burst = Burst { events: Rc::clone(&events), released: Rc::default(), issued: Rc::default() };
    // Long, so that a machine with other work does not issue everything before the burst.
    let plan = Plan { measured: Duration::from_millis(300), ..plan(Pace::Open { appends_per_s: 100_000.0 }) };
    let generated = generate(&plan, vec![burst], Instant::now(), &Mutex::default());
    assert_eq!((generated.failed, generated.lag.unwrap().len()), (0, 30_000));
    let events = events.borrow();
    let first = events.iter().position(|event| *event == Event::Completed).unwrap();
    assert!(first >= BURST, "a burst was held back");
    // Two groups take 64 us, in which six appends are due.
    let last = events.iter().rposition(|event| *event == Event::Issued).unwrap();
    let in_a_row = events[first..last].split(|event| *event == Event::Issued).map(<[Event]>::len).max();
    assert!(in_a_row <= Some(2 * GROUP), "{in_a_row:?} were booked while others were due");
}
