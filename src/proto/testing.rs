//! What tests of the cores share: a disk in memory whose writes become durable when the test says so, and a LogServer on it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::base::{CellKey, ClusterId, Incarnation, Instant, Limits, LogletId, NodeId, Offset, Write};
use crate::proto::log_server::{Disk, LogServer, Output, ReadId, ReadOutcome, RecoveredLoglet, Refused};
use crate::proto::peer::PeerId;
use crate::wire::{Batch, BatchBuilder, Hello, LogletConfig, Member, Message, Role, Sequencer};

/// The payload that stands for a no-op: a value of its own, which nobody appends.
pub const NO_OP: &[u8] = b"\0no-op";

/// Records with the memory they are in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owned {
    /// How many.
    pub count: u32,
    /// Table and payloads.
    pub bytes: Vec<u8>,
}

impl Owned {
    /// A batch of these payloads, and of no-ops where these stand.
    pub fn of<P: AsRef<[u8]>>(payloads: &[P]) -> Self {
        let mut builder = BatchBuilder::default();
        for payload in payloads {
            match payload.as_ref() {
                NO_OP => builder.push_no_op(),
                payload => builder.push(payload),
            }
        }
        let mut bytes = Vec::new();
        builder.write_to(&mut bytes);
        Self { count: builder.count(), bytes }
    }

    /// The batch.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self.count, &self.bytes).unwrap()
    }

    /// Its payloads.
    pub fn payloads(&self) -> Vec<Vec<u8>> {
        self.batch().values().map(|payload| payload.unwrap_or(NO_OP).to_vec()).collect()
    }
}

impl From<Batch<'_>> for Owned {
    fn from(batch: Batch<'_>) -> Self {
        Self { count: batch.count(), bytes: batch.parts().concat() }
    }
}

#[derive(Clone, Hash, Debug)]
enum Entry {
    Records { loglet: LogletId, first: Offset, records: Owned },
    Cell { key: CellKey, value: Vec<u8> },
    Removal { key: CellKey },
}

/// A read that waits to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskedRead {
    /// The read.
    pub id: ReadId,
    /// Of which loglet.
    pub loglet: LogletId,
    /// From here.
    pub from: Offset,
    /// Up to here.
    pub to: Offset,
    /// About so many bytes.
    pub bytes_max: u32,
}

/// What a served read found, with its memory.
#[derive(Clone, Debug)]
pub enum FoundRead {
    /// Records.
    Records(Offset, Owned),
    /// Nothing there.
    Missing(Offset, Offset),
    /// Something damaged there.
    Damaged(Offset, Offset),
}

impl FoundRead {
    /// As the core takes it.
    pub fn outcome(&self) -> ReadOutcome<'_> {
        match self {
            Self::Records(first, records) => ReadOutcome::Records { first: *first, batch: records.batch() },
            Self::Missing(from, to) => ReadOutcome::Missing { from: *from, to: *to },
            Self::Damaged(from, to) => ReadOutcome::Damaged { from: *from, to: *to },
        }
    }
}

/// A journal in memory. Nothing is durable before [`FakeDisk::durable_through`] is raised, and a crash forgets the rest.
#[derive(Clone, Debug, Default)]
pub struct FakeDisk {
    entries: Vec<(Write, Entry)>,
    taken: u64,
    durable: Write,
    /// Every write is refused with this.
    pub refuse: Option<Refused>,
    /// Records are refused for want of space; cells are not.
    pub refuse_records: bool,
    /// After so many further writes, the others are refused as `Busy`.
    pub room: Option<u32>,
    /// Offsets whose reads find damage.
    pub damaged: Vec<(LogletId, Offset, Offset)>,
    reads: VecDeque<AskedRead>,
    trims: BTreeMap<LogletId, Offset>,
    /// Loglets that were removed.
    pub removed: Vec<LogletId>,
}

/// What a restart would find, what is on its way in its order, and what waits. In which order the durable part was written shows
/// nowhere: the last value of each cell and of each offset counts.
impl Hash for FakeDisk {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { entries, taken, durable, refuse, room, damaged, reads, trims, removed, refuse_records } = self;
        let on_its_way = entries.partition_point(|(write, _)| write <= durable);
        (self.cells_of(&entries[..on_its_way]), self.durable_records(), &entries[on_its_way..]).hash(state);
        (taken, durable, refuse, room, damaged, reads, trims, removed, refuse_records).hash(state);
    }
}

