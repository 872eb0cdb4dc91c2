use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;

use super::nodes::Nodes;
use super::work::Work;
use crate::base::{ClusterId, Incarnation, Instant, Limits};
use crate::io::op::{Op, Outcome};
use crate::proto::loglet::OpId;
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult};
use crate::wire::Decision;

/// The registers of one cluster on the reactor, and who waits for what.
pub(super) struct Registers {
    nodes: Nodes,
    replies: BTreeMap<OpId, SyncSender<MetaStoreResult>>,
    next_op: u64,
    closed: bool,
    scheduled: Option<Instant>,
}

impl Registers {
    pub(super) fn new(cluster: ClusterId, incarnation: Incarnation, limits: &Limits, seed: u64) -> Self {
        let nodes = Nodes::new(cluster, incarnation, limits, seed);
        Self { nodes, replies: BTreeMap::new(), next_op: 0, closed: false, scheduled: None }
    }

    /// Starts an operation on a register, of which `decided` is any decided version.
    pub(super) fn op(&mut self, decided: Decision, op: MetaStoreOp, reply: SyncSender<MetaStoreResult>, now: Instant) {
        self.nodes.open(op.register(), decided, now);
        self.next_op += 1;
        let id = OpId(self.next_op);
        self.replies.insert(id, reply);
        self.nodes.op(id, op, now);
    }
}

impl Work for Registers {
    fn close(&mut self) {
        self.closed = true;
        self.replies.clear();
        self.nodes.close();
    }

    fn is_over(&self) -> bool {
        self.closed && self.nodes.is_at_rest()
    }

    fn handle(&mut self, link: u64, outcome: Outcome, bytes: &[u8], now: Instant) -> bool {
        self.nodes.handle(link as usize, outcome, bytes, now);
        true
    }

    fn advance(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        for (id, result) in self.nodes.advance(now) {
            if let Some(reply) = self.replies.remove(&id) {
                // Whoever asked may have gone.
                let _ = reply.try_send(result);
            }
        }
    }

    fn poll_op(&mut self, now: Instant) -> Option<(u64, Op)> {
        self.nodes.poll_op(now).map(|(link, op)| (link as u64, op))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.nodes.poll_timeout()
    }

    fn scheduled(&mut self) -> &mut Option<Instant> {
        &mut self.scheduled
    }
}
