//! NATS JetStream: a stream with three copies on three servers, which acknowledge what is in their page cache.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use naxos::base::Offset;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::load::Load;
use super::nats_protocol::{Message, Publishes, message, publish, subscribe, to_json};
use super::options::Shape;
use super::peer::{self, About, Peer, Sink};
use super::process::{Process, command, free_ports, make, program, until, version};
use super::wire::{Pipe, Wire};

const SERVERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// For one question to the servers.
const QUESTION: Duration = Duration::from_secs(5);
/// Records that are asked for at once when a stream is read back.
const PAGE: u64 = 5000;

/// Running servers.
pub(super) struct Nats {
    clients: Vec<SocketAddr>,
    /// Of each stream.
    leaders: BTreeMap<String, SocketAddr>,
    version: String,
    _servers: Vec<Process>,
}

impl Peer for Nats {
    const ABOUT: About = About {
        durability: "quorum-page-cache",
        copies: SERVERS,
        settings: "file storage, 3 replicas, sync_interval as by default (2 minutes); clients connect to the stream's leader",
        note: "NOT durable for each acknowledgement: a majority has the record in its page cache, and syncs every 2 minutes",
    };

    type Connection = Pipe<Publishes>;

    fn installed() -> anyhow::Result<()> {
        program("nats-server", "nats-server")?;
        Ok(())
    }

    async fn start(directory: &Path) -> anyhow::Result<Self> {
        let nats = program("nats-server", "nats-server")?;
        let ports = free_ports(2 * SERVERS)?;
        let (clients, routes) = ports.split_at(SERVERS);
        let mut servers = Vec::new();
        for (index, client) in clients.iter().enumerate() {
            let home = make(directory, &format!("n{index}"))?;
            fs::write(home.join("nats.conf"), configuration(&home, index, *client, routes))?;
            let mut start = command(&nats);
            start.arg("-c").arg(home.join("nats.conf"));
            servers.push(Process::start(format!("nats-{index}"), start, directory)?);
        }
        // The servers can do nothing before they have elected who places streams.
        until(&mut servers, PATIENCE, || create(clients, "ready")).await?;
        let version = version(&nats)?;
        Ok(Self { clients: clients.to_vec(), leaders: BTreeMap::new(), version, _servers: servers })
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(shape: Shape) -> Load {
        peer::load(shape, Load { connections: 16, inflight: 250, records_per_request: 1 })
    }

    async fn create(&mut self, log: &str) -> anyhow::Result<()> {
        let leader = until(&mut [], PATIENCE, || create(&self.clients, log)).await?;
        self.leaders.insert(log.to_owned(), leader);
        Ok(())
    }

    async fn connect(&self, log: &str, number: usize) -> anyhow::Result<Pipe<Publishes>> {
        let mut wire = greet(self.leaders[log]).await?;
        let codec = Publishes::new(log, number);
        subscribe(&mut wire.output, &format!("{}*", codec.inbox()));
        Ok(Pipe { wire, codec })
    }

    async fn read(&self, log: &str, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        // Right after a load, servers leave questions unanswered at times.
        let (mut caller, mut left, consumer) = until(&mut [], PATIENCE, || reader(self.leaders[log], log)).await?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{log}.{consumer}");
        while left > 0 {
            let page = left.min(PAGE);
            publish(&mut caller.wire.output, &next, &caller.inbox, json!({"batch": page}).to_string().as_bytes());
            for _ in 0..page {
                let record = timeout(QUESTION, caller.delivered(sink)).await;
                record.with_context(|| format!("{left} records are not delivered"))??;
                left -= 1;
            }
        }
        Ok(())
    }
}

fn configuration(home: &Path, index: usize, client: SocketAddr, routes: &[SocketAddr]) -> String {
    let urls: Vec<_> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
    format!(
        "server_name: n{index}\nlisten: \"{client}\"\njetstream {{ store_dir: \"{}\" }}\n\
         cluster {{ name: peers, listen: \"{}\", routes: [{}] }}\n",
        home.display(),
        routes[index],
        urls.join(", ")
    )
}

/// Connects, up to where a client may speak.
async fn greet(server: SocketAddr) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect(server).await?;
    wire.output.extend_from_slice(
        b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n",
    );
    loop {
        let pong = wire.answer(|input| {
            let Some((bytes, message)) = message(input)? else { return Ok(None) };
            if let Message::Error(error) = message {
                bail!("the server has refused the connection: {error}");
            }
            Ok(Some((bytes, message == Message::Pong)))
        });
        if pong.await? {
            return Ok(wire);
        }
    }
}

