//! A sequencer with scripted LogServers and one client.

use std::time::Duration;

use super::Sequencer;
use crate::base::checksum::crc32c;
use crate::base::{Incarnation, Instant, Limits, LogletId, NodeId, Offset};
use crate::proto::PeerId;
use crate::wire::{self, Batch, BatchBuilder, LogletConfig, Member, Message};

pub(crate) const LOGLET: LogletId = LogletId { log: 1, version: 2, nonce: 3 };
pub(super) const CLIENT: PeerId = PeerId(7);
pub(super) const CHECKSUM: u32 = 0xABCD;

pub(crate) fn config(servers: usize) -> LogletConfig {
    let address = "127.0.0.1:4100".parse().unwrap();
    LogletConfig {
        id: LOGLET,
        sequencer: wire::Sequencer { node: NodeId(100), incarnation: Incarnation(9), address },
        log_servers: (0..servers).map(|n| Member { node: NodeId(n as u128), address }).collect(),
    }
}

/// What a scripted LogServer sees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Sent {
    Create,
    Store { first: Offset, count: u32, known: Offset },
    NoOps { first: Offset, count: u32 },
    KnownTail(Offset),
    Seal,
}

pub(super) struct Rig {
    pub(super) core: Sequencer,
    pub(super) now: Instant,
}

pub(super) fn appended(request: u64, first: u64, count: u32, known: u64) -> Message<'static> {
    Message::Appended {
        request,
        loglet: LOGLET,
        first: Offset(first),
        count,
        known_tail: Offset(known),
        residence: None,
    }
}

pub(super) fn filled(request: u64, placed: u64, known: u64) -> Message<'static> {
    Message::Filled { request, loglet: LOGLET, placed, known_tail: Offset(known) }
}

fn empty_records(count: u32) -> Vec<u8> {
    let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
    (0..count).for_each(|_| builder.push(b""));
    builder.write_to(&mut bytes);
    bytes
}

impl Rig {
    /// All servers connected, greeted and silent.
    pub(super) fn new(servers: usize) -> Self {
        let now = Instant::from_nanos(1_000_000);
        let limits = Limits {
            sequencer_window_bytes: 64 << 10,
            store_window_bytes: 16 << 10,
            // Only the test that is about it waits for it.
            known_tail_delay: Duration::ZERO,
            ..Limits::default()
        };
        let mut rig = Self { core: Sequencer::new(config(servers), &limits, now), now };
        for server in 0..servers {
            rig.core.handle_connected(server, now);
            assert_eq!(rig.drain_raw(server), [Sent::Create, Sent::KnownTail(Offset::ZERO)]);
        }
        rig
    }

    /// Appends `count` empty records.
    pub(super) fn append(&mut self, request: u64, count: u32) {
        let bytes = empty_records(count);
        self.core.handle_append(CLIENT, request, Batch::new(count, &bytes).unwrap(), CHECKSUM, self.now);
    }

    /// Appends `count` empty records at offsets that the host has chosen.
    pub(super) fn granted(&mut self, request: u64, first: u64, count: u32) {
        let bytes = empty_records(count);
        let batch = Batch::new(count, &bytes).unwrap();
        self.core.handle_granted_append(CLIENT, request, Offset(first), batch, CHECKSUM, self.now);
    }

    /// Asks for no-ops up to an offset.
    pub(super) fn fill(&mut self, request: u64, to: u64) {
        self.core.handle_fill(CLIENT, request, Offset(to), self.now);
    }

    pub(super) fn append_bytes(&mut self, request: u64, payload: &[u8]) {
        let (mut builder, mut bytes) = (BatchBuilder::default(), Vec::new());
        builder.push(payload);
        builder.write_to(&mut bytes);
        self.core.handle_append(CLIENT, request, Batch::new(1, &bytes).unwrap(), CHECKSUM, self.now);
    }

    pub(super) fn handle(&mut self, server: usize, message: Message<'_>) {
        self.core.handle(server, message, self.now);
    }

    pub(super) fn stored(&mut self, server: usize, tail: u64) {
        self.handle(server, Message::Stored { loglet: LOGLET, tail: Offset(tail), followed: false });
    }

    pub(super) fn drain_raw(&mut self, server: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some((message, checksum)) = self.core.poll_send(server) {
            sent.push(match message {
                Message::Create { .. } => Sent::Create,
                Message::Store { first, batch, .. } if batch.no_ops() > 0 => {
                    let count = batch.count();
                    assert_eq!(batch.no_ops(), count, "no-ops have a batch of their own");
                    assert_eq!(checksum, Some(crc32c(&batch.parts().concat())), "of the body");
                    Sent::NoOps { first, count }
                }
                Message::Store { first, known_tail: known, batch, .. } => {
                    assert_eq!(checksum, Some(CHECKSUM));
                    Sent::Store { first, count: batch.count(), known }
                }
                Message::KnownTail { known_tail, .. } => Sent::KnownTail(known_tail),
                Message::Seal { .. } => Sent::Seal,
                other => panic!("a sequencer does not send {other:?}"),
            });
        }
        sent
    }

    /// What is sent, without `Create`.
    pub(super) fn drain(&mut self, server: usize) -> Vec<Sent> {
        let mut sent = self.drain_raw(server);
        sent.retain(|sent| *sent != Sent::Create);
        sent
    }

    pub(super) fn replies(&mut self) -> Vec<Message<'static>> {
        std::iter::from_fn(|| self.core.poll_reply())
            .map(|(to, message)| {
                assert_eq!(to, CLIENT);
                message
            })
            .collect()
    }

    pub(super) fn pass_time(&mut self, duration: Duration) {
        self.now = self.now + duration;
        while let Some((at, _)) = self.core.poll_timeout().filter(|(at, _)| *at <= self.now) {
            let _ = at;
            self.core.handle_timeout(self.now);
        }
    }
}
