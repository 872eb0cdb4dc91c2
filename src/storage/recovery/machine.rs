//! The order of a recovery: names, files, first blocks, index blocks, the end of the last life, then the segments that its
//! newest head names and that have no index.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::anchor::FoundAnchor;
use super::facts::{self, CarriedIndex, Fact, FirstBlock, IndexFacts, SegmentFacts};
use super::fetch::{Fetch, Image};
use super::judge::judge;
use super::replay::{self, Replayed, Scanned};
use crate::base::mutants::{self, Mutant};
use crate::base::{CellKey, LogletId};
use crate::io::op::{FileId, Op, Outcome};
use crate::storage::anchor::{ANCHOR_FILE, ANCHOR_FILE_BYTES, Anchor, SLOT_BYTES};
use crate::storage::format::{
    End, FLAG_FIRST, FLAG_LIFE, Header, Life, Owner, SegmentIdentity, SegmentNumber, Sequence, index_region,
};
use crate::storage::index::Extent;
use crate::storage::journal::Tag;
use crate::storage::segments::{Segment, Slot, Stage};
use crate::storage::types::{Damage, DamageCause, Failure};

/// Files being opened, which flushes them, at once.
const OPENS_MAX: usize = 32;
/// Stands for the anchor where files are counted.
const OPEN_ANCHOR: u64 = u32::MAX as u64;

/// What a start has to go on from.
pub(in crate::storage) struct Restored {
    pub(in crate::storage) slots: Vec<Slot>,
    pub(in crate::storage) free: BTreeSet<usize>,
    pub(in crate::storage) live: BTreeMap<SegmentNumber, Segment>,
    pub(in crate::storage) extents: Vec<(LogletId, Extent)>,
    /// Live segments that are whole and had to be found out about elsewhere than in their index block.
    pub(in crate::storage) unindexed: Vec<SegmentNumber>,
    pub(in crate::storage) cells: BTreeMap<CellKey, Vec<u8>>,
    pub(in crate::storage) damage: Vec<Damage>,
    /// Accepted end of the life before.
    pub(in crate::storage) end: End,
    pub(in crate::storage) next_number: SegmentNumber,
    /// This life.
    pub(in crate::storage) life: u64,
    pub(in crate::storage) anchor_file: Option<FileId>,
    /// What the anchor says.
    pub(in crate::storage) anchor: Anchor,
    /// What it has to say before anything is written.
    pub(in crate::storage) anchor_due: Option<Anchor>,
}

/// A file and what has been learnt of it.
struct File {
    path: PathBuf,
    file: Option<FileId>,
    bytes: u64,
    identity: Option<SegmentIdentity>,
    /// The first unit's header; none when it is damaged.
    first: Option<Header>,
    index: Option<IndexFacts>,
    facts: Option<SegmentFacts>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    List,
    Open,
    FirstBlocks,
    /// A whole file is being searched for units.
    Search(usize),
    Indexes,
    /// A whole segment is being read, for the last life or for the list of its newest head.
    Scan(usize),
}

/// The accepted end of the journal and the state it leaves.
struct Verdict {
    replayed: Replayed,
    end: End,
    damage: Vec<Damage>,
    /// Units accepted in scanned segments, by file.
    accepted: BTreeMap<usize, Vec<usize>>,
}

