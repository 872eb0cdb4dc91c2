//! ZooKeeper: three servers; a record is a sequential child of one node, and a request one or several creations.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::slice::ChunksExact;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use naxos::base::Offset;

use super::jute::{Reader, buffer, frame, framed, int, long};
use super::load::{Acknowledged, Load};
use super::options::Shape;
use super::peer::{self, About, Peer, Sink};
use super::process::{Missing, Process, command, free_ports, make, program, until};
use super::wire::{Answer, Codec, Pipe, Wire};

const SERVERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const JAR: &str = "/usr/share/java/zookeeper.jar";
const SESSION_MILLIS: i32 = 60_000;
/// Questions in flight when nodes are read back.
const WINDOW: u64 = 1000;
/// What the names of all children begin with.
const CHILD: &str = "r";

/// After so long without an answer a ping follows a request. Where there is only one, version 3.8 forgets now and then that it was committed
/// (its `CommitProcessor` waits although it has both), until the next one comes on any connection.
const SILENCE: Duration = Duration::from_millis(100);
/// Its length, its number and its kind; the answer's number is negative too.
const PING: [u8; 12] = [0, 0, 0, 8, 0xFF, 0xFF, 0xFF, 0xFE, 0, 0, 0, 11];

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const MULTI: i32 = 14;
const NO_NODE: i32 = -101;
const PERSISTENT: i32 = 0;
const PERSISTENT_SEQUENTIAL: i32 = 2;

/// Running servers.
pub(super) struct Zookeeper {
    leader: SocketAddr,
    version: String,
    _servers: Vec<Process>,
}

impl Peer for Zookeeper {
    const ABOUT: About = About {
        durability: "quorum-fsync",
        copies: SERVERS,
        settings: "forceSync yes, snapCount 10000000, maxClientCnxns 0, heap 512 MiB to 2 GiB; clients connect to the leader",
        note: "a record is a sequential node; in the shapes batched and open-loop a request creates several at once",
    };

    type Connection = Pipe<Creates>;

    fn installed() -> anyhow::Result<()> {
        java()?;
        if !Path::new(JAR).is_file() {
            return Err(Missing::package(JAR, "zookeeper").into());
        }
        Ok(())
    }

    async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::installed()?;
        let java = java()?;
        let ports = free_ports(3 * SERVERS)?;
        let (clients, between) = ports.split_at(SERVERS);
        let ensemble: String = (1..)
            .zip(between.chunks(2))
            .map(|(id, pair)| format!("server.{id}=127.0.0.1:{}:{}\n", pair[0].port(), pair[1].port()))
            .collect();
        let mut servers = Vec::new();
        for (id, client) in (1..).zip(clients) {
            let home = make(directory, &format!("s{id}"))?;
            fs::write(home.join("myid"), format!("{id}\n"))?;
            fs::write(home.join("zoo.cfg"), configuration(&home, client.port(), &ensemble))?;
            fs::write(home.join("log4j.properties"), LOGGING)?;
            let mut start = command(&java);
            start.args(["-Xms512m", "-Xmx2g", "-cp", JAR]);
            start.arg(format!("-Dlog4j.configuration=file:{}", home.join("log4j.properties").display()));
            start.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(home.join("zoo.cfg"));
            servers.push(Process::start(format!("zookeeper-{id}"), start, directory)?);
        }
        let (leader, version) = until(&mut servers, PATIENCE, || leader(clients)).await?;
        Ok(Self { leader, version, _servers: servers })
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(shape: Shape) -> Load {
        peer::load(shape, Load { connections: 4, inflight: 32, records_per_request: 100 })
    }

    async fn create(&mut self, log: &str) -> anyhow::Result<()> {
        let mut wire = session(self.leader).await?;
        frame(&mut wire.output, |out| {
            int(out, 1);
            int(out, CREATE);
            creation(out, &format!("/{log}"), b"", PERSISTENT);
        });
        let Reply { error, .. } = wire.answer(reply).await?;
        ensure!(error == 0, "the parent of all records cannot be made: error {error}");
        Ok(())
    }

    async fn connect(&self, log: &str, _: usize) -> anyhow::Result<Pipe<Creates>> {
        let codec = Creates { path: format!("/{log}/{CHILD}"), xid: 0, in_flight: VecDeque::new() };
        Ok(Pipe { wire: session(self.leader).await?, codec })
    }

    async fn read(&self, log: &str, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        let mut wire = session(self.leader).await?;
        question(&mut wire.output, EXISTS, &format!("/{log}"));
        let Reply { error, body } = wire.answer(reply).await?;
        ensure!(error == 0, "the parent of all records is not there: error {error}");
        let creations = creations(&body)?;
        let mut asked = 0;
        for child in 0..creations {
            while asked < creations && asked - child < WINDOW {
                question(&mut wire.output, GET_DATA, &format!("/{log}/{CHILD}{asked:010}"));
                asked += 1;
            }
            let Reply { error, body } = wire.answer(reply).await?;
            match error {
                0 => sink(Offset(child), Reader(&body).buffer()?),
                // The verification says what that means.
                NO_NODE => {}
                error => bail!("record {child} cannot be read: error {error}"),
            }
        }
        Ok(())
    }
}

