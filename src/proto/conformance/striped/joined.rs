use std::time::Duration;

use super::super::cluster::LOGLET;
use super::super::suite::{self, Checked, Fault, LogletUnderTest, check, loglet_conformance};
use super::loglet::{Joinable, Striped};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::striped::Ask;

const SEEDS: u64 = 20;
/// As for natives: long enough for every pause of a core, and too short for what gives something up.
const QUIET: Duration = Duration::from_millis(300);

impl<S: Joinable> LogletUnderTest for Striped<S> {
    fn start(&mut self, client: usize, id: OpId, op: LogletOp) {
        self.ask(client, id, Ask::Op(op));
    }

    fn next(&mut self) -> Option<(OpId, LogletResult)> {
        let quiet_at = self.now + QUIET;
        loop {
            if !self.fresh.is_empty() {
                let (_, id, result) = self.fresh.remove(0);
                return Some((id, result));
            }
            if self.step() {
                continue;
            }
            let at = self.deadline().filter(|at| *at <= quiet_at)?;
            self.set_clock(at);
        }
    }

    fn record_bytes_max(&self) -> usize {
        Joinable::record_bytes_max(self)
    }

    fn takes_credit(&self) -> bool {
        true
    }

    fn stride(&self) -> u32 {
        Joinable::stride(self)
    }

    fn delete(&mut self) -> Checked {
        let id = OpId((1 << 32) - 1);
        self.ask(0, id, Ask::Delete { chain_version: LOGLET.version, live: Vec::new() });
        while self.step() {}
        let at = self.fresh.iter().position(|(_, of, _)| *of == id).expect("it ends");
        assert_eq!(self.fresh.remove(at), (0, id, LogletResult::Done));
        Ok(())
    }

    fn fault(&mut self, fault: Fault) -> Checked {
        // One node is a LogServer of every stripe.
        for native in self.natives() {
            match fault {
                Fault::Crash(server) => native.crash(server),
                Fault::Restart(server) => native.restart(server),
                Fault::Cut(server) => native.isolate(server),
                Fault::Heal(server) => native.rejoin(server),
                Fault::HoldDisk(server) => native.servers[server].disk_held = true,
                Fault::ReleaseDisk(server) => native.servers[server].disk_held = false,
            }
        }
        self.pump();
        Ok(())
    }
}

fn on_seeds(what: &str, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in 0..SEEDS {
        if let Err(cause) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("{what}, seed {seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

macro_rules! on_striped_loglets {
    ($behaviour:path) => {
        for stripes in [2, 3] {
            super::on_seeds(&format!("{stripes} stripes"), |seed| {
                super::check(super::Striped::over_natives(stripes, 2, seed), |bench| $behaviour(bench));
            });
        }
        super::on_seeds("stripes of stripes", |seed| {
            let stripe = |stripe| super::Striped::over_natives(2, 2, 100 * seed + stripe);
            super::check(super::Striped::over((0..2).map(stripe).collect(), 2, seed), |bench| $behaviour(bench));
        });
    };
}
use on_striped_loglets;

loglet_conformance!(on_striped_loglets);