impl FakeDisk {
    fn take(&mut self, entry: Entry) -> Result<Write, Refused> {
        if let Some(refused) = self.refuse {
            return Err(refused);
        }
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(1).ok_or(Refused::Busy)?;
        }
        self.taken += 1;
        self.entries.push((Write(self.taken), entry));
        Ok(Write(self.taken))
    }

    /// The last write taken.
    pub fn last(&self) -> Write {
        Write(self.taken)
    }

    /// How many writes have been taken.
    pub fn writes(&self) -> u64 {
        self.taken
    }

    /// Up to where everything is durable.
    pub fn durable(&self) -> Write {
        self.durable
    }

    /// Makes everything up to `write` durable.
    pub fn set_durable(&mut self, write: Write) {
        assert!(write >= self.durable && write <= self.last());
        self.durable = write;
    }

    /// Forgets what is not durable, and every read.
    pub fn crash(&mut self) {
        let durable = self.durable;
        self.entries.retain(|(write, _)| *write <= durable);
        self.taken = durable.0;
        self.reads.clear();
        self.refuse = None;
    }

    /// Every record that is durable and not trimmed, the last one written at each offset.
    pub fn durable_records(&self) -> BTreeMap<(LogletId, Offset), Vec<u8>> {
        let mut found = BTreeMap::new();
        for (write, entry) in &self.entries {
            if let Entry::Records { loglet, first, records } = entry
                && *write <= self.durable
            {
                let trim = self.trims.get(loglet).copied().unwrap_or_default();
                let offsets = (first.0..).map(Offset).zip(records.payloads());
                found.extend(offsets.filter(|(at, _)| *at >= trim).map(|(at, payload)| ((*loglet, at), payload)));
            }
        }
        found
    }

    /// Whether the record at an offset is durable here, or needed no more.
    pub fn is_safe(&self, of: LogletId, offset: Offset) -> bool {
        self.trims.get(&of).is_some_and(|trim| offset < *trim) || self.durable_records().contains_key(&(of, offset))
    }

    /// Every record of a loglet that is here, durable or on its way, also one that another one has overwritten.
    pub fn records_of(&self, of: LogletId) -> Vec<(Offset, Vec<u8>)> {
        let mut found = Vec::new();
        for (_, entry) in &self.entries {
            if let Entry::Records { loglet, first, records } = entry
                && *loglet == of
            {
                found.extend((first.0..).map(Offset).zip(records.payloads()));
            }
        }
        found
    }

    /// The live cells.
    pub fn cells(&self) -> Vec<(CellKey, Vec<u8>)> {
        self.cells_of(&self.entries)
    }

    fn cells_of(&self, entries: &[(Write, Entry)]) -> Vec<(CellKey, Vec<u8>)> {
        let mut cells = BTreeMap::new();
        for (_, entry) in entries {
            match entry {
                Entry::Cell { key, value } => {
                    cells.insert(*key, value.clone());
                }
                Entry::Removal { key } => {
                    cells.remove(key);
                }
                Entry::Records { .. } => {}
            }
        }
        cells.into_iter().collect()
    }

    /// Loses a cell, as a damaged unit would.
    pub fn lose_cell(&mut self, lost: CellKey) {
        self.entries.retain(|(_, entry)| !matches!(entry, Entry::Cell { key, .. } if *key == lost));
    }

    /// Loses records, as a unit with a damaged table would.
    pub fn lose_records(&mut self, lost: LogletId, from: Offset) {
        self.entries.retain(
            |(_, entry)| !matches!(entry, Entry::Records { loglet, first, .. } if *loglet == lost && *first >= from),
        );
    }

    /// What recovery finds of each loglet.
    pub fn loglets(&self) -> Vec<RecoveredLoglet> {
        let mut offsets: BTreeMap<LogletId, Vec<(Offset, Offset)>> = BTreeMap::new();
        for (_, entry) in &self.entries {
            if let Entry::Records { loglet, first, records } = entry {
                let trim = self.trims.get(loglet).copied().unwrap_or_default();
                let range = ((*first).max(trim), *first + u64::from(records.count));
                if range.0 < range.1 {
                    offsets.entry(*loglet).or_default().push(range);
                }
            }
        }
        let merge = |mut ranges: Vec<(Offset, Offset)>| {
            ranges.sort_unstable();
            let mut merged: Vec<(Offset, Offset)> = Vec::new();
            for range in ranges {
                match merged.last_mut() {
                    Some(last) if last.1 >= range.0 => last.1 = last.1.max(range.1),
                    _ => merged.push(range),
                }
            }
            merged
        };
        offsets.into_iter().map(|(id, ranges)| RecoveredLoglet { id, stored: merge(ranges) }).collect()
    }

    /// The record at an offset, durable or on its way.
    pub fn record(&self, of: LogletId, offset: Offset) -> Option<Vec<u8>> {
        if self.trims.get(&of).is_some_and(|trim| offset < *trim) {
            return None;
        }
        self.entries.iter().rev().find_map(|(_, entry)| match entry {
            Entry::Records { loglet, first, records }
                if *loglet == of && *first <= offset && offset < *first + u64::from(records.count) =>
            {
                records.payloads().into_iter().nth(offset.since(*first) as usize)
            }
            _ => None,
        })
    }

    /// Takes the oldest read.
    pub fn next_read(&mut self) -> Option<AskedRead> {
        self.reads.pop_front()
    }

    /// How many reads wait.
    pub fn reads_waiting(&self) -> usize {
        self.reads.len()
    }

    /// What a read finds.
    pub fn serve(&self, read: AskedRead) -> FoundRead {
        let damaged =
            self.damaged.iter().find(|damage| damage.0 == read.loglet && damage.1 <= read.from && read.from < damage.2);
        if let Some(damage) = damaged {
            return FoundRead::Damaged(damage.1, damage.2);
        }
        let mut payloads: Vec<Vec<u8>> = Vec::new();
        let (mut at, mut bytes) = (read.from, 0);
        while at < read.to {
            let Some(record) = self.record(read.loglet, at) else { break };
            bytes += record.len() + 8;
            if !payloads.is_empty() && bytes > read.bytes_max as usize {
                break;
            }
            payloads.push(record);
            at = at + 1;
        }
        match payloads.is_empty() {
            true => FoundRead::Missing(read.from, read.to),
            false => FoundRead::Records(read.from, Owned::of(&payloads)),
        }
    }
}

