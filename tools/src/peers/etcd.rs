//! etcd: three members; a record is a new key, and a request one transaction of several puts.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use naxos::base::Offset;
use tokio::task::JoinSet;

use super::alarm::Alarm;
use super::grpc::{Channel, Method};
use super::load::{Acknowledged, Connection, Lane, Load};
use super::options::Shape;
use super::peer::{self, About, Peer, Sink};
use super::process::{Process, command, free_ports, program, until, version};
use super::protobuf::{Value, bytes, bytes_of, fields, number, number_of};

const MEMBERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Records of one page when keys are read back.
const PAGE: u64 = 1000;

/// Running members.
pub(super) struct Etcd {
    leader: SocketAddr,
    version: String,
    _members: Vec<Process>,
}

impl Peer for Etcd {
    const ABOUT: About = About {
        durability: "quorum-fsync",
        copies: MEMBERS,
        settings: "fsync as by default, quota-backend-bytes 8 GiB, max-txn-ops 1000; clients connect to the leader",
        note: "a record is a new key; in the shapes batched and open-loop a request is a transaction of several puts",
    };

    type Connection = Puts;

    fn installed() -> anyhow::Result<()> {
        program("etcd", "etcd-server")?;
        Ok(())
    }

    async fn start(directory: &Path) -> anyhow::Result<Self> {
        let etcd = program("etcd", "etcd-server")?;
        let ports = free_ports(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let cluster: Vec<_> = peers.iter().enumerate().map(|(index, peer)| format!("m{index}=http://{peer}")).collect();
        let mut members = Vec::new();
        for (index, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let mut start = command(&etcd);
            start.args(["--name", &format!("m{index}"), "--data-dir", &format!("m{index}")]);
            start.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            start.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            start.args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"]);
            start.args(["--quota-backend-bytes", &(8_u64 << 30).to_string(), "--max-txn-ops", "1000"]);
            start.args(["--logger", "zap", "--log-level", "warn"]);
            members.push(Process::start(format!("etcd-{index}"), start, directory)?);
        }
        let leader = until(&mut members, PATIENCE, || leader(clients)).await?;
        Ok(Self { leader, version: version(&etcd)?, _members: members })
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(shape: Shape) -> Load {
        peer::load(shape, Load { connections: 8, inflight: 4, records_per_request: 250 })
    }

    async fn create(&mut self, _: &str) -> anyhow::Result<()> {
        // A log is a prefix of keys.
        Ok(())
    }

    async fn connect(&self, log: &str, number: usize) -> anyhow::Result<Puts> {
        let channel = Channel::connect(self.leader).await?;
        let calls = Calls {
            put: channel.method("etcdserverpb.KV/Put")?,
            txn: channel.method("etcdserverpb.KV/Txn")?,
            prefix: format!("{log}/{number:04x}"),
            channel,
        };
        Ok(Puts(Rc::new(calls)))
    }

    async fn read(&self, log: &str, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        let channel = Channel::connect(self.leader).await?;
        let method = channel.method("etcdserverpb.KV/Range")?;
        let mut from = format!("{log}/").into_bytes();
        let mut end = from.clone();
        *end.last_mut().expect("a prefix ends with a slash") += 1;
        loop {
            let mut request = Vec::new();
            bytes(&mut request, 1, &from);
            bytes(&mut request, 2, &end);
            number(&mut request, 3, PAGE);
            let answer = channel.call(&method, &request).await?;
            let mut more = false;
            fields(&answer, |field, value| {
                match (field, value) {
                    (2, Value::Bytes(pair)) => {
                        from = bytes_of(pair, 1)?.to_vec();
                        sink(Offset(number_of(pair, 3)?), bytes_of(pair, 5)?);
                    }
                    (3, Value::Number(value)) => more = value != 0,
                    _ => {}
                }
                Ok(())
            })?;
            if !more {
                return Ok(());
            }
            // The key that comes next is at least this one.
            from.push(0);
        }
    }
}

/// The member that all members take for their leader.
async fn leader(clients: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    let mut found = None;
    for &client in clients {
        let channel = Channel::connect(client).await?;
        let status = channel.call(&channel.method("etcdserverpb.Maintenance/Status")?, &[]).await?;
        let (member, leader) = (number_of(bytes_of(&status, 1)?, 2)?, number_of(&status, 4)?);
        ensure!(leader != 0, "no leader yet");
        if member == leader {
            found = Some(client);
        }
    }
    found.context("no member is the leader")
}

/// A connection for load.
pub(super) struct Puts(Rc<Calls>);

struct Calls {
    channel: Channel,
    put: Method,
    txn: Method,
    /// Of all keys of this connection.
    prefix: String,
}

impl Calls {
    /// Puts records under keys that end with their sequence, so that keys sort as records were appended. All records of one
    /// transaction are at its revision.
    async fn append(&self, first: u64, puts: Vec<Vec<u8>>) -> anyhow::Result<Acknowledged> {
        let answer = match &puts[..] {
            [put] => self.channel.call(&self.put, put).await?,
            puts => {
                let answer = self.channel.call(&self.txn, &transaction(puts)).await?;
                ensure!(number_of(&answer, 2)? == 1, "the transaction of record {first} did not succeed");
                answer
            }
        };
        acknowledged(&answer)
    }

    fn put(&self, sequence: u64, record: &[u8]) -> Vec<u8> {
        let mut put = Vec::with_capacity(64 + record.len());
        bytes(&mut put, 1, format!("{}{sequence:012x}", self.prefix).as_bytes());
        bytes(&mut put, 2, record);
        put
    }
}

/// A transaction without conditions.
fn transaction(puts: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut operation) = (Vec::new(), Vec::new());
    for put in puts {
        operation.clear();
        bytes(&mut operation, 2, put);
        bytes(&mut out, 2, &operation);
    }
    out
}

/// The revision in the header of an answer.
fn acknowledged(answer: &Bytes) -> anyhow::Result<Acknowledged> {
    let revision = number_of(bytes_of(answer, 1)?, 3)?;
    ensure!(revision > 0, "an answer without a revision");
    Ok(Acknowledged { offset: revision, step: 0 })
}

impl Connection for Puts {
    async fn run(self, lane: Rc<Lane>) -> anyhow::Result<()> {
        let mut alarm = Alarm::new()?;
        let (mut calls, mut records) = (JoinSet::new(), Vec::new());
        loop {
            while let Some(request) = lane.take(&mut records) {
                let sequences = request.first..;
                let records = records.chunks_exact(lane.record_bytes());
                let puts = records.zip(sequences).map(|(record, sequence)| self.0.put(sequence, record)).collect();
                let of = self.0.clone();
                calls.spawn_local(async move { (request.first, of.append(request.first, puts).await) });
            }
            if lane.is_over() {
                return Ok(());
            }
            if lane.is_open() {
                alarm.set(lane.next_due())?;
            }
            tokio::select! {
                Some(call) = calls.join_next() => match call.context("a call has ended without a result")? {
                    (first, Ok(place)) => lane.acknowledge(first, place)?,
                    (first, Err(error)) => lane.refuse(first, format!("{error:#}"))?,
                },
                rung = alarm.rung() => rung?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_its_puts_as_operations() {
        let message = transaction(&[b"one".to_vec(), b"two".to_vec()]);
        let mut puts = Vec::new();
        fields(&message, |field, value| {
            let Value::Bytes(operation) = value else { panic!("an operation is a message") };
            assert_eq!(field, 2);
            puts.push(bytes_of(operation, 2)?.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(puts, [b"one", b"two"]);
    }

    #[test]
    fn a_record_is_where_the_header_says() {
        let (mut header, mut answer) = (Vec::new(), Vec::new());
        number(&mut header, 3, 77);
        bytes(&mut answer, 1, &header);
        assert_eq!(acknowledged(&answer.into()).unwrap(), Acknowledged { offset: 77, step: 0 });
        assert!(acknowledged(&Bytes::new()).is_err());
    }
}
