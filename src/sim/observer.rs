//! What is seen on the network, and the readable log of a run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::rc::Rc;

use super::branches::{Coverage, Way};
use crate::base::{Instant, LogletId, NodeId, Offset, Version};
use crate::client::Chain;
use crate::history::{Segment, Value};
use crate::io::mem::{DiskSeen, DiskStep, Seen, Sent};
use crate::io::op::{Op, Outcome};
use crate::proto::striped::Layout;
use crate::wire::{FrameHeader, HEADER_BYTES, Message, Opcode, RegisterMessage};

/// What is known of a loglet.
struct Watched {
    members: Vec<NodeId>,
    known_tail: Offset,
    strange_votes: Vec<String>,
    strange_gaps: Vec<String>,
    given: BTreeMap<Offset, Value>,
    given_twice: Vec<String>,
}

/// Sees every frame that is sent. Shared by the world, which shows it what is sent, and the run.
#[derive(Default)]
pub(super) struct Observer {
    pub(super) coverage: Coverage,
    loglets: BTreeMap<LogletId, Watched>,
    /// The identities that nodes have now, by their addresses.
    nodes: BTreeMap<IpAddr, NodeId>,
    /// A LogServer has said that it has no space.
    wants_space: bool,
    /// The chains that were told, if what is in the frames is looked at.
    chains: Option<BTreeMap<Vec<u8>, Chain>>,
    trace: Option<String>,
}

pub(super) type SharedObserver = Rc<RefCell<Observer>>;

impl Observer {
    pub(super) fn new(trace: bool) -> Self {
        Self { trace: trace.then(String::new), ..Self::default() }
    }

    /// A loglet has come to be.
    pub(super) fn watch(&mut self, loglet: LogletId, members: Vec<NodeId>) {
        let watched = Watched {
            members,
            known_tail: Offset::ZERO,
            strange_votes: Vec::new(),
            strange_gaps: Vec::new(),
            given: BTreeMap::new(),
            given_twice: Vec::new(),
        };
        self.loglets.insert(loglet, watched);
    }

    /// Looks at what is in the frames from now on: loglets come to be, records are given to them, and chains are told.
    pub(super) fn watch_all(&mut self) {
        self.chains = Some(BTreeMap::new());
    }

    /// All chains that were told.
    pub(super) fn take_chains(&mut self) -> impl Iterator<Item = Chain> + use<> {
        self.chains.take().into_iter().flat_map(BTreeMap::into_values)
    }

    /// A node has this identity from now on.
    pub(super) fn name(&mut self, address: IpAddr, id: NodeId) {
        self.nodes.insert(address, id);
    }

    /// What a segment's loglet, or its stripes, have shown: the largest known tail told, votes of nodes that are no members of it, and gaps
    /// in what is not committed.
    pub(super) fn conclude(&mut self, loglet: LogletId, stripes: usize, start: u64, segment: &mut Segment) {
        let layout = Layout::new(stripes);
        let name = |stripe| if stripes == 1 { loglet } else { loglet.stripe(stripe) };
        let known = (0..stripes).map(|stripe| self.loglets.get(&name(stripe)).map_or(Offset::ZERO, |it| it.known_tail));
        segment.known_tail = start.saturating_add(layout.tail(known).0);
        for stripe in 0..stripes {
            let watched = self.loglets.get_mut(&name(stripe)).expect("every loglet of the chain is watched");
            let given = std::mem::take(&mut watched.given).into_iter();
            segment.given.extend(given.map(|(offset, value)| (start + layout.logical(stripe, offset).0, value)));
            segment.given_twice.append(&mut watched.given_twice);
            segment.strange_votes.append(&mut watched.strange_votes);
            segment.strange_gaps.append(&mut watched.strange_gaps);
        }
    }

    /// Whether a LogServer has said that it has no space, since the last question.
    pub(super) fn take_want_of_space(&mut self) -> bool {
        std::mem::take(&mut self.wants_space)
    }

    /// A node says what it knows of a loglet.
    pub(super) fn reported(&mut self, loglet: LogletId, known_tail: Offset) {
        if let Some(watched) = self.loglets.get_mut(&loglet) {
            watched.known_tail = watched.known_tail.max(known_tail);
        }
    }

