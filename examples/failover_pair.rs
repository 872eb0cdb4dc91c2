//! A failover pair: two members, of which one writes; the other takes over when nothing has come from it for a while.
//!
//! Whose turn it is stands in the log, like everything else: a *turn* record begins a new turn, and what an earlier turn appends behind
//! it does not count. The member that takes over also extends the log, with another node as the sequencer: what the other member
//! has on its way is sealed off, and a dead sequencer is replaced without anybody else's help. No clock decides anything: a takeover
//! that came too early costs a turn, not a record.
//!
//! `cargo run --example failover_pair`, or with `-- --cluster naxos-dev/cluster.json` beside `naxos dev`.

pub mod support;

use std::time::Duration;

use anyhow::bail;
use naxos::base::LogPos;
use naxos::client::{Client, Event, Extended, Subscription, VirtualLog, Wanted};
use serde::{Deserialize, Serialize};
use support::Home;

/// After so long without a record the standby takes over.
const SILENCE: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize)]
enum Record {
    /// From here on it is this turn, and this member's.
    Turn { turn: u64, member: String },
    /// Work of a turn.
    Work { turn: u64, text: String },
}

/// One of the two, and what it has seen of the log.
pub struct Member {
    name: String,
    log: VirtualLog,
    records: Subscription<LogPos>,
    /// The newest turn that is in the log, and whose it is.
    turn: u64,
    holder: String,
    work: Vec<String>,
    _client: Client,
}

impl Member {
    /// A member that has seen nothing of the log yet.
    pub fn join(home: &Home, name: &str) -> anyhow::Result<Self> {
        let (client, log) = home.log("failover-pair")?;
        let (records, name, holder) = (log.subscribe(LogPos::ZERO), name.to_owned(), String::new());
        Ok(Self { name, log, records, turn: 0, holder, work: Vec::new(), _client: client })
    }

    /// Takes in what comes, until nothing has come for a while.
    pub fn watch(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.records.next_timeout(SILENCE)? {
            match event {
                Event::Records(delivery) => delivery.records().try_for_each(|record| self.apply(record))?,
                other => bail!("the log is followed from its beginning: {other:?}"),
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: &[u8]) -> anyhow::Result<()> {
        match serde_json::from_slice(record)? {
            // Of two that begin the same turn, the log has put one first.
            Record::Turn { turn, member } if turn > self.turn => (self.turn, self.holder) = (turn, member),
            Record::Work { turn, text } if turn == self.turn => self.work.push(text),
            Record::Turn { .. } | Record::Work { .. } => {}
        }
        Ok(())
    }

    /// Makes it this member's turn: the loglet in use is sealed, and the next one is sequenced elsewhere.
    pub fn take_over(&mut self) -> anyhow::Result<()> {
        let last = self.log.chain()?.last().loglet.clone();
        let other = last.log_servers().find(|member| member.node != last.first().sequencer.node);
        let wanted = other.map(|member| Wanted::clone_of(&last, member));
        match self.log.extend(wanted, false)? {
            // Somebody else's extend has sealed it as well.
            Extended::Done(_) | Extended::Overtaken(_) => {}
            Extended::Pending(intent) => bail!("a reconfiguration is pending: {}", intent.id),
        }
        let turn = Record::Turn { turn: self.turn + 1, member: self.name.clone() };
        self.log.append(&serde_json::to_vec(&turn)?).wait()?;
        self.watch()?;
        println!("{}: turn {} is {}'s", self.name, self.turn, self.holder);
        Ok(())
    }

    /// Appends work as a part of what this member believes to be its turn. Returns its position; whether it counts, the log says.
    pub fn write(&self, text: &str) -> anyhow::Result<LogPos> {
        let record = Record::Work { turn: self.turn, text: text.to_owned() };
        Ok(self.log.append(&serde_json::to_vec(&record)?).wait()?)
    }

    /// Whether it is this member's turn, as far as it has seen.
    pub fn is_active(&self) -> bool {
        self.holder == self.name
    }
}

/// The first member writes and falls silent, the second takes over, and the first finds out. Returns the work that each has seen, which is
/// the same.
pub fn run(home: &Home) -> anyhow::Result<[Vec<String>; 2]> {
    let (mut first, mut second) = (Member::join(home, "first")?, Member::join(home, "second")?);
    first.watch()?;
    first.take_over()?;
    for number in 1..=3 {
        first.write(&format!("first {number}"))?;
    }
    // It hears nothing more, from a member that may be dead or only slow.
    second.watch()?;
    second.take_over()?;
    second.write("second 1")?;
    // The first was only slow. What it appends is in the log and does not count: its turn is over.
    let late = first.write("first, too late")?;
    second.write("second 2")?;
    first.watch()?;
    second.watch()?;
    println!("first: its turn is over: {}; its record at {late} does not count", !first.is_active());
    println!("work that counts: {:?}", second.work);
    Ok([first.work, second.work])
}

fn main() -> anyhow::Result<()> {
    run(&Home::from_arguments()?).map(drop)
}