/// A recovery on its way. It only reads, except for unfinished preparations, which it removes.
pub(in crate::storage) struct Recovery {
    directory: PathBuf,
    owner: Owner,
    block_bytes: u32,
    segment_bytes: u64,
    step: Step,
    started: bool,
    files: Vec<File>,
    removals: VecDeque<PathBuf>,
    to_open: VecDeque<usize>,
    in_flight: usize,
    fetch: Fetch,
    /// Files whose images the running fetch brings, in order.
    fetching: Vec<usize>,
    /// Files whose first unit is damaged.
    suspects: Vec<usize>,
    /// Files that begin with zeros. They are free, unless a segment is missing: one of them may be what is left of it.
    blanks: Vec<usize>,
    anchor: FoundAnchor,
    /// Segments by number; of two uses with one number, that of the later life.
    candidates: BTreeMap<SegmentNumber, usize>,
    /// What later lives say about segments without an index block.
    carried: BTreeMap<SegmentNumber, CarriedIndex>,
    life_max: u64,
    number_max: SegmentNumber,
    /// Lives whose first head never became durable: they answered nothing.
    unborn: BTreeSet<Life>,
    /// How many of the life's last segments are judged.
    depth: usize,
    verdict: Option<Verdict>,
}

impl Recovery {
    pub(in crate::storage) fn new(directory: PathBuf, owner: Owner, block_bytes: u32, segment_bytes: u64) -> Self {
        Self {
            directory,
            owner,
            block_bytes,
            segment_bytes,
            step: Step::List,
            started: false,
            files: Vec::new(),
            removals: VecDeque::new(),
            to_open: VecDeque::new(),
            in_flight: 0,
            fetch: Fetch::new(block_bytes),
            fetching: Vec::new(),
            suspects: Vec::new(),
            blanks: Vec::new(),
            anchor: FoundAnchor::default(),
            candidates: BTreeMap::new(),
            carried: BTreeMap::new(),
            life_max: 0,
            number_max: SegmentNumber(0),
            unborn: BTreeSet::new(),
            depth: 1,
            verdict: None,
        }
    }

    pub(in crate::storage) fn poll(&mut self) -> Option<(Tag, u64, Op)> {
        match self.step {
            Step::List if self.started => None,
            Step::List => {
                self.started = true;
                Some((Tag::List, 0, Op::List { directory: self.directory.clone() }))
            }
            Step::Open => {
                if self.in_flight >= OPENS_MAX {
                    return None;
                }
                if let Some(path) = self.removals.pop_front() {
                    self.in_flight += 1;
                    return Some((Tag::Clean, 0, Op::Remove { path }));
                }
                if let Some(path) = self.anchor.to_open.take() {
                    self.in_flight += 1;
                    return Some((Tag::Open, OPEN_ANCHOR, Op::Open { path }));
                }
                let file = self.to_open.pop_front()?;
                self.in_flight += 1;
                Some((Tag::Open, file as u64, Op::Open { path: self.files[file].path.clone() }))
            }
            Step::FirstBlocks | Step::Search(_) | Step::Indexes | Step::Scan(_) => {
                self.fetch.poll().map(|(value, op)| (Tag::Fetch, value, op))
            }
        }
    }

    pub(in crate::storage) fn handle(
        &mut self,
        tag: Tag,
        value: u64,
        outcome: Outcome,
    ) -> Result<Option<Restored>, Failure> {
        match (tag, outcome) {
            (Tag::List, Outcome::Listed(names)) => self.listed(names),
            (Tag::List, Outcome::Failed(error)) => {
                return Err(Failure::List { directory: self.directory.clone(), error });
            }
            // A `.tmp` that stays is in nobody's way: names are not used twice.
            (Tag::Clean, _) => self.in_flight -= 1,
            (Tag::Open, Outcome::Opened { file, .. }) if value == OPEN_ANCHOR => {
                self.in_flight -= 1;
                self.anchor.file = Some(file);
            }
            (Tag::Open, Outcome::Opened { file, bytes }) => {
                self.in_flight -= 1;
                let entry = &mut self.files[value as usize];
                // A file that was cut off may end anywhere; what is read are whole blocks.
                (entry.file, entry.bytes) = (Some(file), bytes - bytes % u64::from(self.block_bytes));
            }
            (Tag::Open, Outcome::Failed(error)) if value == OPEN_ANCHOR => {
                return Err(Failure::Open { path: self.directory.join(ANCHOR_FILE), error });
            }
            (Tag::Open, Outcome::Failed(error)) => {
                return Err(Failure::Open { path: self.files[value as usize].path.clone(), error });
            }
            (Tag::Fetch, outcome) => self.fetch.handle(value, outcome),
            (tag, outcome) => unreachable!("{tag:?} does not complete as {outcome:?}"),
        }
        self.advance()
    }

