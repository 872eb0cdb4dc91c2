//! Redis: a stream on one server that writes its append-only file to the disk before it answers.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::slice::ChunksExact;
use std::time::Duration;

use anyhow::{Context, bail};
use naxos::base::Offset;

use super::load::{Acknowledged, Load};
use super::options::Shape;
use super::peer::{self, About, Peer, Sink};
use super::process::{Process, command, free_ports, program, until, version};
use super::wire::{Answer, Codec, Pipe, Wire};

const PATIENCE: Duration = Duration::from_secs(30);
/// Records of one page when a stream is read back.
const PAGE: u64 = 5000;

/// A running server.
pub(super) struct Redis {
    address: SocketAddr,
    version: String,
    _server: Process,
}

impl Peer for Redis {
    const ABOUT: About = About {
        durability: "fsync",
        copies: 1,
        settings: "appendonly yes, appendfsync always, save \"\", no rewrite of the append-only file",
        note: "one copy; the server writes and syncs once for all requests that it has read in a turn",
    };

    type Connection = Pipe<Resp>;

    fn installed() -> anyhow::Result<()> {
        program("redis-server", "redis-server")?;
        Ok(())
    }

    async fn start(directory: &Path) -> anyhow::Result<Self> {
        let server = program("redis-server", "redis-server")?;
        let address = free_ports(1)?[0];
        let mut start = command(&server);
        start.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--daemonize", "no"]);
        start.args(["--dir", "."]);
        start.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        start.args(["--auto-aof-rewrite-percentage", "0"]);
        let mut servers = [Process::start("redis", start, directory)?];
        let ready = || async {
            let mut wire = Wire::connect(address).await?;
            command_to(&mut wire.output, &[b"PING"]);
            match wire.answer(reply).await? {
                Reply::Simple(text) if text == "PONG" => Ok(()),
                other => bail!("PING was answered with {other:?}"),
            }
        };
        until(&mut servers, PATIENCE, ready).await?;
        let [server_process] = servers;
        Ok(Self { address, version: version(&server)?, _server: server_process })
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(shape: Shape) -> Load {
        peer::load(shape, Load { connections: 16, inflight: 256, records_per_request: 1 })
    }

    async fn create(&mut self, _: &str) -> anyhow::Result<()> {
        // A stream begins with its first record.
        Ok(())
    }

    async fn connect(&self, log: &str, _: usize) -> anyhow::Result<Pipe<Resp>> {
        Ok(Pipe { wire: Wire::connect(self.address).await?, codec: Resp::new(log) })
    }

    async fn read(&self, log: &str, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        let mut wire = Wire::connect(self.address).await?;
        let mut after = "-".to_owned();
        loop {
            let count = PAGE.to_string();
            command_to(
                &mut wire.output,
                &[b"XRANGE", log.as_bytes(), after.as_bytes(), b"+", b"COUNT", count.as_bytes()],
            );
            let Reply::Array(entries) = wire.answer(reply).await? else { bail!("XRANGE was not answered with a list") };
            let mut last = None;
            for entry in &entries {
                let (number, record) = stream_entry(entry).context("an entry of the stream is not one record")?;
                sink(Offset(number), record);
                last = Some(number);
            }
            match last {
                Some(number) => after = format!("(0-{number}"),
                None => return Ok(()),
            }
        }
    }
}

fn stream_entry(entry: &Reply) -> Option<(u64, &[u8])> {
    let Reply::Array(entry) = entry else { return None };
    let [Reply::Bulk(id), Reply::Array(fields)] = &entry[..] else { return None };
    let [_, Reply::Bulk(record)] = &fields[..] else { return None };
    Some((entry_number(id)?, record))
}

/// The number in an id that was asked for as `0-*`.
fn entry_number(id: &[u8]) -> Option<u64> {
    std::str::from_utf8(id.strip_prefix(b"0-")?).ok()?.parse().ok()
}

/// A command as an array of strings.
fn command_to(out: &mut Vec<u8>, words: &[&[u8]]) {
    write!(out, "*{}\r\n", words.len()).expect("a vector takes everything");
    for word in words {
        write!(out, "${}\r\n", word.len()).expect("a vector takes everything");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nothing,
    Array(Vec<Self>),
}

/// The reply at the start of `input` and its bytes, if it is whole.
fn reply(input: &[u8]) -> anyhow::Result<Option<(usize, Reply)>> {
    let Some((line, head)) = line(input) else { return Ok(None) };
    let (kind, text) = line.split_first().context("an empty line instead of a reply")?;
    let text = std::str::from_utf8(text)?;
    Ok(match kind {
        b'+' => Some((head, Reply::Simple(text.to_owned()))),
        b'-' => Some((head, Reply::Error(text.to_owned()))),
        b':' => Some((head, Reply::Integer(text.parse()?))),
        b'$' | b'*' if text == "-1" => Some((head, Reply::Nothing)),
        b'$' => {
            let bytes: usize = text.parse()?;
            input.get(head..head + bytes + 2).map(|bulk| (head + bytes + 2, Reply::Bulk(bulk[..bytes].to_vec())))
        }
        b'*' => {
            let (mut at, mut items) = (head, Vec::new());
            for _ in 0..text.parse::<usize>()? {
                let Some((bytes, item)) = reply(&input[at..])? else { return Ok(None) };
                at += bytes;
                items.push(item);
            }
            Some((at, Reply::Array(items)))
        }
        _ => bail!("a reply that begins with byte {kind}"),
    })
}

/// The first line without its end, and its bytes with it.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|&byte| byte == b'\r')?;
    (input.get(end + 1) == Some(&b'\n')).then(|| (&input[..end], end + 2))
}

/// Appends with `XADD`, one command for each record; answers come in order.
pub(super) struct Resp {
    /// What every command begins with.
    head: Vec<u8>,
    in_flight: VecDeque<u64>,
}

impl Resp {
    fn new(log: &str) -> Self {
        let mut head = Vec::new();
        command_to(&mut head, &[b"XADD", log.as_bytes(), b"0-*", b"r", b""]);
        head.truncate(head.len() - b"$0\r\n\r\n".len());
        Self { head, in_flight: VecDeque::new() }
    }
}

impl Codec for Resp {
    fn append(&mut self, first: u64, records: ChunksExact<'_, u8>, out: &mut Vec<u8>) {
        for (record, name) in records.zip(first..) {
            self.in_flight.push_back(name);
            out.extend_from_slice(&self.head);
            write!(out, "${}\r\n", record.len()).expect("a vector takes everything");
            out.extend_from_slice(record);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn answer(&mut self, input: &[u8]) -> anyhow::Result<Option<(usize, Answer)>> {
        let Some((bytes, reply)) = reply(input)? else { return Ok(None) };
        let first = self.in_flight.pop_front().context("an answer to nothing")?;
        let answer = match reply {
            Reply::Bulk(id) => {
                let offset = entry_number(&id).context("an id that was not asked for")?;
                Answer::Acknowledged(first, Acknowledged { offset, step: 0 })
            }
            Reply::Error(reason) => Answer::Refused(first, reason),
            other => bail!("XADD was answered with {other:?}"),
        };
        Ok(Some((bytes, answer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_known_only_when_it_is_whole() {
        let text = b"*2\r\n*2\r\n$3\r\n0-7\r\n*2\r\n$1\r\nr\r\n$4\r\na\r\nb\r\n:-5\r\nrest";
        let whole = text.len() - b"rest".len();
        for cut in 0..whole {
            assert_eq!(reply(&text[..cut]).unwrap(), None, "{cut}");
        }
        let (bytes, Reply::Array(items)) = reply(text).unwrap().unwrap() else { panic!("a list") };
        assert_eq!(bytes, whole);
        assert_eq!(stream_entry(&items[0]), Some((7, &b"a\r\nb"[..])));
        assert_eq!(items[1], Reply::Integer(-5));
    }

    #[test]
    fn nothing_and_errors_are_replies() {
        assert_eq!(reply(b"$-1\r\n").unwrap(), Some((5, Reply::Nothing)));
        assert_eq!(reply(b"-ERR no\r\n").unwrap(), Some((9, Reply::Error("ERR no".to_owned()))));
        assert!(reply(b"?\r\n").is_err());
        assert!(reply(b"$x\r\n").is_err());
    }

    #[test]
    fn answers_belong_to_commands_in_order() {
        let (mut resp, mut out) = (Resp::new("log"), Vec::new());
        resp.append(4, b"onetwo".chunks_exact(3), &mut out);
        let expected = "*5\r\n$4\r\nXADD\r\n$3\r\nlog\r\n$3\r\n0-*\r\n$1\r\nr\r\n$3\r\none\r\n";
        assert!(String::from_utf8(out).unwrap().starts_with(expected));
        let (bytes, answer) = resp.answer(b"$4\r\n0-12\r\n-ERR full\r\n").unwrap().unwrap();
        assert_eq!((bytes, answer), (10, Answer::Acknowledged(4, Acknowledged { offset: 12, step: 0 })));
        assert_eq!(resp.answer(b"-ERR full\r\n").unwrap().unwrap().1, Answer::Refused(5, "ERR full".to_owned()));
        assert!(resp.answer(b"$3\r\n0-1\r\n").is_err());
    }
}
