//! Random inputs, crashes and refusals: no invariant breaks, and what was said stays true.

use super::*;
use crate::base::Rng;
use crate::proto::log_server::Refused;

/// What peers were told, which no crash may take back.
#[derive(Default)]
struct Told {
    stored: u64,
    sealed: Option<u64>,
    trimmed: u64,
    gone: bool,
}

impl Told {
    fn note(&mut self, answers: &[(PeerId, Message<'static>)], known: u64) {
        for (_, answer) in answers {
            match answer {
                Message::Stored { tail, .. } | Message::Tail { tail, .. } => {
                    assert!(self.sealed.is_none() && !self.gone, "open after sealed: {answer:?}");
                    self.stored = self.stored.max(if tail.0 > known { tail.0 } else { 0 });
                }
                Message::Sealed { tail, .. } => {
                    assert!(!self.gone, "sealed after gone");
                    let durable = if tail.0 > known { tail.0 } else { 0 };
                    self.sealed = Some(self.sealed.unwrap_or(0).max(durable));
                }
                Message::Trimmed { trim_point, .. } => self.trimmed = self.trimmed.max(trim_point.0),
                Message::Gone { .. } => self.gone = true,
                Message::Conflict { .. } => panic!("all records are named by their offsets: {answer:?}"),
                _ => {}
            }
        }
    }
}

fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut server = open();
    let (mut told, mut known) = (Told::default(), 0);
    for request in 0..300 {
        match rng.u8(0..24) {
            0..=7 => {
                let from = rng.u64(0..server.core.loglets().next().map_or(1, |status| status.local_tail.0 + 4));
                known = known.max(if rng.u8(0..10) == 0 { told.stored + rng.u64(0..3) } else { 0 });
                store(&mut server, from, from + rng.u64(1..4), known);
            }
            8 => check_tail(&mut server, request, known),
            9 => {
                let at_least = Offset(rng.u64(0..40));
                server.send(OTHER_CLIENT, Message::AwaitTail { request, loglet: ID, at_least });
            }
            10 => {
                let (min, limit) = (Offset(rng.u64(0..30)), Offset(told.stored));
                let read = Message::Read { request, loglet: ID, min, max: Offset::MAX, limit, bytes_max: 60 };
                server.send(CLIENT, read);
            }
            11 => {
                let (from, limit) = (Offset(rng.u64(0..30)), Offset(told.stored));
                server.send(CLIENT, Message::Subscribe { request, loglet: ID, from, limit, credit: 100 });
            }
            12 => {
                let (point, committed) = (Offset(rng.u64(0..30)), Offset(told.stored));
                server.send(CLIENT, Message::Trim { request, loglet: ID, point, committed });
            }
            13 if rng.u8(0..8) == 0 => seal(&mut server, request),
            14 => {
                let first = rng.u64(0..30);
                let records = Owned::of(&[name(first), name(first + 1)]);
                let first = Offset(first);
                server.send(CLIENT, Message::Repair { request, loglet: ID, first, batch: records.batch() });
            }
            15 if rng.u8(0..20) == 0 => {
                server.send(CLIENT, Message::Delete { request, loglet: ID, chain_version: 7, live: Vec::new() });
            }
            16 => server.disk.refuse = *rng.choice(&[None, None, Some(Refused::Busy), Some(Refused::Space)]).unwrap(),
            17 if rng.u8(0..4) == 0 => {
                server.restart();
                known = 0;
            }
            18 => server.advance(server.limits.reconnect_delay),
            19..=20 => {
                let write = server.disk.last().0;
                server.durable(crate::base::Write(rng.u64(server.disk.durable().0..=write)));
            }
            21 => {
                for delivery in server.serve_reads() {
                    for (index, payload) in delivery.payloads.iter().enumerate() {
                        assert_eq!(*payload, name(delivery.first.0 + index as u64));
                    }
                }
            }
            22 => {
                while let Some((member, message)) = server.asked.pop_front() {
                    let Message::Read { request, min, max, .. } = message else { continue };
                    let records = Owned::of(&(min.0..max.0.min(min.0 + 3)).map(name).collect::<Vec<_>>());
                    let known_tail = Offset(0);
                    let batch = records.batch();
                    let message = Message::Records { request, loglet: ID, first: min, known_tail, batch };
                    server.core.handle_member(member.node, message, server.now, &mut server.disk);
                }
            }
            _ => server.flush(),
        }
        let answers = server.answers();
        let answered_known = server.core.loglets().next().map_or(known, |status| status.known_tail.0.max(known));
        told.note(&answers, answered_known);
    }
    server.disk.refuse = None;
    server.restart();
    server.answers();
    check_tail(&mut server, 1000, 0);
    match server.answers().as_slice() {
        [(_, Message::Tail { tail, .. })] if told.sealed.is_none() && !told.gone => {
            assert!(tail.0 >= told.stored.max(told.trimmed), "{tail:?}, {}", told.stored);
        }
        [(_, Message::Sealed { tail, .. })] if !told.gone => {
            assert!(tail.0 >= told.stored.max(told.trimmed).max(told.sealed.unwrap_or(0)));
        }
        [(_, Message::Gone { .. })] => {}
        other => panic!("{other:?} after gone: {}, sealed: {:?}", told.gone, told.sealed),
    }
}

#[test]
fn what_was_said_stays_true_under_random_inputs_and_crashes() {
    for seed in 0..400 {
        run(seed);
    }
}
