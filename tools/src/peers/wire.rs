//! Bytes to and from a server, and load over a protocol that is a stream of requests and answers.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::load::{Acknowledged, Connection, Lane};

/// Room for what arrives at once; it grows when one answer is larger.
const INPUT_BYTES: usize = 256 << 10;
/// Requests that are put together before some of them are sent.
const OUTPUT_BYTES: usize = 256 << 10;

/// A connection with what has arrived and what is to be sent.
pub(super) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    pub(super) output: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// Connects to a server.
    pub(super) async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: vec![0; INPUT_BYTES], begin: 0, end: 0, output: Vec::new(), sent: 0 })
    }

    /// What has arrived and was not consumed.
    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.begin..self.end]
    }

    /// Takes bytes off the input.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        assert!(self.begin <= self.end, "only what has arrived is consumed");
    }

    /// Sends and receives as much as can be had. Says whether anything has moved.
    fn poll_move(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        while self.sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output[self.sent..]) {
                Poll::Ready(bytes) => self.sent += bytes?,
                Poll::Pending => break,
            }
            moved = true;
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        self.make_room();
        let mut room = ReadBuf::new(&mut self.input[self.end..]);
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(context, &mut room) {
            result?;
            let bytes = room.filled().len();
            if bytes == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server has closed the connection"));
            }
            self.end += bytes;
            moved = true;
        }
        Ok(moved)
    }

    fn make_room(&mut self) {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.end == self.input.len() {
            self.input.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        if self.end == self.input.len() {
            self.input.resize(2 * self.end, 0);
        }
    }

    /// Waits until something has moved.
    pub(super) async fn moved(&mut self) -> anyhow::Result<()> {
        Ok(poll_fn(|context| match self.poll_move(context) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await?)
    }

    /// Waits for the next whole answer and consumes it. `parse` says how many bytes it has, and what it means.
    pub(super) async fn answer<T>(
        &mut self,
        mut parse: impl FnMut(&[u8]) -> anyhow::Result<Option<(usize, T)>>,
    ) -> anyhow::Result<T> {
        loop {
            if let Some((bytes, answer)) = parse(self.input())? {
                self.consume(bytes);
                return Ok(answer);
            }
            self.moved().await?;
        }
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The request that begins with this sequence is acknowledged.
    Acknowledged(u64, Acknowledged),
    /// It is refused.
    Refused(u64, String),
    /// It is not about a request; bytes to send in return.
    Other(&'static [u8]),
}

/// The requests and answers of one connection.
pub(super) trait Codec {
    /// Puts a request to append these records into `out`. `first` is its name in the answer.
    fn append(&mut self, first: u64, records: std::slice::ChunksExact<'_, u8>, out: &mut Vec<u8>);

    /// The answer at the start of `input` and its bytes, if it is whole.
    fn answer(&mut self, input: &[u8]) -> anyhow::Result<Option<(usize, Answer)>>;

    /// What to send when nothing has come or gone for some time, and after how long.
    fn keep_alive(&self) -> Option<(Duration, &'static [u8])> {
        None
    }
}

/// A connection with a protocol, ready for load.
pub(super) struct Pipe<C> {
    pub(super) wire: Wire,
    pub(super) codec: C,
}

impl<C: Codec> Connection for Pipe<C> {
    async fn run(mut self, lane: Rc<Lane>) -> anyhow::Result<()> {
        let mut alarm = if lane.is_open() { Some(Alarm::new()?) } else { None };
        let mut records = Vec::new();
        loop {
            while self.wire.output.len() < OUTPUT_BYTES
                && let Some(request) = lane.take(&mut records)
            {
                let records = records.chunks_exact(lane.record_bytes());
                self.codec.append(request.first, records, &mut self.wire.output);
            }
            if lane.is_over() {
                return Ok(());
            }
            if let Some(alarm) = &mut alarm {
                alarm.set(lane.next_due())?;
            }
            let keep_alive = self.codec.keep_alive();
            let moved = poll_fn(|context| {
                let rang = alarm.as_mut().map_or(Ok(false), |alarm| alarm.poll(context));
                match rang.and_then(|rang| Ok(self.wire.poll_move(context)? || rang)) {
                    Ok(false) => Poll::Pending,
                    Ok(true) => Poll::Ready(Ok(())),
                    Err(error) => Poll::Ready(Err(error)),
                }
            });
            match keep_alive {
                None => moved.await?,
                Some((after, bytes)) => match timeout(after, moved).await {
                    Ok(moved) => moved?,
                    Err(_) => self.wire.output.extend_from_slice(bytes),
                },
            }
            while let Some((bytes, answer)) = self.codec.answer(self.wire.input())? {
                if bytes == 0 {
                    bail!("an answer without bytes");
                }
                self.wire.consume(bytes);
                match answer {
                    Answer::Acknowledged(first, place) => lane.acknowledge(first, place)?,
                    Answer::Refused(first, reason) => lane.refuse(first, reason)?,
                    Answer::Other(reply) => self.wire.output.extend_from_slice(reply),
                }
            }
        }
    }
}
