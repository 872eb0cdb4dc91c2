use super::super::run::Run;
use super::super::stream::Stream;
use super::super::workload::Workload;
use super::chains::{segments_of, version_of};
use super::client::Pending;
use crate::base::{LogPos, NodeId};
use crate::client::{Chain, LogletSpec, VirtualLog};
use crate::history::AppendOutcome;

/// One client, in its present life.
pub(super) struct Party {
    pub(super) log: VirtualLog,
    pub(super) pending: Vec<Pending>,
    pub(super) streams: Vec<Stream<LogPos>>,
    /// Positions below it are committed, as far as this client knows.
    pub(super) committed: u64,
}

impl Party {
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn learn(&mut self, tail: u64) {
        self.committed = tail.max(self.committed);
    }
}

/// The clients of one log.
pub(in crate::sim) struct VirtualLogs {
    clients: usize,
    /// Most that a loglet has.
    pub(super) stripes_max: usize,
    pub(super) parties: Vec<Party>,
    /// The newest chain that any client was told.
    pub(super) chain: Option<Chain>,
}

impl VirtualLogs {
    pub(in crate::sim) fn new(clients: usize, stripes_max: usize) -> Self {
        Self { clients, stripes_max, parties: Vec::new(), chain: None }
    }

    pub(super) fn chain(&self) -> &Chain {
        self.chain.as_ref().expect("the log has begun")
    }

    fn open(run: &mut Run, client: usize) -> Party {
        // No two of a run are the same, nor are those next to them.
        let seed = run.rng.u64(..);
        let log = run.cluster.open_log(client, seed);
        Party { log, pending: Vec::new(), streams: Vec::new(), committed: 0 }
    }

    /// As the run's nodes have it, or the same in several stripes, each with a sequencer of its own.
    fn first_loglet(&self, run: &mut Run) -> LogletSpec {
        let config = run.cluster.config.clone();
        // One that cannot have more takes nothing from the stream.
        let stripes = if self.stripes_max > 1 { run.rng.usize(1..=self.stripes_max) } else { 1 };
        let stripe = |_| {
            let sequencer = match stripes {
                1 => config.sequencer,
                _ => run.cluster.sequencer(run.rng.usize(..run.options.nodes)),
            };
            (sequencer, config.log_servers.clone())
        };
        LogletSpec::new(config.id, (0..stripes).map(stripe).collect::<Vec<_>>())
    }

    /// A client was told this chain.
    pub(super) fn chain_told(&mut self, run: &mut Run, chain: Chain) {
        run.history.chains.push(version_of(&chain));
        if self.chain.as_ref().is_none_or(|known| known.version < chain.version) {
            self.chain = Some(chain);
        }
    }
}

impl Workload for VirtualLogs {
    fn begin(&mut self, run: &mut Run) {
        run.observer.borrow_mut().watch_all();
        run.history.may_repeat = !run.weights.spares_sequencers();
        let nodes: Vec<_> = (0..run.options.nodes).collect();
        let sequencer = run.rng.usize(..nodes.len());
        run.cluster.config = run.cluster.configuration_on(run.cluster.config.id, sequencer, &nodes);
        for client in 0..self.clients {
            let party = Self::open(run, client);
            self.parties.push(party);
        }
        let first = self.first_loglet(run);
        run.cluster.begin_log(&self.parties[0].log, first.clone());
        self.chain_told(run, Chain::begin(first));
    }

    fn operate(&mut self, run: &mut Run, client: usize) {
        self.choose(run, client);
    }

    fn append(&mut self, run: &mut Run, client: usize, bytes: usize) {
        self.append_record(run, client, bytes);
    }

    fn look(&mut self, run: &mut Run) {
        run.look_at_recovered();
        for client in 0..self.parties.len() {
            let mut pending = std::mem::take(&mut self.parties[client].pending);
            pending.retain_mut(|pending| !self.has_ended(run, client, pending));
            self.parties[client].pending.append(&mut pending);
            self.parties[client].streams.retain_mut(|stream| !stream.follow(run));
        }
    }

    fn sequencer(&self) -> NodeId {
        self.chain().last().loglet.first().sequencer.node
    }

    fn replace_client(&mut self, run: &mut Run, client: usize) {
        // What has been told by now has been told.
        self.look(run);
        run.note(format_args!("client {client} ends, and another one begins"));
        run.count("client_end");
        run.took(if self.parties[client].is_idle() { "client ends" } else { "client ends amid operations" });
        for pending in std::mem::take(&mut self.parties[client].pending) {
            if let Pending::Append { index, .. } = pending {
                run.append_ends(client, index, AppendOutcome::Unknown);
            }
        }
        run.cluster.replace_client(client);
        self.parties[client] = Self::open(run, client);
    }

    fn converge(&mut self, run: &mut Run) {
        self.end(run);
    }

    fn conclude(&mut self, run: &mut Run) {
        let mut observer = run.observer.borrow_mut();
        let told = observer.take_chains();
        run.history.chains.extend(told.map(|chain| version_of(&chain)));
        run.history.chains.sort_by_key(|chain| chain.version);
        run.history.chains.dedup();
        let segments = segments_of(&run.history.chains).into_iter().map(|(loglet, stripes, mut segment)| {
            observer.conclude(loglet, stripes, segment.start, &mut segment);
            segment
        });
        run.history.segments = segments.collect();
        drop(observer);
        self.tell_branches(run);
    }
}
