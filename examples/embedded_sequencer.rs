//! A writer with the sequencer of its log in its own process: an append is one round trip to the nodes that store it, and one durable
//! write. Without, there is another one, from the writer to the node that sequences.
//!
//! Others read the log meanwhile. They do not append to it: a client that cannot reach the sequencer takes it for lost, and puts another
//! one in its place. So does whoever appends when the writer has gone, as in the end here; nothing acknowledged is lost by it.
//!
//! `cargo run --example embedded_sequencer`, or with `-- --cluster naxos-dev/cluster.json` beside `naxos dev`.

pub mod support;

use std::time::Instant;

use anyhow::{Context, bail};
use naxos::base::LogPos;
use naxos::client::{Client, ClientOptions, Event, VirtualLog};
use naxos::node::{SequencerConfig, SequencerNode};
use support::Home;

const LOG: &str = "embedded-sequencer";

/// A process that writes: the sequencer, and the client that reaches it through memory.
pub struct Writer {
    sequencer: SequencerNode,
    log: VirtualLog,
    _client: Client,
}

impl Writer {
    /// Takes the log over, which is made if there is none.
    pub fn start(home: &Home) -> anyhow::Result<Self> {
        // Any client finds out which cluster it is.
        let cluster = Client::start(ClientOptions::default())?.cluster(home.addresses())?.id();
        let config = SequencerConfig::new(cluster);
        let started = SequencerNode::start_with_client(config, ClientOptions::default());
        let (sequencer, client) = started.context("cannot start the sequencer")?;
        let log = client.cluster(home.addresses())?.open_or_create_log(LOG, 3)?;
        sequencer.take_over(&log)?;
        Ok(Self { sequencer, log, _client: client })
    }

    /// Appends a record, and says how long that took.
    pub fn write(&self, text: &str) -> anyhow::Result<LogPos> {
        let begun = Instant::now();
        let at = self.log.append(text.as_bytes()).wait()?;
        println!("{at}: {text}, durable in {:?}", begun.elapsed());
        Ok(at)
    }

    /// The process ends; so might a crash end it.
    pub fn end(self) {
        self.sequencer.stop();
    }
}

/// All records below `end`.
fn read(log: &VirtualLog, end: LogPos) -> anyhow::Result<Vec<String>> {
    let (mut records, mut found) = (log.subscribe(LogPos::ZERO), Vec::new());
    let mut next = LogPos::ZERO;
    while next < end {
        match records.next()? {
            Event::Records(delivery) => {
                next = delivery.end();
                found.extend(delivery.records().map(|record| String::from_utf8_lossy(record).into_owned()));
            }
            other => bail!("the log is read from its beginning: {other:?}"),
        }
    }
    Ok(found)
}

/// A writer writes and goes; somebody else reads what it wrote, and appends behind it. Returns the log, as that one sees it.
pub fn run(home: &Home) -> anyhow::Result<Vec<String>> {
    let (_client, elsewhere) = home.log(LOG)?;
    let writer = Writer::start(home)?;
    for number in 1..=3 {
        writer.write(&format!("record {number}"))?;
    }
    println!("elsewhere: {:?}", read(&elsewhere, elsewhere.check_tail()?)?);
    writer.end();
    let at = elsewhere.append(b"from somebody else").wait()?;
    let log = read(&elsewhere, at + 1)?;
    println!("elsewhere: {log:?}");
    Ok(log)
}

fn main() -> anyhow::Result<()> {
    run(&Home::from_arguments()?).map(drop)
}
