//! A service that keeps its state in the log: a replicated map.
//!
//! Every replica applies the log's records in their order, so all come to the same state; one that starts anew recovers by reading. A
//! write is an append, and a read that must see every write before it reads up to the log's tail first.
//!
//! `cargo run --example key_value`, or with `-- --cluster naxos-dev/cluster.json` beside `naxos dev`.

pub mod support;

use std::collections::BTreeMap;

use anyhow::bail;
use naxos::base::LogPos;
use naxos::client::{Client, Deduplicate, LogAppendError, ReadResult, Seen, Tokened, Tokens, VirtualLog};
use serde::{Deserialize, Serialize};
use support::Home;

const READ_BYTES: u32 = 64 << 10;

/// What a record says.
#[derive(Serialize, Deserialize)]
enum Change {
    Set { key: String, value: String },
    Remove { key: String },
}

/// One replica of the map.
pub struct Map {
    log: VirtualLog,
    tokens: Tokens,
    /// A change that was appended twice is applied once.
    applied: Deduplicate,
    next: LogPos,
    values: BTreeMap<String, String>,
    /// Logs end with their clients.
    _client: Client,
}

impl Map {
    /// A replica that knows nothing yet.
    pub fn open(home: &Home, name: &str) -> anyhow::Result<Self> {
        let (client, log) = home.log(name)?;
        let (tokens, applied) = (Tokens::new(), Deduplicate::default());
        Ok(Self { log, tokens, applied, next: LogPos::ZERO, values: BTreeMap::new(), _client: client })
    }

    /// Returns when the change is on stable storage on a majority.
    pub fn set(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        self.change(&Change::Set { key: key.to_owned(), value: value.to_owned() })
    }

    /// As [`Map::set`].
    pub fn remove(&mut self, key: &str) -> anyhow::Result<()> {
        self.change(&Change::Remove { key: key.to_owned() })
    }

    fn change(&mut self, change: &Change) -> anyhow::Result<()> {
        let record = serde_json::to_vec(change)?;
        let token = self.tokens.take();
        loop {
            match self.log.append_with(token, &record).wait() {
                Ok(_) => return Ok(()),
                // It may be there or not: with the same token, doing it again cannot do it twice.
                Err(LogAppendError::Unavailable { .. }) => {}
                Err(error) => bail!(error),
            }
        }
    }

    /// The value now: after every change that was acknowledged before the call, whoever made it.
    pub fn get(&mut self, key: &str) -> anyhow::Result<Option<&str>> {
        self.catch_up()?;
        Ok(self.values.get(key).map(String::as_str))
    }

    /// Everything there is now.
    pub fn all(&mut self) -> anyhow::Result<&BTreeMap<String, String>> {
        self.catch_up()?;
        Ok(&self.values)
    }

    fn catch_up(&mut self) -> anyhow::Result<()> {
        let tail = self.log.check_tail()?;
        while self.next < tail {
            match self.log.read(self.next, tail, READ_BYTES)? {
                ReadResult::Records(delivery) => {
                    delivery.records().try_for_each(|record| self.apply(record))?;
                    self.next = delivery.end();
                }
                ReadResult::NothingYet => {}
                ReadResult::Trimmed(first) => {
                    bail!("the log begins at {first}: a map without a snapshot needs all of it")
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: &[u8]) -> anyhow::Result<()> {
        let Tokened { token, record } = Tokened::unwrap(record)?;
        if token.is_some_and(|token| self.applied.see(token) == Seen::Repeat) {
            return Ok(());
        }
        match serde_json::from_slice(record)? {
            Change::Set { key, value } => drop(self.values.insert(key, value)),
            Change::Remove { key } => drop(self.values.remove(&key)),
        }
        Ok(())
    }
}

/// Two replicas that write, and a third that recovers. Returns what the third has.
pub fn run(home: &Home) -> anyhow::Result<BTreeMap<String, String>> {
    let (mut left, mut right) = (Map::open(home, "key-value")?, Map::open(home, "key-value")?);
    left.set("colour", "blue")?;
    right.set("shape", "round")?;
    println!("left reads what right wrote:  shape = {:?}", left.get("shape")?);
    right.set("colour", "green")?;
    right.remove("shape")?;
    left.set("size", "7")?;
    println!("left has                      {:?}", left.all()?);
    println!("right has                     {:?}", right.all()?);
    let mut recovered = Map::open(home, "key-value")?;
    println!("one that starts anew has      {:?}", recovered.all()?);
    Ok(recovered.all()?.clone())
}

fn main() -> anyhow::Result<()> {
    run(&Home::from_arguments()?).map(drop)
}