    /// A node that has just recovered lacks records below `missing_below` and has some behind them.
    pub(super) fn recovered(&mut self, node: usize, loglet: LogletId, missing_below: Offset) {
        if let Some(watched) = self.loglets.get_mut(&loglet).filter(|watched| watched.known_tail < missing_below) {
            watched.strange_gaps.push(format!(
                "node {node} lacks records of {loglet} below {missing_below}, where it has others, and known to be committed are \
                 {} only",
                watched.known_tail
            ));
        }
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

    pub(super) fn saw(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Sent(sent) => self.sent(sent),
            Seen::Disk(seen) if self.trace.is_some() => self.disk(seen),
            Seen::Disk(_) => {}
        }
    }

    fn disk(&mut self, seen: &DiskSeen<'_>) {
        let DiskSeen { at, node, token, step } = seen;
        // Which operations belong together; the owner is in the upper byte.
        let number = token.value();
        let what = match step {
            DiskStep::Asked(Op::List { directory }) => format!("list {}", directory.display()),
            DiskStep::Asked(Op::Open { path }) => format!("open {}", path.display()),
            DiskStep::Asked(Op::Prepare { path, bytes }) => format!("prepare {}, {bytes} bytes", path.display()),
            DiskStep::Asked(Op::Remove { path }) => format!("remove {}", path.display()),
            DiskStep::Asked(Op::Read { file, offset, buf }) => {
                format!("read file {} at {offset}, {} bytes", file.0, buf.len())
            }
            DiskStep::Asked(Op::Write { file, offset, buf }) => {
                format!("write file {} at {offset}, {} bytes", file.0, buf.len())
            }
            DiskStep::Ended(Outcome::Read { result, .. }) => format!("read: {result:?}"),
            DiskStep::Ended(Outcome::Written { result, .. }) => format!("durable: {result:?}"),
            DiskStep::Ended(Outcome::Opened { file, bytes }) => format!("opened as file {}, {bytes} bytes", file.0),
            DiskStep::Ended(Outcome::Listed(files)) => format!("listed {} files", files.len()),
            DiskStep::Asked(_) | DiskStep::Ended(_) => return,
        };
        self.note(*at, format_args!("{node} disk  #{number} {what}"));
    }

    fn sent(&mut self, sent: &Sent<'_>) {
        let mut rest = sent.bytes;
        while rest.len() >= HEADER_BYTES {
            let Ok(header) = FrameHeader::decode(rest, u32::MAX) else { return };
            self.frame(sent, &header);
            let end = HEADER_BYTES + header.body_bytes.get() as usize;
            if let Some(body) = rest.get(HEADER_BYTES..end).filter(|_| self.chains.is_some()) {
                self.contents(&header, body);
            }
            rest = rest.get(end..).unwrap_or_default();
        }
    }

    /// What is in a frame.
    fn contents(&mut self, header: &FrameHeader, body: &[u8]) {
        let is_register = matches!(header.opcode(), Opcode::RegisterDecided | Opcode::RegisterLearn);
        let has_records = matches!(header.opcode(), Opcode::Store | Opcode::Repair);
        if !is_register && !has_records && header.opcode() != Opcode::Create {
            return;
        }
        match Message::decode(header, body).expect("what is sent can be read") {
            Message::Create { config, .. } if !self.loglets.contains_key(&config.id) => {
                self.watch(config.id, config.log_servers.iter().map(|member| member.node).collect());
            }
            Message::Store { loglet, first, batch, .. } | Message::Repair { loglet, first, batch, .. } => {
                let Some(watched) = self.loglets.get_mut(&loglet) else { return };
                for (offset, value) in (first.0..).map(Offset).zip(batch.values().map(Value::at)) {
                    if *watched.given.entry(offset).or_insert(value) != value {
                        watched.given_twice.push(format!("{loglet} has given its offset {offset} to two records"));
                    }
                }
            }
            Message::Register { message, .. } => {
                let (RegisterMessage::Decided { decision } | RegisterMessage::Learn { decision }) = *message else {
                    return;
                };
                let chains = self.chains.as_mut().expect("looked at above");
                if decision.version > Version::BIRTH && !chains.contains_key(&decision.value) {
                    let chain = Chain::from_json(&decision.value).expect("the register holds chains");
                    chains.insert(decision.value, chain);
                }
            }
            _ => {}
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
        self.wants_space |= opcode == Opcode::NoSpace;
        let loglet = header.loglet();
        if let Some(watched) = self.loglets.get_mut(&loglet) {
            watched.known_tail = watched.known_tail.max(Offset(header.known_tail.get()));
            // Where segments get other LogServers, those answer before the chain names them (P7); and no disk is replaced there.
            let votes = self.chains.is_none() && matches!(opcode, Opcode::Stored | Opcode::Tail | Opcode::Sealed);
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
