use super::super::recording::{PENDING_MAX, Question};
use super::super::run::Run;
use super::super::stream::{STREAMS_MAX, Stream};
use super::super::workload::Workload;
use super::workload::VirtualLogs;
use crate::base::{IntentId, LogPos};
use crate::client::{Chain, Extended, Intent, LogAppend, Operation, ReadResult, Wanted, WantedStripe};
use crate::history::{Moment, Trim};
use crate::proto::virtual_log::contract::LogResult;

/// Segments that a chain may have before its clients give up its beginning.
const SEGMENTS_MAX: usize = 24;
/// How many turns everybody may have taken when a client ends amid an extend.
const EXTEND_STEPS: u64 = 300;

/// What a client waits for.
pub(super) enum Pending {
    Append { index: usize, append: LogAppend },
    Tail { invoked: Moment, operation: Operation<LogPos, LogResult> },
    Read { question: Question, operation: Operation<ReadResult<LogPos>, LogResult> },
    Trim { operation: Operation<LogPos, LogResult> },
    Extend { operation: Operation<Extended, LogResult> },
    Seal { operation: Operation<(), LogResult> },
    Modify { operation: Operation<Chain, LogResult> },
    Chain { operation: Operation<Chain, LogResult> },
}

impl VirtualLogs {
    /// One or some operations, of the client's choice.
    pub(super) fn choose(&mut self, run: &mut Run, client: usize) {
        if self.parties[client].pending.len() >= PENDING_MAX {
            return;
        }
        match run.rng.u8(..100) {
            0..62 => {
                for _ in 0..run.draw_burst() {
                    let bytes = run.draw_record_bytes();
                    self.append_record(run, client, bytes);
                }
            }
            62..72 => self.check_tail(run, client),
            72..84 => self.read(run, client),
            84..87 => self.trim(run, client),
            87..90 => self.subscribe(run, client),
            90 => self.read_chain(run, client),
            91 => self.modify(run, client),
            92 => self.seal(run, client),
            _ if self.chain().segments.len() > SEGMENTS_MAX => self.trim(run, client),
            _ => {
                let is_intended = run.rng.bool();
                self.extend(run, client, is_intended);
                if run.rng.u8(..4) == 0 {
                    let steps = run.rng.u64(..EXTEND_STEPS);
                    run.cluster.run_steps(steps);
                    self.replace_client(run, client);
                }
            }
        }
    }

    fn start(&mut self, run: &mut Run, client: usize, pending: Pending) {
        run.issued += 1;
        self.parties[client].pending.push(pending);
    }

    pub(super) fn append_record(&mut self, run: &mut Run, client: usize, bytes: usize) {
        let (index, record) = run.append_begins(client, None, bytes);
        let append = self.parties[client].log.append(&record);
        self.parties[client].pending.push(Pending::Append { index, append });
    }

    pub(super) fn check_tail(&mut self, run: &mut Run, client: usize) {
        let invoked = run.moment();
        run.note(format_args!("client {client} asks for the tail"));
        let operation = self.parties[client].log.start_check_tail();
        self.start(run, client, Pending::Tail { invoked, operation });
    }

    fn read(&mut self, run: &mut Run, client: usize) {
        let committed = self.parties[client].committed;
        let min = run.rng.u64(..=committed);
        let max = if run.rng.bool() { u64::MAX } else { min + run.rng.u64(1..32) };
        let bytes = *run.rng.choice(&[1, 600, 4 << 10]).expect("some sizes");
        let invoked = run.moment();
        run.note(format_args!("client {client} reads from {min} to {max}"));
        let operation = self.parties[client].log.start_read(LogPos(min), LogPos(max), bytes);
        let question = Question { client, segment: None, invoked, min, max };
        self.start(run, client, Pending::Read { question, operation });
    }