fn java() -> Result<PathBuf, Missing> {
    program("java", "default-jre-headless")
}

fn configuration(home: &Path, client: u16, ensemble: &str) -> String {
    format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\n\
         maxClientCnxns=0\nmaxSessionTimeout={SESSION_MILLIS}\nadmin.enableServer=false\nforceSync=yes\n\
         snapCount=10000000\n4lw.commands.whitelist=srvr\n{ensemble}",
        home.display()
    )
}

const LOGGING: &str = "log4j.rootLogger=WARN, console\n\
                       log4j.appender.console=org.apache.log4j.ConsoleAppender\n\
                       log4j.appender.console.layout=org.apache.log4j.PatternLayout\n\
                       log4j.appender.console.layout.ConversionPattern=%p %c{1}: %m%n\n";

/// The server that leads, and its version, when all have found each other.
async fn leader(clients: &[SocketAddr]) -> anyhow::Result<(SocketAddr, String)> {
    let mut found = None;
    for &client in clients {
        let mut wire = Wire::connect(client).await?;
        wire.output.extend_from_slice(b"srvr");
        // Its last line; a server without an ensemble has another answer, and closes.
        let text = wire
            .answer(|input| {
                let text = std::str::from_utf8(input)?;
                Ok(text.contains("Node count").then(|| (input.len(), text.to_owned())))
            })
            .await?;
        let line = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
        if line("Mode: ").context("no mode")? == "leader" {
            let version = line("Zookeeper version: ").context("no version")?;
            found = Some((client, version.split('-').next().unwrap_or(version).to_owned()));
        }
    }
    found.context("no server leads")
}

/// Connects and begins a session.
async fn session(server: SocketAddr) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect(server).await?;
    frame(&mut wire.output, |out| {
        int(out, 0);
        long(out, 0);
        int(out, SESSION_MILLIS);
        long(out, 0);
        buffer(out, &[0; 16]);
        out.push(0);
    });
    let timeout = wire
        .answer(|input| {
            let Some(frame) = framed(input)? else { return Ok(None) };
            let mut reader = Reader(frame);
            reader.int()?;
            Ok(Some((4 + frame.len(), reader.int()?)))
        })
        .await?;
    ensure!(timeout > 0, "the server has refused a session");
    Ok(wire)
}

/// A question about one node, without a watch.
fn question(out: &mut Vec<u8>, kind: i32, path: &str) {
    frame(out, |out| {
        int(out, 1);
        int(out, kind);
        buffer(out, path.as_bytes());
        out.push(0);
    });
}

/// The body of a creation that anybody may use.
fn creation(out: &mut Vec<u8>, path: &str, data: &[u8], flags: i32) {
    buffer(out, path.as_bytes());
    buffer(out, data);
    int(out, 1);
    int(out, 31);
    buffer(out, b"world");
    buffer(out, b"anyone");
    int(out, flags);
}

/// How many children a node has had, which is what the next one is numbered with.
fn creations(stat: &[u8]) -> anyhow::Result<u64> {
    let mut reader = Reader(stat);
    for _ in 0..4 {
        reader.long()?;
    }
    reader.int()?;
    Ok(u64::try_from(reader.int()?)?)
}

/// An answer: 0 or an error, and what follows.
struct Reply {
    error: i32,
    body: Vec<u8>,
}

fn reply(input: &[u8]) -> anyhow::Result<Option<(usize, Reply)>> {
    let Some(frame) = framed(input)? else { return Ok(None) };
    let mut reader = Reader(frame);
    reader.int()?;
    reader.long()?;
    let error = reader.int()?;
    Ok(Some((4 + frame.len(), Reply { error, body: reader.0.to_vec() })))
}

/// Appends by creating sequential nodes; answers come in order.
pub(super) struct Creates {
    /// Of every record, without its number.
    path: String,
    xid: i32,
    /// The name and the records of each request.
    in_flight: VecDeque<(u64, u64)>,
}

impl Codec for Creates {
    fn append(&mut self, first: u64, records: ChunksExact<'_, u8>, out: &mut Vec<u8>) {
        self.xid = self.xid.wrapping_add(1) & i32::MAX;
        let count = records.len();
        self.in_flight.push_back((first, count as u64));
        frame(out, |out| {
            int(out, self.xid);
            int(out, if count == 1 { CREATE } else { MULTI });
            for record in records {
                if count > 1 {
                    int(out, CREATE);
                    out.push(0);
                    int(out, -1);
                }
                creation(out, &self.path, record, PERSISTENT_SEQUENTIAL);
            }
            if count > 1 {
                int(out, -1);
                out.push(1);
                int(out, -1);
            }
        });
    }