    fn listed(&mut self, names: Vec<(String, u64)>) {
        for (name, bytes) in names {
            let path = self.directory.join(&name);
            let stem = name.strip_suffix(".tmp").unwrap_or(&name);
            let stem = stem.strip_suffix(".seg");
            if let Some(number) = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()) {
                self.life_max = self.life_max.max(number >> 32);
            }
            if name == ANCHOR_FILE {
                // One that was cut off is made anew.
                if bytes < ANCHOR_FILE_BYTES {
                    self.removals.push_back(path);
                } else {
                    self.anchor.to_open = Some(path);
                }
            } else if name.ends_with(".tmp") {
                self.removals.push_back(path);
            } else if stem.is_some() {
                self.to_open.push_back(self.files.len());
                let (file, identity, first, index, facts) = Default::default();
                self.files.push(File { path, file, bytes, identity, first, index, facts });
            }
        }
        self.step = Step::Open;
    }

    fn advance(&mut self) -> Result<Option<Restored>, Failure> {
        if self.step == Step::Open {
            let to_open = !self.to_open.is_empty() || self.anchor.to_open.is_some();
            if self.in_flight > 0 || to_open || !self.removals.is_empty() {
                return Ok(None);
            }
            self.fetch_of((0..self.files.len()).collect(), |file, block| (0, block.min(file.bytes)));
            for slot in self.anchor.file.iter().flat_map(|file| [(*file, 0), (*file, SLOT_BYTES)]) {
                self.fetch.want(slot.0, slot.1, u64::from(self.block_bytes));
            }
            self.step = Step::FirstBlocks;
        }
        loop {
            let Some(images) = self.fetch.take() else { return Ok(None) };
            match self.step {
                Step::List | Step::Open => return Ok(None),
                Step::FirstBlocks => {
                    let (blocks, slots) = images.split_at(self.fetching.len());
                    self.anchor.read(slots, self.owner, &self.directory)?;
                    self.first_blocks(blocks)?;
                    self.search_or_choose()?;
                }
                Step::Search(file) => {
                    self.files[file].identity = facts::newest_use(&images[0], self.owner);
                    self.search_or_choose()?;
                }
                Step::Indexes => {
                    for (file, image) in std::mem::take(&mut self.fetching).into_iter().zip(&images) {
                        let entry = &mut self.files[file];
                        let position = entry.bytes - image.bytes.len() as u64;
                        let identity = entry.identity.expect("candidates are segments");
                        entry.index = facts::index(&image.bytes, position, self.owner, identity);
                        let carried = entry.index.as_mut().map(|index| std::mem::take(&mut index.carried));
                        self.carried.extend(carried.into_iter().flatten().map(|index| (index.number, index)));
                    }
                    if let Some(restored) = self.conclude() {
                        return Ok(Some(restored));
                    }
                }
                Step::Scan(file) => {
                    let identity = self.files[file].identity.expect("only segments are scanned");
                    let mut facts = facts::walk(&images[0], self.owner, identity);
                    self.take_carried(&mut facts);
                    self.files[file].facts = Some(facts);
                    if let Some(restored) = self.conclude() {
                        return Ok(Some(restored));
                    }
                }
            }
        }
    }

    fn fetch_of(&mut self, files: Vec<usize>, range: impl Fn(&File, u64) -> (u64, u64)) {
        for file in &files {
            let entry = &self.files[*file];
            let (offset, bytes) = range(entry, u64::from(self.block_bytes));
            self.fetch.want(entry.file.expect("all files are open"), offset, bytes);
        }
        self.fetching = files;
    }

    /// Asks for a whole segment; `advance` comes back to `conclude` with it.
    fn scan(&mut self, file: usize) {
        // Of a file that was cut off it is not known where its index began.
        let is_short = self.anchored() == Some(file) && self.files[file].bytes < self.anchor.says.file_bytes;
        self.fetch_of(vec![file], |file, block| {
            let region = if is_short { 0 } else { index_region(file.bytes, block as u32).min(file.bytes) };
            (0, file.bytes - region)
        });
        self.step = Step::Scan(file);
    }

    fn take_carried(&mut self, facts: &mut SegmentFacts) {
        for entries in facts.units.iter_mut().filter_map(|unit| unit.entries.as_mut()) {
            let carried = entries.extract_if(.., |fact| matches!(fact, Fact::Carried(_)));
            self.carried.extend(carried.filter_map(|fact| match fact {
                Fact::Carried(index) => Some((index.number, index)),
                _ => None,
            }));
        }
    }

    /// Whether a later life says what this segment holds up to this end.
    fn is_carried(&self, identity: &SegmentIdentity, end: End, file: usize) -> bool {
        let bytes = self.files[file].bytes;
        let data = bytes - index_region(bytes, self.block_bytes).min(bytes);
        self.carried.get(&identity.number).is_some_and(|index| {
            index.generation == identity.generation
                && index.end == end
                && index.extents.iter().all(|(_, extent)| extent.data_end() <= data)
        })
    }

    fn first_blocks(&mut self, images: &[Image]) -> Result<(), Failure> {
        for (file, image) in std::mem::take(&mut self.fetching).into_iter().zip(images) {
            let path = || self.files[file].path.clone();
            match facts::first_block(image) {
                FirstBlock::Zeros => self.blanks.push(file),
                FirstBlock::Version(version) => return Err(Failure::Version { path: path(), version }),
                FirstBlock::Unit(header) => {
                    let Owner { node, journal } = header.owner();
                    if header.owner() != self.owner {
                        return Err(Failure::Foreign { path: path(), node, journal });
                    }
                    if header.has(FLAG_FIRST) {
                        self.files[file].first = Some(header);
                        self.files[file].identity = Some(header.identity());
                    }
                }
                FirstBlock::Damaged => self.suspects.push(file),
            }
        }
        Ok(())
    }

    /// A crash tears no header, so a damaged first one is rot: the units behind it tell whose segment it was. When all such files
    /// have been searched, each one's use is known.
    fn search_or_choose(&mut self) -> Result<(), Failure> {
        if let Some(file) = self.suspects.pop() {
            self.search(file);
            return Ok(());
        }
        self.choose_candidates()?;
        self.fetch_of(self.candidates.values().copied().collect(), |file, block| {
            let region = index_region(file.bytes, block as u32).min(file.bytes);
            (file.bytes - region, region)
        });
        self.step = Step::Indexes;
        Ok(())
    }

    fn search(&mut self, file: usize) {
        self.fetch_of(vec![file], |file, _| (0, file.bytes));
        self.step = Step::Search(file);
    }

    /// A segment is missing. If a file that begins with zeros may be what is left of it, that is searched, and judging begins
    /// anew. A whole journal never comes here, so a start reads no more of its free files than their first blocks.
    fn search_blank(&mut self) -> bool {
        let Some(file) = self.blanks.pop() else { return false };
        (self.verdict, self.depth) = (None, 1);
        self.unborn.clear();
        self.search(file);
        true
    }

    fn choose_candidates(&mut self) -> Result<(), Failure> {
        for (at, file) in self.files.iter().enumerate() {
            let Some(identity) = file.identity else { continue };
            self.life_max = self.life_max.max(identity.life.0);
            self.number_max = self.number_max.max(identity.number);
            let other = self.candidates.get(&identity.number).and_then(|other| self.files[*other].identity);
            if let Some(&other) = self.candidates.get(&identity.number).filter(|other| **other != at)
                && self.files[other].identity == Some(identity)
            {
                let (first, second) = (self.files[other].path.clone(), file.path.clone());
                return Err(Failure::Twice { first, second });
            }
            if other.is_none_or(|other| other.life < identity.life) {
                self.candidates.insert(identity.number, at);
            }
        }
        self.life_max = self.life_max.max(self.anchor.says.segment.life.0);
        self.number_max = self.number_max.max(self.anchor.says.segment.number);
        Ok(())
    }

    /// The file of the segment that the anchor names.
    fn anchored(&self) -> Option<usize> {
        let named = self.anchor.says.segment;
        self.candidates.get(&named.number).copied().filter(|file| self.identity(*file) == named)
    }

    /// Judges the last life as far as its segments are in memory; asks for more, or is done.
    fn conclude(&mut self) -> Option<Restored> {
        if self.anchor.names_one() && self.anchored().is_none() && self.search_blank() {
            return None;
        }
        while self.verdict.is_none() {
            let life = self
                .candidates
                .values()
                .filter_map(|file| self.files[*file].identity)
                .map(|identity| identity.life)
                .filter(|life| !self.unborn.contains(life))
                .max();
            let Some(life) = life else {
                let (replayed, end, damage, accepted) = Default::default();
                self.verdict = Some(Verdict { replayed, end, damage, accepted });
                break;
            };
            let members: Vec<usize> =
                self.candidates.values().copied().filter(|file| self.identity(*file).life == life).collect();
            let start = members.len() - self.depth.min(members.len());
            if let Some(file) = members[start..].iter().find(|file| self.files[**file].facts.is_none()) {
                self.scan(*file);
                return None;
            }
            self.judge_life(life, &members, start);
        }
        self.conclude_list()
    }

    fn identity(&self, file: usize) -> SegmentIdentity {
        self.files[file].identity.expect("candidates are segments")
    }

    /// Judges from `members[start]` on: gives a verdict, or looks further back, or finds that the life was never born.
    fn judge_life(&mut self, life: Life, members: &[usize], start: usize) {
        let chain: Vec<Scanned<'_>> = members[start..]
            .iter()
            .map(|file| {
                let facts = self.files[*file].facts.as_ref().expect("scanned before it is judged");
                Scanned { identity: self.identity(*file), facts }
            })
            .collect();
        let first = self.files[members[start]].first;
        let starts_life = first.is_some_and(|first| first.has(FLAG_LIFE));
        let before = first.map(|first| End {
            sequence: Sequence(first.sequence.get().saturating_sub(1)),
            checksum: first.previous.get(),
        });
        let floor = Some(self.anchor.says.end).filter(|_| self.anchor.says.segment.life == life);
        let claimed = before.is_some_and(|before| {
            let claims = chain.iter().flat_map(|segment| &segment.facts.units);
            let indexed = start.checked_sub(1).and_then(|at| self.files[members[at]].index.as_ref());
            claims.map(|unit| unit.header.claim.get()).max() >= Some(before.sequence.0)
                || indexed.is_some_and(|index| index.end == before)
                || floor.is_some_and(|floor| floor.sequence >= before.sequence)
        });
        // A torn unit in the segment before would discard all of this one.
        if start > 0 && !starts_life && !claimed {
            self.depth += 1;
            return;
        }
        let segments: Vec<_> = chain.iter().map(|segment| (segment.identity.number, segment.facts)).collect();
        let judged = judge(&segments, before, None, floor);
        let damage = replay::damages(&chain, &judged);
        let Some(head) = replay::newest_head(&chain, &judged) else {
            if start > 0 {
                self.depth += 1;
            } else if starts_life && damage.is_empty() {
                self.unborn.insert(life);
                self.depth = 1;
            } else {
                self.verdict = Some(self.salvage(&chain, &judged, damage, members));
            }
            return;
        };
        let mut replayed = Replayed::default();
        replayed.apply(&chain, &judged.accepted[head..]);
        if mutants::is(Mutant::AppendBehindTornTail)
            && let Some(mut newest) = replayed.live.last_entry()
        {
            newest.get_mut().1 = judged.end;
        }
        let mut accepted = BTreeMap::<usize, Vec<usize>>::new();
        for (segment, unit) in &judged.accepted {
            accepted.entry(members[start + segment]).or_default().push(*unit);
        }
        self.verdict = Some(Verdict { replayed, end: judged.end, damage, accepted });
    }

    /// No head of the life can be used: whatever segments there are count as live, as far as they can be read, and the
    /// damage says that every loglet is affected.
    fn salvage(
        &self,
        chain: &[Scanned<'_>],
        judged: &super::judge::Judged,
        mut damage: Vec<Damage>,
        members: &[usize],
    ) -> Verdict {
        let mut replayed = Replayed::default();
        for (number, file) in &self.candidates {
            let identity = self.identity(*file);
            let end = self.files[*file].index.as_ref().map_or(End::default(), |index| index.end);
            replayed.live.insert(*number, (identity, end));
        }
        replayed.apply(chain, &judged.accepted);
        let segment = chain[0].identity.number.0;
        let (cause, table_survived) = (DamageCause::Unit, false);
        let (holes, cells_lost) = Default::default();
        damage.push(Damage { segment, position: 0, cause, table_survived, holes, cells_lost });
        let mut accepted = BTreeMap::<usize, Vec<usize>>::new();
        for (segment, unit) in &judged.accepted {
            accepted.entry(members[segment + members.len() - chain.len()]).or_default().push(*unit);
        }
        Verdict { replayed, end: judged.end, damage, accepted }
    }

    /// Gathers the records of the live segments; scans those without an index.
    fn conclude_list(&mut self) -> Option<Restored> {
        let verdict = self.verdict.as_ref().expect("the last life is judged first");
        let file_of = |identity: &SegmentIdentity| {
            self.candidates.get(&identity.number).copied().filter(|file| {
                let found = self.identity(*file);
                found.generation == identity.generation && found.life == identity.life
            })
        };
        // From the last on: a scan may bring indexes of earlier ones.
        let unscanned = verdict.replayed.live.values().rev().find_map(|(identity, end)| {
            let file = file_of(identity)?;
            let entry = &self.files[file];
            let indexed = entry.index.as_ref().is_some_and(|index| index.end == *end);
            let known = indexed || entry.facts.is_some() || self.is_carried(identity, *end, file);
            (!known).then_some(file)
        });
        if let Some(file) = unscanned {
            self.scan(file);
            return None;
        }
        let missing = verdict.replayed.live.values().any(|(identity, _)| file_of(identity).is_none());
        if missing && self.search_blank() {
            return None;
        }
        let mut verdict = self.verdict.take().expect("just seen");
        self.compare_with_anchor(&mut verdict);
        let mut extents = Vec::new();
        let mut live = BTreeMap::new();
        let mut used = BTreeSet::new();
        let mut unindexed = Vec::new();
        for (number, (identity, end)) in &verdict.replayed.live {
            let Some(&file) = self.candidates.get(number).filter(|file| self.identity(**file) == *identity) else {
                let (cause, table_survived) = (DamageCause::SegmentMissing, false);
                let (position, holes, cells_lost) = Default::default();
                verdict.damage.push(Damage { segment: number.0, position, cause, table_survived, holes, cells_lost });
                continue;
            };
            used.insert(file);
            live.insert(*number, Segment { identity: *identity, slot: file, end: *end, stage: Stage::Settled });
            let entry = &mut self.files[file];
            if let Some(index) = entry.index.take_if(|index| index.end == *end) {
                extents.extend(index.extents);
                continue;
            }
            unindexed.push(*number);
            let Some(facts) = &entry.facts else {
                let index = self.carried.remove(number).expect("scanned above, unless carried");
                extents.extend(index.extents);
                continue;
            };
            let scanned = Scanned { identity: *identity, facts };
            let units = verdict.accepted.remove(&file).unwrap_or_else(|| {
                let end = Some(*end).filter(|end| *end != End::default());
                let judged = judge(&[(*number, facts)], None, end, None);
                let chain = [Scanned { identity: *identity, facts }];
                verdict.damage.extend(replay::damages(&chain, &judged));
                judged.accepted.into_iter().map(|at| at.1).collect()
            });
            replay::extents(&scanned, units.into_iter(), &mut extents);
        }
        // A later start has to see damage again, so it has to scan again.
        unindexed.retain(|number| verdict.damage.iter().all(|damage| damage.segment != number.0));
        Some(Restored { unindexed, ..self.restored(verdict, live, used, extents) })
    }

    /// The newest segment is named by nothing but the anchor.
    fn compare_with_anchor(&self, verdict: &mut Verdict) {
        let named = self.anchor.says;
        let damage = &mut verdict.damage;
        let mut report = |segment: SegmentNumber, position, cause| {
            let known = |damage: &Damage| damage.segment == segment.0 && damage.cause == cause;
            if !damage.iter().any(known) {
                let (table_survived, holes, cells_lost) = Default::default();
                let found = Damage { segment: segment.0, position, cause, table_survived, holes, cells_lost };
                // It is why others are damaged.
                damage.insert(0, found);
            }
        };
        if !self.anchor.is_valid && !self.candidates.is_empty() {
            report(SegmentNumber(0), 0, DamageCause::Anchor);
        }
        if !self.anchor.names_one() {
            return;
        }
        // A later head names all that is live before it.
        let (number, live) = (named.segment.number, &verdict.replayed.live);
        let is_old = !live.contains_key(&number) && live.last_key_value().is_some_and(|(last, _)| *last > number);
        match self.anchored() {
            _ if is_old => {}
            Some(file) if self.files[file].bytes < named.file_bytes => {
                report(number, self.files[file].bytes, DamageCause::SegmentShort);
            }
            Some(_) => {}
            None => report(number, 0, DamageCause::SegmentMissing),
        }
    }

    fn restored(
        &mut self,
        mut verdict: Verdict,
        live: BTreeMap<SegmentNumber, Segment>,
        used: BTreeSet<usize>,
        extents: Vec<(LogletId, Extent)>,
    ) -> Restored {
        let lost = std::mem::take(&mut verdict.replayed.lost);
        for damage in &mut verdict.damage {
            damage.cells_lost.retain(|key| lost.contains(key));
        }
        let (end, lost) = (self.anchor.says.end, self.anchor.loss(&mut verdict.damage));
        let known = Anchor { lost, ..self.anchor.says };
        let anchor_due = Some(known).filter(|due| !self.anchor.is_valid || *due != self.anchor.says);
        let slot = |file: File| Slot { file: file.file.expect("all files are open"), bytes: file.bytes };
        let slots: Vec<Slot> = std::mem::take(&mut self.files).into_iter().map(slot).collect();
        // Smaller files are left from other limits; the plan of a segment's room counts on the full size.
        let usable = |slot: &Slot| slot.bytes >= self.segment_bytes;
        let free = (0..slots.len()).filter(|at| !used.contains(at) && usable(&slots[*at])).collect();
        Restored {
            slots,
            free,
            live,
            extents,
            unindexed: Vec::new(),
            cells: verdict.replayed.cells,
            damage: verdict.damage,
            end: if verdict.end.sequence < end.sequence { end } else { verdict.end },
            next_number: self.number_max.next(),
            life: Life(self.life_max).next().0,
            anchor_file: self.anchor.file,
            anchor: self.anchor.says,
            anchor_due,
        }
    }
}
