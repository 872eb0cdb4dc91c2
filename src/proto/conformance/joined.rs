//! The suite over the cores joined in memory, each behaviour under many orders of events, with three LogServers and with five.

use std::time::Duration;

use super::cluster::{Cluster, End};
use super::suite::{self, Checked, Fault, LogletUnderTest, check, loglet_conformance};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};

const SEEDS: u64 = 40;
/// Long enough for every pause of a core, and too short for what gives something up.
const QUIET: Duration = Duration::from_millis(300);

struct Joined(Cluster);

impl Joined {
    fn new(servers: usize, seed: u64) -> Self {
        // Every other one with a lane for each client.
        Self(Cluster::with_lanes(servers, 2, 1 + (seed % 2) as usize, seed))
    }
}

impl LogletUnderTest for Joined {
    fn start(&mut self, client: usize, id: OpId, op: LogletOp) {
        self.0.start_as(client, id, op);
    }

    fn next(&mut self) -> Option<(OpId, LogletResult)> {
        let quiet_at = self.0.now + QUIET;
        loop {
            if !self.0.fresh.is_empty() {
                return Some(self.0.fresh.remove(0));
            }
            if self.0.step() {
                continue;
            }
            let (at, _) = self.0.deadline().filter(|(at, _)| *at <= quiet_at)?;
            self.0.set_clock(at);
        }
    }

    fn record_bytes_max(&self) -> usize {
        self.0.limits.sequencer_window_bytes as usize
    }

    fn takes_credit(&self) -> bool {
        true
    }

    fn delete(&mut self) -> Checked {
        let id = self.0.delete(0, self.0.config.id.version);
        self.0.settle();
        assert_eq!(self.0.result(id), Some(LogletResult::Done));
        self.0.fresh.retain(|(of, _)| *of != id);
        Ok(())
    }

    fn fault(&mut self, fault: Fault) -> Checked {
        // Of five servers, two stand for each of the last two of three, so that any two of these are a majority's loss.
        for server in self.stand_ins(fault) {
            match fault {
                Fault::Crash(_) => self.0.crash(server),
                Fault::Restart(_) => self.0.restart(server),
                Fault::Cut(_) => self.0.isolate(server),
                Fault::Heal(_) => self.0.rejoin(server),
                Fault::HoldDisk(_) => self.0.servers[server].disk_held = true,
                Fault::ReleaseDisk(_) => self.0.servers[server].disk_held = false,
            }
        }
        Ok(())
    }
}

impl Joined {
    fn stand_ins(&self, fault: Fault) -> Vec<usize> {
        let (Fault::Crash(server)
        | Fault::Restart(server)
        | Fault::Cut(server)
        | Fault::Heal(server)
        | Fault::HoldDisk(server)
        | Fault::ReleaseDisk(server)) = fault;
        assert!(server > 0, "server 0 is left alone");
        match self.0.servers.len() {
            3 => vec![server],
            _ => vec![2 * server - 1, 2 * server],
        }
    }
}

macro_rules! on_many_seeds {
    ($behaviour:path) => {
        for (servers, seed) in [3, 5].into_iter().flat_map(|servers| (0..super::SEEDS).map(move |seed| (servers, seed)))
        {
            let run = || super::check(super::Joined::new(servers, seed), |bench| $behaviour(bench));
            if let Err(cause) = std::panic::catch_unwind(run) {
                eprintln!("{servers} LogServers, seed {seed}");
                std::panic::resume_unwind(cause);
            }
        }
    };
}
use on_many_seeds;

loglet_conformance!(on_many_seeds);

#[test]
fn one_seed_gives_one_execution() {
    let run = |seed| {
        let mut joined = Joined::new(3, seed);
        check_trace(&mut joined)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8), "seeds make a difference");
}

fn check_trace(joined: &mut Joined) -> Vec<String> {
    let cluster = &mut joined.0;
    let ids: Vec<OpId> = (0..20).map(|n| cluster.append(n % 2, &n.to_string())).collect();
    cluster.isolate(1);
    cluster.settle();
    cluster.rejoin(1);
    cluster.settle_between(End::Sequencer, End::Server(1));
    ids.into_iter().map(|id| format!("{:?}", cluster.result(id))).collect()
}