    fn answer(&mut self, input: &[u8]) -> anyhow::Result<Option<(usize, Answer)>> {
        let Some(frame) = framed(input)? else { return Ok(None) };
        let bytes = 4 + frame.len();
        let mut reader = Reader(frame);
        let (xid, _, error) = (reader.int()?, reader.long()?, reader.int()?);
        if xid < 0 {
            return Ok(Some((bytes, Answer::Other(b""))));
        }
        let (first, count) = self.in_flight.pop_front().context("an answer to nothing")?;
        if error != 0 {
            return Ok(Some((bytes, Answer::Refused(first, format!("error {error}")))));
        }
        let mut offset = None;
        for index in 0..count {
            if count > 1 {
                let (kind, _, error) = (reader.int()?, reader.bool()?, reader.int()?);
                if kind != CREATE {
                    return Ok(Some((bytes, Answer::Refused(first, format!("error {error} of creation {index}")))));
                }
            }
            let number = self.number(reader.buffer()?).context("a node has another name than was asked for")?;
            ensure!(number == *offset.get_or_insert(number) + index, "the nodes of one request are not neighbours");
        }
        let offset = offset.context("a request without records")?;
        Ok(Some((bytes, Answer::Acknowledged(first, Acknowledged { offset, step: 1 }))))
    }

    fn keep_alive(&self) -> Option<(Duration, &'static [u8])> {
        Some((SILENCE, &PING))
    }
}

impl Creates {
    /// The number that a node's name ends with.
    fn number(&self, path: &[u8]) -> Option<u64> {
        std::str::from_utf8(path.strip_prefix(self.path.as_bytes())?).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::super::load::{Plan, drive};
    use super::*;

    fn creates() -> Creates {
        Creates { path: "/log/r".to_owned(), xid: 0, in_flight: VecDeque::new() }
    }

    fn answered(error: i32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, |out| {
            int(out, 1);
            long(out, 9);
            int(out, error);
            body(out);
        });
        out
    }

    fn created(out: &mut Vec<u8>, path: &str) {
        int(out, CREATE);
        out.push(0);
        int(out, 0);
        buffer(out, path.as_bytes());
    }

    #[test]
    fn one_record_is_a_creation_and_several_are_a_multi() {
        let (mut creates, mut one, mut two) = (creates(), Vec::new(), Vec::new());
        creates.append(0, b"abc".chunks_exact(3), &mut one);
        creates.append(1, b"abcdef".chunks_exact(3), &mut two);
        let kind = |frame: &[u8]| i32::from_be_bytes(frame[8..12].try_into().unwrap());
        assert_eq!((kind(&one), kind(&two)), (CREATE, MULTI));
        let answer = answered(0, |out| buffer(out, b"/log/r0000000005"));
        let place = Acknowledged { offset: 5, step: 1 };
        assert_eq!(creates.answer(&answer).unwrap(), Some((answer.len(), Answer::Acknowledged(0, place))));
        let answer = answered(0, |out| {
            created(out, "/log/r0000000006");
            created(out, "/log/r0000000007");
        });
        assert_eq!(creates.answer(&answer[..answer.len() - 1]).unwrap(), None);
        let place = Acknowledged { offset: 6, step: 1 };
        assert_eq!(creates.answer(&answer).unwrap(), Some((answer.len(), Answer::Acknowledged(1, place))));
    }

    /// A server that leaves a lone request unanswered until a ping comes.
    #[tokio::test]
    async fn a_ping_follows_a_request_that_is_not_answered() {
        use std::io::{Read as _, Write as _};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut frame = || {
                let mut length = [0; 4];
                stream.read_exact(&mut length)?;
                let mut body = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut body).map(|()| [&length[..], &body].concat())
            };
            let (request, ping) = (frame().unwrap(), frame().unwrap());
            stream.write_all(&answered(0, |out| buffer(out, b"/log/r0000000000"))).unwrap();
            (request.len() > ping.len(), ping)
        });
        let (plan, warm_up) = (Load { connections: 1, inflight: 1, records_per_request: 1 }, Duration::ZERO);
        let measured = Duration::from_millis(20);
        let plan = Plan { load: plan, rate: None, record_bytes: 100, seed: 1, warm_up, measured };
        let pipe = Pipe { wire: Wire::connect(address).await.unwrap(), codec: creates() };
        let driven = LocalSet::new().run_until(drive(&plan, vec![pipe])).await;
        assert_eq!((driven.failed, driven.ledgers[0].acknowledged()), (0, 1), "{:?}", driven.first_error);
        assert_eq!(server.join().unwrap(), (true, PING.to_vec()));
    }

    #[test]
    fn errors_refuse_and_strangers_end_the_connection() {
        let mut creates = creates();
        for first in 0..3 {
            creates.append(first, b"abc".chunks_exact(3), &mut Vec::new());
        }
        let (_, answer) = creates.answer(&answered(-110, |_| {})).unwrap().unwrap();
        assert_eq!(answer, Answer::Refused(0, "error -110".to_owned()));
        assert!(creates.answer(&answered(0, |out| buffer(out, b"/other/r0000000005"))).is_err());
    }

    #[test]
    fn nodes_of_one_request_that_are_not_neighbours_are_noticed() {
        let mut creates = creates();
        creates.append(0, b"abcdef".chunks_exact(3), &mut Vec::new());
        let answer = answered(0, |out| {
            created(out, "/log/r0000000006");
            created(out, "/log/r0000000008");
        });
        assert!(creates.answer(&answer).is_err());
    }
}
