use super::super::run::Run;
use super::super::workload::Workload;
use super::chain::{Chain, Link};
use super::client::Client;
use crate::base::{LogletId, NodeId};
use crate::history::Segment;

/// The clients, and the chain that they share.
pub(in crate::sim) struct Loglets {
    pub(super) chain: Chain,
    pub(super) clients: Vec<Client>,
}

impl Loglets {
    pub(in crate::sim) fn new(clients: usize) -> Self {
        Self { chain: Chain::default(), clients: (0..clients).map(|_| Client::default()).collect() }
    }

    /// Now and then others use the same nodes: heads of segments repeat their cells, and are then larger than one unit.
    fn crowd(run: &mut Run) {
        for number in 0..run.room.crowd {
            let id = LogletId { log: 0, version: 1, nonce: number };
            let config = run.cluster.configuration(id, number as usize % run.cluster.nodes());
            let log = run.cluster.open_at(0, &config);
            run.cluster.finish("create", log.start_create()).expect("nothing is wrong yet");
        }
    }
}

impl Workload for Loglets {
    fn begin(&mut self, run: &mut Run) {
        let id = self.chain.mint();
        let nodes = run.cluster.nodes();
        let config = run.cluster.configuration(id, run.rng.usize(..nodes));
        Self::crowd(run);
        run.watch(&config);
        self.chain.links.push(Link { config, start: 0, stop: None });
        run.history.segments.push(Segment::default());
        for client in 0..self.clients.len() {
            self.refresh(client);
        }
        let log = self.log(run, 0, 0);
        run.cluster.finish("create", log.start_create()).expect("nothing is wrong yet");
    }

    fn operate(&mut self, run: &mut Run, client: usize) {
        self.operate(run, client);
    }

    fn append(&mut self, run: &mut Run, client: usize, bytes: usize) {
        self.append_record(run, client, bytes);
    }

    fn look(&mut self, run: &mut Run) {
        self.look(run);
    }

    fn sequencer(&self) -> NodeId {
        self.chain.links[self.chain.last()].config.sequencer.node
    }

    fn replace_client(&mut self, _run: &mut Run, _client: usize) {
        unreachable!("no profile of loglets ends clients: what they had begun nobody would finish")
    }

    fn converge(&mut self, run: &mut Run) {
        self.end(run);
    }

    fn conclude(&mut self, run: &mut Run) {
        for (link, segment) in self.chain.links.iter().zip(&mut run.history.segments) {
            run.observer.borrow_mut().conclude(link.config.id, 1, link.start, segment);
        }
    }
}
