use super::*;
use tokio::task::LocalSet;

const RECORD_BYTES: usize = 32;

fn plan(rate: Option<f64>, load: Load) -> Plan {
    let hour = Duration::from_secs(3600);
    Plan { load, rate, record_bytes: RECORD_BYTES, seed: 7, warm_up: Duration::ZERO, measured: hour }
}

fn lanes(plan: &Plan) -> Vec<Lane> {
    let run = Rc::new(Run::new(plan));
    (0..plan.load.connections).map(|client| Lane::new(&run, client)).collect()
}

const ONE: Load = Load { connections: 1, inflight: 1, records_per_request: 1 };

#[test]
fn a_closed_loop_keeps_full_requests_in_flight_and_no_more() {
    let lane = &lanes(&plan(None, Load { connections: 1, inflight: 2, records_per_request: 3 }))[0];
    let mut records = Vec::new();
    let first = lane.take(&mut records).unwrap();
    assert_eq!((first.first, first.records, records.len()), (0, 3, 3 * RECORD_BYTES));
    let key = RecordKey { seed: 7, client: 0, sequence: 2 };
    assert!(key.matches(&records[2 * RECORD_BYTES..], RECORD_BYTES, &mut Vec::new()));
    assert_eq!(lane.take(&mut records).unwrap().first, 3);
    assert_eq!(lane.take(&mut records), None);
    // Answers may overtake each other.
    lane.acknowledge(3, Acknowledged { offset: 10, step: 1 }).unwrap();
    assert_eq!(lane.take(&mut records).unwrap().first, 6);
    assert!(!lane.is_over());
    assert!(lane.acknowledge(3, Acknowledged { offset: 10, step: 1 }).is_err(), "answered already");
    assert_eq!((lane.run.appended.get(), lane.run.latency.borrow().len()), (3, 3));
}

#[test]
fn a_refused_request_ends_its_lane() {
    let lane = &lanes(&plan(None, ONE))[0];
    let request = lane.take(&mut Vec::new()).unwrap();
    lane.refuse(request.first, "full".to_owned()).unwrap();
    assert_eq!(lane.take(&mut Vec::new()), None);
    assert!(lane.is_over());
    assert_eq!((lane.run.failed.get(), lane.run.first_error.borrow().as_deref()), (1, Some("full")));
}

#[test]
fn connections_of_an_open_loop_take_turns() {
    let lanes = lanes(&plan(Some(1000.0), Load { connections: 4, ..ONE }));
    let due = |client: usize, sequence| lanes[client].due(1000.0, sequence);
    assert_eq!([due(0, 0), due(1, 0), due(3, 0), due(0, 1)], [0, 1_000_000, 3_000_000, 4_000_000]);
}

#[test]
fn an_open_loop_appends_what_is_due_and_counts_from_then() {
    let lane = &lanes(&plan(Some(1e6), Load { connections: 1, inflight: 1, records_per_request: 1000 }))[0];
    let request = loop {
        // A record becomes due every microsecond.
        if let Some(request) = lane.take(&mut Vec::new()) {
            break request;
        }
    };
    assert!(request.records <= 1000);
    assert_eq!(lane.take(&mut Vec::new()), None, "one request is in flight");
    let begun = lane.run.now();
    while lane.run.now() < begun + 1_000_000 {}
    lane.acknowledge(0, Acknowledged { offset: 1, step: 1 }).unwrap();
    assert_eq!(lane.run.latency.borrow().len(), request.records);
    assert!(lane.run.latency.borrow().min() >= 999_000, "what was in flight for a millisecond");
    let late = lane.take(&mut Vec::new()).unwrap();
    assert_eq!((late.first, late.records.min(900)), (request.records, 900), "what became due meanwhile");
}

#[test]
fn a_timetable_that_is_over_asks_for_nothing() {
    let mut plan = plan(Some(1000.0), ONE);
    plan.measured = Duration::ZERO;
    let lane = &lanes(&plan)[0];
    assert_eq!((lane.take(&mut Vec::new()), lane.next_due()), (None, None));
    assert!(lane.is_over());
}

/// Acknowledges at once, or goes away with requests in flight.
struct Stub {
    leaves_after: u64,
}

impl Connection for Stub {
    async fn run(self, lane: Rc<Lane>) -> anyhow::Result<()> {
        let mut records = Vec::new();
        while !lane.is_over() {
            let Some(request) = lane.take(&mut records) else { continue };
            anyhow::ensure!(request.first < self.leaves_after, "gone");
            lane.acknowledge(request.first, Acknowledged { offset: request.first, step: 0 })?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

async fn driven(leaves_after: u64) -> Driven {
    let load = Load { connections: 2, ..ONE };
    let plan = Plan { measured: Duration::from_millis(20), ..plan(None, load) };
    let stubs = (0..2).map(|_| Stub { leaves_after }).collect();
    LocalSet::new().run_until(drive(&plan, stubs)).await
}

#[tokio::test]
async fn every_acknowledged_append_is_in_a_ledger() {
    let driven = driven(u64::MAX).await;
    let acknowledged: u64 = driven.ledgers.iter().map(Ledger::acknowledged).sum();
    assert!(driven.appended > 0 && acknowledged >= driven.appended);
    assert_eq!((driven.failed, driven.first_error), (0, None));
    assert!(driven.lag.is_none());
}

#[tokio::test]
async fn what_was_in_flight_when_a_connection_is_lost_has_failed() {
    let driven = driven(5).await;
    assert_eq!((driven.failed, driven.first_error.as_deref()), (2, Some("gone")));
    assert_eq!(driven.ledgers.iter().map(Ledger::issued).sum::<u64>(), 12);
}
