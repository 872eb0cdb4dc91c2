//! What is seen on the network, and the readable log of a run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::rc::Rc;

use super::branches::{Coverage, Way};
use crate::base::{Instant, LogletId, NodeId, Offset};
use crate::io::mem::Sent;
use crate::wire::{FrameHeader, HEADER_BYTES, Opcode};

/// What is known of a loglet.
struct Watched {
    members: Vec<NodeId>,
    known_tail: Offset,
    strange_votes: Vec<String>,
}

/// Sees every frame that is sent. Shared by the world, which shows it what is sent, and the run.
#[derive(Default)]
pub(super) struct Observer {
    pub(super) coverage: Coverage,
    loglets: BTreeMap<LogletId, Watched>,
    /// The identities that nodes have now, by their addresses.
    nodes: BTreeMap<IpAddr, NodeId>,
    trace: Option<String>,
}

pub(super) type SharedObserver = Rc<RefCell<Observer>>;

impl Observer {
    pub(super) fn new(trace: bool) -> Self {
        Self { trace: trace.then(String::new), ..Self::default() }
    }

    /// A loglet has come to be.
    pub(super) fn watch(&mut self, loglet: LogletId, members: Vec<NodeId>) {
        self.loglets.insert(loglet, Watched { members, known_tail: Offset::ZERO, strange_votes: Vec::new() });
    }

    /// A node has this identity from now on.
    pub(super) fn name(&mut self, address: IpAddr, id: NodeId) {
        self.nodes.insert(address, id);
    }

    /// The largest known tail told of a loglet, and votes of nodes that are no members of it.
    pub(super) fn seen(&mut self, loglet: LogletId) -> (Offset, Vec<String>) {
        let watched = self.loglets.get_mut(&loglet).expect("every loglet of the chain is watched");
        (watched.known_tail, std::mem::take(&mut watched.strange_votes))
    }

    /// Adds a line to the readable log, if one is kept.
    pub(super) fn note(&mut self, at: Instant, what: fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            let microseconds = at.as_nanos() / 1_000;
            writeln!(trace, "{:>6}.{:06} {what}", microseconds / 1_000_000, microseconds % 1_000_000)
                .expect("text takes everything");
        }
    }

    pub(super) fn take_trace(&mut self) -> Option<String> {
        self.trace.take()
    }

    pub(super) fn sent(&mut self, sent: &Sent<'_>) {
        let mut rest = sent.bytes;
        while rest.len() >= HEADER_BYTES {
            let Ok(header) = FrameHeader::decode(rest, u32::MAX) else { return };
            self.frame(sent, &header);
            rest = rest.get(HEADER_BYTES + header.body_bytes.get() as usize..).unwrap_or_default();
        }
    }

    fn frame(&mut self, sent: &Sent<'_>, header: &FrameHeader) {
        let opcode = header.opcode();
        let way = match (self.nodes.get(&sent.from), self.nodes.contains_key(&sent.to)) {
            (None, _) => Way::FromClient,
            (Some(_), false) => Way::ToClient,
            (Some(_), true) => Way::BetweenNodes,
        };
        self.coverage.frame(opcode, way);
        let loglet = header.loglet();
        if let Some(watched) = self.loglets.get_mut(&loglet) {
            watched.known_tail = watched.known_tail.max(Offset(header.known_tail.get()));
            let votes = matches!(opcode, Opcode::Stored | Opcode::Tail | Opcode::Sealed);
            if votes && let Some(from) = self.nodes.get(&sent.from).filter(|from| !watched.members.contains(from)) {
                watched.strange_votes.push(format!("{from} is no member of {loglet} and sent {opcode:?}"));
            }
        }
        if self.trace.is_some() {
            self.note(
                sent.at,
                format_args!(
                    "{} -> {}  {opcode:?} {loglet} request={} offset={} count={} known_tail={}",
                    sent.from,
                    sent.to,
                    header.request.get(),
                    header.offset.get(),
                    header.count.get(),
                    header.known_tail.get()
                ),
            );
        }
    }
}