    /// Somewhere below what is known to be committed; most of the time far below. Or anywhere: the log clips it.
    fn trim(&mut self, run: &mut Run, client: usize) {
        let committed = self.parties[client].committed;
        let point = match run.rng.u8(..8) {
            0 => run.rng.u64(..=2 * committed),
            1..3 => run.rng.u64(committed / 2..=committed),
            _ => run.rng.u64(..=committed) / 2,
        };
        let invoked = run.moment();
        run.history.trims.push(Trim { point, invoked });
        run.note(format_args!("client {client} trims to {point}"));
        let operation = self.parties[client].log.start_trim(LogPos(point));
        self.start(run, client, Pending::Trim { operation });
    }

    fn subscribe(&mut self, run: &mut Run, client: usize) {
        if self.parties[client].streams.len() >= STREAMS_MAX {
            return;
        }
        let from = run.rng.u64(..=self.parties[client].committed);
        run.note(format_args!("client {client} follows the log from {from}"));
        let subscription = self.parties[client].log.subscribe(LogPos(from));
        let stream = Stream::new(run, client, None, from, subscription);
        run.issued += 1;
        self.parties[client].streams.push(stream);
    }

    fn read_chain(&mut self, run: &mut Run, client: usize) {
        run.note(format_args!("client {client} reads the chain"));
        let operation = self.parties[client].log.start_chain();
        self.start(run, client, Pending::Chain { operation });
    }

    /// Another LogServer for one of some segment's; the last segment refuses.
    fn modify(&mut self, run: &mut Run, client: usize) {
        let segments = &self.chain().segments;
        let stripes = segments[run.rng.usize(..segments.len())].loglet.stripes();
        // One that has none besides takes nothing from the stream.
        let stripe = if let [only] = stripes { only } else { &stripes[run.rng.usize(..stripes.len())] };
        let (id, mut log_servers) = (stripe.id, stripe.log_servers.clone());
        let others = (0..run.cluster.nodes()).map(|node| run.cluster.member(node));
        let others = others.filter(|other| log_servers.iter().all(|member| member.node != other.node));
        let others: Vec<_> = others.collect();
        let Some(&other) = run.rng.choice(&others) else { return };
        let replaced = run.rng.usize(..log_servers.len());
        log_servers[replaced] = other;
        run.note(format_args!("client {client} wants {} in the place of LogServer {replaced} of {id}", other.node));
        let operation = self.parties[client].log.start_modify(id, log_servers);
        self.start(run, client, Pending::Modify { operation });
    }

    fn seal(&mut self, run: &mut Run, client: usize) {
        run.note(format_args!("client {client} seals the last loglet"));
        let operation = self.parties[client].log.start_seal();
        self.start(run, client, Pending::Seal { operation });
    }

    /// Puts another loglet behind the last one: a clone, or as an intent says that is written down first.
    pub(super) fn extend(&mut self, run: &mut Run, client: usize, is_intended: bool) {
        let operation = if is_intended {
            let intent = self.draw_intent(run);
            run.note(format_args!("client {client} intends {intent:?}"));
            self.parties[client].log.start_intended(intent)
        } else {
            run.note(format_args!("client {client} puts a clone behind the last loglet"));
            self.parties[client].log.start_extend(None, false).expect("a clone needs no chain")
        };
        self.start(run, client, Pending::Extend { operation });
    }

    /// As many LogServers as the log began with, of all nodes, and any node as sequencer; so for each stripe.
    fn draw_intent(&self, run: &mut Run) -> Intent {
        // One that cannot have more takes nothing from the stream.
        let stripes = if self.stripes_max > 1 { run.rng.usize(1..=self.stripes_max) } else { 1 };
        let stripe = |_| {
            let mut nodes: Vec<_> = (0..run.cluster.nodes()).collect();
            run.rng.shuffle(&mut nodes);
            let sequencer = run.cluster.member(*run.rng.choice(&nodes).expect("there are nodes"));
            nodes.truncate(run.options.nodes);
            let log_servers = nodes.into_iter().map(|node| run.cluster.member(node)).collect();
            WantedStripe { sequencer, log_servers }
        };
        let wanted = Wanted::new((0..stripes).map(stripe).collect());
        Intent {
            id: IntentId(run.rng.u128(..)),
            replaces: self.chain().last().loglet.id(),
            wanted,
            stripes: None,
            since_unix_ms: 0,
        }
    }
}