/// Makes a stream, or finds it, and tells which server leads it.
async fn create(clients: &[SocketAddr], log: &str) -> anyhow::Result<SocketAddr> {
    let config = json!({"name": log, "subjects": [log], "num_replicas": SERVERS, "storage": "file"});
    let stream = Caller::connect(clients[0]).await?.ask(&format!("STREAM.CREATE.{log}"), &config).await?;
    let leader = stream["cluster"]["leader"].as_str().context("the stream has no leader yet")?;
    let index: Option<usize> = leader.strip_prefix('n').and_then(|index| index.parse().ok());
    index.and_then(|index| clients.get(index).copied()).context("the stream has a strange leader")
}

/// Prepares to read a stream from its beginning: with whom, how many records, and the consumer's name.
async fn reader(leader: SocketAddr, log: &str) -> anyhow::Result<(Caller, u64, String)> {
    let mut caller = Caller::connect(leader).await?;
    let stream = caller.ask(&format!("STREAM.INFO.{log}"), &json!({})).await?;
    let records = stream["state"]["messages"].as_u64().context("a stream without a count")?;
    let config = json!({"deliver_policy": "all", "ack_policy": "none", "num_replicas": 1, "mem_storage": true});
    let question = json!({"stream_name": log, "config": config});
    let consumer = caller.ask(&format!("CONSUMER.CREATE.{log}"), &question).await?;
    let name = consumer["name"].as_str().context("a consumer without a name")?.to_owned();
    Ok((caller, records, name))
}

/// A connection for questions, with a subject for their answers that nobody else has.
struct Caller {
    wire: Wire,
    inbox: String,
}

impl Caller {
    async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let mut wire = greet(server).await?;
        let inbox = format!("_I.{:016x}", RandomState::new().build_hasher().finish());
        subscribe(&mut wire.output, &inbox);
        Ok(Self { wire, inbox })
    }

    async fn ask(&mut self, what: &str, question: &Value) -> anyhow::Result<Value> {
        let subject = format!("$JS.API.{what}");
        publish(&mut self.wire.output, &subject, &self.inbox, question.to_string().as_bytes());
        let answer = async {
            loop {
                let answer = self.wire.answer(|input| {
                    let Some((bytes, message)) = message(input)? else { return Ok(None) };
                    Ok(Some((bytes, to_json(&message)?)))
                });
                if let Some(answer) = answer.await? {
                    return Ok(answer);
                }
            }
        };
        timeout(QUESTION, answer).await.with_context(|| format!("{what}: no answer"))?
    }

    /// Hands the next record over.
    async fn delivered(&mut self, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        loop {
            let mut reply: &[u8] = b"";
            let delivered = self.wire.answer(|input| {
                let Some((bytes, message)) = message(input)? else { return Ok(None) };
                if message == Message::Ping {
                    reply = b"PONG\r\n";
                }
                if let Some(status) = message.status() {
                    bail!("a record is not delivered: {status}");
                }
                let sequence = message.stream_sequence();
                if let Some(sequence) = sequence {
                    sink(Offset(sequence), message.payload());
                }
                Ok(Some((bytes, sequence.is_some())))
            });
            let delivered = delivered.await?;
            self.wire.output.extend_from_slice(reply);
            if delivered {
                return Ok(());
            }
        }
    }
}