impl Disk for FakeDisk {
    fn write_records(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused> {
        if self.refuse_records {
            return Err(Refused::Space);
        }
        self.take(Entry::Records { loglet, first, records: batch.into() })
    }

    fn write_repair(&mut self, loglet: LogletId, first: Offset, batch: Batch<'_>) -> Result<Write, Refused> {
        self.write_records(loglet, first, batch)
    }

    fn has_space(&mut self) -> bool {
        !self.refuse_records
    }

    fn write_cell(&mut self, key: CellKey, value: &[u8]) -> Result<Write, Refused> {
        self.take(Entry::Cell { key, value: value.to_vec() })
    }

    fn remove_cell(&mut self, key: CellKey) -> Result<Write, Refused> {
        self.take(Entry::Removal { key })
    }

    fn trim(&mut self, loglet: LogletId, point: Offset) {
        self.trims.insert(loglet, point);
    }

    fn remove(&mut self, loglet: LogletId) {
        self.entries.retain(|(_, entry)| !matches!(entry, Entry::Records { loglet: of, .. } if *of == loglet));
        self.removed.push(loglet);
    }

    fn read(&mut self, id: ReadId, loglet: LogletId, from: Offset, to: Offset, bytes_max: u32) {
        self.reads.push_back(AskedRead { id, loglet, from, to, bytes_max });
    }
}

/// An answer made of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub peer: PeerId,
    /// In answer to which request.
    pub request: u64,
    /// From here.
    pub first: Offset,
    /// The payloads.
    pub payloads: Vec<Vec<u8>>,
}

