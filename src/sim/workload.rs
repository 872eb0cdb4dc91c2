//! What the clients of a run do, and how it is seen in the end that the log has come through.

use std::time::Duration;

use super::run::Run;
use crate::base::NodeId;

/// How often a node is started that finds its journal failed.
const STARTS: usize = 3;
/// How long one wait may take, in multiples of what an operation may.
pub(super) const PATIENCE: u32 = 12;

/// Clients and the log that they use. What goes wrong is the run's.
pub(super) trait Workload {
    /// The log comes to be. Nothing goes wrong yet.
    fn begin(&mut self, run: &mut Run);

    /// A client does something of its choice.
    fn operate(&mut self, run: &mut Run, client: usize);

    /// A client appends a record of this size.
    fn append(&mut self, run: &mut Run, client: usize, bytes: usize);

    /// Takes in what has ended.
    fn look(&mut self, run: &mut Run);

    /// Who gives out offsets in the last loglet, as far as is known.
    fn sequencer(&self) -> NodeId;

    /// A client's process ends, and another one begins in its place.
    fn replace_client(&mut self, run: &mut Run, client: usize);

    /// Everything is healed: every operation has to end, and the whole log is read.
    fn converge(&mut self, run: &mut Run);

    /// Tells the history what is known of the segments.
    fn conclude(&mut self, run: &mut Run);

    /// Lets the cluster run until `done`, or for so long that it never will be.
    fn wait_until(&mut self, run: &mut Run, mut done: impl FnMut(&mut Self, &mut Run) -> bool) -> bool
    where
        Self: Sized,
    {
        let end = run.now() + run.cluster.limits.operation_timeout * PATIENCE;
        let mut pause = Duration::from_micros(200);
        while run.now() < end {
            self.look(run);
            if done(self, run) {
                return true;
            }
            run.cluster.run_for(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        false
    }

    /// Every node that is not lossy has to recover.
    fn start_nodes(&mut self, run: &mut Run)
    where
        Self: Sized,
    {
        for _ in 0..STARTS {
            self.wait_until(run, |_, run| {
                let cluster = &run.cluster;
                (0..cluster.nodes()).all(|node| cluster.is_ready(node) || cluster.shard(node).failure().is_some())
            });
            for node in 0..run.cluster.nodes() {
                if run.cluster.shard(node).failure().is_some() {
                    run.crash(node);
                    run.cluster_restart(node);
                }
            }
        }
        self.wait_until(run, |_, run| (0..run.cluster.nodes()).all(|node| run.cluster.is_ready(node)));
        for node in 0..run.cluster.nodes() {
            let failure = run.cluster.shard(node).failure().map(ToString::to_string);
            if let Some(failure) = failure.filter(|_| !run.plan.is_lossy(node)) {
                run.history.unfinished.push(format!("node {node} does not recover: {failure}"));
            }
        }
    }
}
