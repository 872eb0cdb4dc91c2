//! The client cores of a loglet and of a virtual log over it, with a sequencer that acknowledges everything at once.

use std::hint::black_box;

use naxos::base::{Incarnation, Instant, Limits, LogletId, NodeId, Offset, RegisterId, Version};
use naxos::proto::loglet::{LogletOp, LogletResult, OpId, Records};
use naxos::proto::metastore::contract::{MetaStoreResult, Versioned};
use naxos::proto::native::{NativeLoglet, Target};
use naxos::proto::virtual_log::contract::{LogOp, LogResult, Request};
use naxos::proto::virtual_log::{Chain, VirtualLog};
use naxos::wire::{BatchBuilder, LogletConfig, Member, Message, Sequencer};

const NOW: Instant = Instant::from_nanos(1_000);

fn config() -> LogletConfig {
    let address = "127.0.0.1:4100".parse().expect("an address");
    LogletConfig {
        id: LogletId { log: 1, version: 1, nonce: 3 },
        sequencer: Sequencer { node: NodeId(100), incarnation: Incarnation(7), address },
        log_servers: (1..=3).map(|node| Member { node: NodeId(node), address }).collect(),
    }
}

/// A batch of one record.
fn one_record() -> Records {
    let mut builder = BatchBuilder::default();
    builder.push(&[7; 100]);
    let mut bytes = Vec::new();
    builder.write_to(&mut bytes);
    Records { count: 1, bytes }
}

/// The sequencer's side of a loglet.
struct Acknowledging {
    core: NativeLoglet,
    tail: Offset,
}

impl Acknowledging {
    fn new() -> Self {
        let mut core = NativeLoglet::new(config(), &Limits::default());
        core.handle_connected(Target::Sequencer, NOW);
        Self { core, tail: Offset::ZERO }
    }

    /// Takes the append that is waiting to be sent, and acknowledges it.
    fn acknowledge(&mut self) -> (OpId, LogletResult) {
        let sent = self.core.poll_send(Target::Sequencer);
        let Some(Message::Append { request, loglet, batch }) = black_box(sent) else { panic!("an append is sent") };
        let (first, count) = (self.tail, batch.count());
        self.tail = first + u64::from(count);
        let answer = Message::Appended { request, loglet, first, count, known_tail: self.tail, residence: None };
        self.core.handle(Target::Sequencer, answer, NOW);
        self.core.poll_result().expect("an append ends with its acknowledgement")
    }
}

/// Appends to a loglet without a chain.
pub(crate) struct Bare {
    loglet: Acknowledging,
    records: Option<Records>,
    next: u64,
}

impl Bare {
    pub(crate) fn new() -> Self {
        Self { loglet: Acknowledging::new(), records: Some(one_record()), next: 0 }
    }

    /// One append, from the caller and back.
    pub(crate) fn append(&mut self) {
        let records = self.records.take().expect("it came back");
        self.next += 1;
        self.loglet.core.handle_op(OpId(self.next), LogletOp::Append { records }, NOW);
        let (id, result) = black_box(self.loglet.acknowledge());
        let LogletResult::Appended { records, .. } = result else { panic!("it is acknowledged") };
        assert_eq!(id, OpId(self.next));
        self.records = Some(records);
    }
}

/// Appends to a virtual log whose last loglet takes them.
pub(crate) struct Virtual {
    log: VirtualLog,
    loglet: Acknowledging,
    records: Option<Records>,
    next: u64,
}

impl Virtual {
    /// A log that knows its chain.
    pub(crate) fn new() -> Self {
        let mut log = VirtualLog::new(RegisterId(1), 1, &Limits::default());
        log.handle_op(OpId(0), LogOp::Chain, NOW);
        let Some(Request::MetaStore { id, .. }) = log.poll_request() else { panic!("it reads its chain") };
        let newest = Versioned { version: Version(1), members: Vec::new(), value: Chain::begin(config()).to_json() };
        log.handle_metastore(id, MetaStoreResult::Value(newest), NOW);
        assert!(matches!(log.poll_result(), Some((OpId(0), LogResult::Chain(_)))));
        Self { log, loglet: Acknowledging::new(), records: Some(one_record()), next: 0 }
    }

    /// One append, from the caller and back.
    pub(crate) fn append(&mut self) {
        let records = self.records.take().expect("it came back");
        self.next += 1;
        self.log.handle_append(OpId(self.next), records, NOW);
        while let Some(request) = self.log.poll_request() {
            match request {
                Request::Loglet { id, op, .. } => self.loglet.core.handle_op(id, op, NOW),
                // The loglet's client is there.
                Request::Open(_) => {}
                other => panic!("an append asks for nothing else: {other:?}"),
            }
        }
        let (id, result) = self.loglet.acknowledge();
        self.log.handle_loglet(id, result, NOW);
        let (id, result) = black_box(self.log.poll_result().expect("an append ends with its acknowledgement"));
        let LogResult::Appended { records, .. } = result else { panic!("it is acknowledged") };
        assert_eq!(id, OpId(self.next));
        self.records = Some(records);
    }
}
