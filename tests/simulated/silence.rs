//! Nodes that are stopped, or cut off, without an end of their connections: their clients notice, and go on elsewhere. Nodes that are
//! only slow are left alone.

use std::time::Duration;

use naxos::base::{Limits, LogPos};
use naxos::client::{ReadResult, VirtualLog};
use naxos::io::mem::DiskFaults;

use crate::cluster::{Cluster, addresses, node_address, small_limits};
use crate::writer::record;

const SEEDS: u64 = 10;

struct Rig {
    cluster: Cluster,
    log: VirtualLog,
    next: u64,
}

impl Rig {
    fn new(seed: u64, limits: Limits) -> Self {
        let mut cluster = Cluster::start_with(seed, limits, 1);
        let log = cluster.open_log(0, seed);
        let first = cluster.config.clone();
        cluster.begin_log(&log, first);
        let mut rig = Self { cluster, log, next: 0 };
        for _ in 0..20 {
            rig.append();
        }
        rig
    }

    /// How long the next append takes.
    fn append(&mut self) -> Duration {
        let begun_at = self.cluster.world.now();
        let mut append = self.log.append(&record(self.next));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut position = None;
        self.cluster.run_until("it is acknowledged", |_| {
            if let std::task::Poll::Ready(end) = std::pin::Pin::new(&mut append).poll(&mut context) {
                position = Some(end.expect("a majority is well"));
            }
            position.is_some()
        });
        assert_eq!(position, Some(LogPos(self.next)));
        self.next += 1;
        self.cluster.world.now().since(begun_at)
    }

    fn segments(&mut self) -> usize {
        self.cluster.finish_log("the chain", self.log.start_chain()).expect("a majority is well").segments.len()
    }

    fn read_all(&mut self) {
        let mut at = LogPos::ZERO;
        while at < LogPos(self.next) {
            let read = self.log.start_read(at, LogPos(self.next), 4 << 10);
            match self.cluster.finish_log("a read", read).expect("a majority is well") {
                ReadResult::Records(delivery) => {
                    delivery.records().zip(at.0..).for_each(|(bytes, index)| assert_eq!(bytes, record(index)));
                    at = delivery.end();
                }
                other => panic!("at {at}: {other:?}"),
            }
        }
    }
}

/// Five times `silence`, a turn for whoever is slow, and an extend.
fn bound(limits: &Limits) -> Duration {
    5 * limits.silence + Duration::from_millis(300)
}

#[test]
fn a_stopped_sequencer_is_replaced() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed, small_limits());
        let sequencer = node_address(0);
        rig.cluster.world.pause(sequencer);
        let took = rig.append();
        assert!(took < bound(&rig.cluster.limits), "seed {seed}: {took:?}");
        rig.append();
        assert_eq!(rig.segments(), 2, "seed {seed}");
        // What it had in hand when it stopped is refused by those that are sealed.
        rig.cluster.world.resume(sequencer);
        rig.cluster.run_for(Duration::from_secs(1));
        rig.append();
        assert_eq!(rig.segments(), 2, "seed {seed}");
        rig.read_all();
    }
}

#[test]
fn a_sequencer_that_its_client_cannot_reach_is_replaced_although_the_log_servers_can() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed, small_limits());
        let client = *addresses().last().expect("there is a client");
        rig.cluster.world.partition(node_address(0), client);
        let took = rig.append();
        assert!(took < bound(&rig.cluster.limits), "seed {seed}: {took:?}");
        assert_eq!(rig.segments(), 2, "seed {seed}");
        rig.cluster.world.heal(node_address(0), client);
        rig.append();
        rig.read_all();
    }
}

#[test]
fn a_stopped_log_server_holds_up_no_read() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed, small_limits());
        // Every server has been read from, and may be in favour.
        (0..4).for_each(|_| rig.read_all());
        rig.cluster.world.pause(node_address(1));
        let begun_at = rig.cluster.world.now();
        (0..4).for_each(|_| rig.read_all());
        let took = rig.cluster.world.now().since(begun_at);
        assert!(took < bound(&rig.cluster.limits), "seed {seed}: {took:?}");
        assert_eq!(rig.segments(), 1, "seed {seed}");
    }
}

/// L7: it answers, so it is there, whatever it waits for.
#[test]
fn disks_that_stand_still_for_long_are_no_reason_to_replace_anybody() {
    for seed in 0..SEEDS {
        let limits =
            Limits { stall: Duration::from_secs(60), operation_timeout: Duration::from_secs(100), ..small_limits() };
        let mut rig = Rig::new(seed, limits);
        let slow = DiskFaults { slow_per_million: 1_000_000, slow_factor: 50_000, ..DiskFaults::default() };
        (0..3).for_each(|node| rig.cluster.world.set_disk_faults(node_address(node), slow));
        let took = rig.append();
        assert!(took > 8 * rig.cluster.limits.silence, "seed {seed}: {took:?}");
        (0..3).for_each(|node| rig.cluster.world.set_disk_faults(node_address(node), DiskFaults::default()));
        rig.append();
        assert_eq!(rig.segments(), 1, "seed {seed}");
    }
}