/// A LogServer on a [`FakeDisk`].
#[derive(Debug)]
pub struct TestServer {
    /// The core.
    pub core: LogServer,
    /// Its disk.
    pub disk: FakeDisk,
    /// The time, which only tests move.
    pub now: Instant,
    /// Its limits.
    pub limits: Limits,
    /// Requests to other LogServers that were given out.
    pub asked: VecDeque<(Member, Message<'static>)>,
    node: NodeId,
    peers: Vec<(PeerId, Hello)>,
}

/// A hello of this role.
pub fn hello(role: Role, node: NodeId, incarnation: Incarnation) -> Hello {
    Hello { cluster: ClusterId(1), node, incarnation, to: NodeId(0), role, route: LogletId::default() }
}

impl TestServer {
    /// A fresh one.
    pub fn new(node: NodeId, limits: Limits) -> Self {
        let mut server = Self {
            core: LogServer::new(node, Incarnation(node.0), &limits),
            disk: FakeDisk::default(),
            now: Instant::from_nanos(1),
            limits,
            asked: VecDeque::new(),
            node,
            peers: Vec::new(),
        };
        server.core.recover(Vec::new(), Vec::new(), false, &mut server.disk);
        server
    }

    /// An inbound connection.
    pub fn connect(&mut self, peer: PeerId, hello: Hello) {
        self.core.handle_connected(peer, &hello);
        self.peers.push((peer, hello));
    }

    /// A request.
    pub fn send(&mut self, from: PeerId, message: Message<'_>) {
        self.core.handle(from, message, self.now, &mut self.disk);
    }

    /// Everything to be sent to peers; what is for other LogServers goes to [`TestServer::asked`].
    pub fn answers(&mut self) -> Vec<(PeerId, Message<'static>)> {
        let mut answers = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, message } => answers.push((to, message)),
                Output::ToMember { to, message } => self.asked.push_back((to, message)),
            }
        }
        answers
    }

    /// Makes everything up to `write` durable.
    pub fn durable(&mut self, write: Write) {
        self.disk.set_durable(write);
        self.core.handle_durable(write, self.now, &mut self.disk);
    }

    /// Makes everything durable, and what follows from that.
    pub fn flush(&mut self) {
        while self.disk.durable() < self.disk.last() {
            self.durable(self.disk.last());
        }
    }

    /// Serves every read that waits, and those that follow.
    pub fn serve_reads(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while let Some(read) = self.disk.next_read() {
            let found = self.disk.serve(read);
            let answer = self.core.handle_read(read.id, found.outcome(), self.now, &mut self.disk);
            if let Some((peer, Message::Records { request, first, batch, .. })) = answer {
                deliveries.push(Delivery { peer, request, first, payloads: Owned::from(batch).payloads() });
            }
        }
        deliveries
    }

    /// Lets everything happen that is due by then.
    pub fn advance(&mut self, by: std::time::Duration) {
        self.now = self.now + by;
        self.core.handle_timeout(self.now, &mut self.disk);
    }

    /// Loses power and starts again; connections come back under their old numbers.
    pub fn restart(&mut self) {
        self.restart_with(false);
    }

    /// As [`TestServer::restart`], perhaps with a damaged entry table.
    pub fn restart_with(&mut self, table_lost: bool) {
        self.disk.crash();
        self.asked.clear();
        self.core = LogServer::new(self.node, Incarnation(self.now.as_nanos().into()), &self.limits);
        let (cells, loglets) = (self.disk.cells(), self.disk.loglets());
        self.core.recover(cells, loglets, table_lost, &mut self.disk);
        for (peer, hello) in &self.peers {
            self.core.handle_connected(*peer, hello);
        }
    }
}

/// A configuration of these LogServers, with node 100 in incarnation 7 as the sequencer.
pub fn config(id: LogletId, nodes: &[u128]) -> LogletConfig {
    let address = "127.0.0.1:4100".parse().unwrap();
    LogletConfig {
        id,
        sequencer: Sequencer { node: NodeId(100), incarnation: Incarnation(7), address },
        log_servers: nodes.iter().map(|node| Member { node: NodeId(*node), address }).collect(),
    }
}
