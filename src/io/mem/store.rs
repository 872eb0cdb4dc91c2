//! What a simulated disk holds, and how it goes wrong.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::DiskFault;
use super::state::Counts;
use crate::base::Rng;
use crate::base::mutants::{self, Mutant};

/// What a disk writes as a whole or not at all.
pub(super) const SECTOR: usize = 512;
const PAGE: usize = 4096;
/// A write counts as claimed when so many later ones, each begun after its end, have ended: among any so many writes of a
/// journal there is a unit, whose claim covers everything that had ended when it began.
const CLAIMING_WRITES: usize = 8;
/// How many writes stay in the cache of a disk that has one.
const CACHED_WRITES: usize = 64;
/// How often a page is looked for that may rot.
const TRIES: usize = 8;

/// How often operations of a disk go wrong, each in a million.
///
/// Rot, pages that become unreadable, lost and misdirected writes only ever take what later writes claim to be durable: a journal can
/// then tell them from writes torn by a crash. A lost or misdirected write reads back as written until then, as from a cache of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFaults {
    /// Reads that fail.
    pub read_errors: u32,
    /// Writes that fail; any of their sectors may have landed.
    pub write_errors: u32,
    /// Writes that end early.
    pub short_writes: u32,
    /// Flushes that fail: of files that are opened or prepared.
    pub flush_errors: u32,
    /// Writes that report success and are gone later.
    pub lost_writes: u32,
    /// Writes that end up in another place of their file.
    pub misdirected_writes: u32,
    /// Writes after which one bit of something older turns over.
    pub rot: u32,
    /// Writes after which something older cannot be read any more, until it is written again.
    pub unreadable: u32,
    /// Operations that take `slow_factor` times as long.
    pub slow_per_million: u32,
    /// How much longer those take.
    pub slow_factor: u32,
    /// Whether rot, unreadable pages, lost and misdirected writes hit files of this name alone, instead of all others.
    pub only: bool,
    /// The name.
    pub name: &'static str,
}

impl Default for DiskFaults {
    /// None.
    fn default() -> Self {
        Self {
            read_errors: 0,
            write_errors: 0,
            short_writes: 0,
            flush_errors: 0,
            lost_writes: 0,
            misdirected_writes: 0,
            rot: 0,
            unreadable: 0,
            slow_per_million: 0,
            slow_factor: 1,
            only: false,
            name: "",
        }
    }
}

/// The disk of a node.
#[derive(Default)]
pub(super) struct Disk {
    names: BTreeMap<PathBuf, u64>,
    /// Files by number; one that was removed lasts as long as the world, which tells nobody.
    files: BTreeMap<u64, File>,
    pub(super) once: Vec<DiskFault>,
    pub(super) faults: DiskFaults,
    pub(super) free_bytes: Option<u64>,
    /// Operations begun.
    pub(super) operations: u64,
    /// Writes among them.
    pub(super) writes: u64,
    writes_ended: u64,
    /// What the last writes claimed, oldest first.
    claims: VecDeque<u64>,
    /// Writes that will be found lost or misdirected.
    ghosts: VecDeque<Ghost>,
    /// Completed writes that a crash takes back: only with a mutant that writes into a cache.
    cached: VecDeque<Ghost>,
}

#[derive(Default)]
struct File {
    /// The last part of its path.
    name: String,
    bytes: u64,
    /// Pages that are not all zeros.
    pages: BTreeMap<u64, Page>,
}

struct Page {
    bytes: Box<[u8; PAGE]>,
    /// The number of the write that was the last to change it.
    written: u64,
    unreadable: bool,
}

/// A write that has reported success and is not on the disk.
struct Ghost {
    number: u64,
    written: u64,
    /// Each page, with what is on the disk instead.
    pages: Vec<(u64, Option<Page>)>,
    misdirected: bool,
}

fn hits(rng: &mut Rng, per_million: u32) -> bool {
    per_million > 0 && rng.u32(0..1_000_000) < per_million
}

fn count(counts: &mut Counts, kind: &'static str) {
    *counts.entry(kind).or_default() += 1;
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl Disk {
    pub(super) fn writes_ended(&self) -> u64 {
        self.writes_ended
    }

    pub(super) fn list(&self, directory: &Path) -> Vec<(String, u64)> {
        let here = self.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        here.filter_map(|(path, number)| Some((path.file_name()?.to_str()?.to_owned(), self.files[number].bytes)))
            .collect()
    }

    pub(super) fn flush(&mut self, rng: &mut Rng, counts: &mut Counts) -> io::Result<()> {
        if self.take_fault(&[DiskFault::FlushFails]).is_some() || hits(rng, self.faults.flush_errors) {
            count(counts, "flush_error");
            return Err(input_output_error());
        }
        self.cached.clear();
        Ok(())
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<(u64, u64)> {
        let number = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok((number, self.files[&number].bytes))
    }

    pub(super) fn prepare(&mut self, path: &Path, bytes: u64, counts: &mut Counts) -> io::Result<(u64, u64)> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let _ = self.remove(&temporary_name(path));
        if let Some(free) = &mut self.free_bytes {
            let Some(left) = free.checked_sub(bytes) else {
                count(counts, "full_disk");
                return Err(io::ErrorKind::StorageFull.into());
            };
            *free = left;
        }
        let number = self.files.last_key_value().map_or(0, |(number, _)| number + 1);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.files.insert(number, File { name, bytes, pages: BTreeMap::new() });
        self.names.insert(path.to_owned(), number);
        Ok((number, bytes))
    }

    /// Puts a file onto the disk, whole.
    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        let _ = self.remove(path);
        let (number, _) = self.prepare(path, 0, &mut Counts::new()).expect("an empty file has room");
        self.land(number, 0, bytes);
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let number = self.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        if let Some(free) = &mut self.free_bytes {
            *free += self.files[&number].bytes;
        }
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        number: u64,
        offset: u64,
        buf: &mut [u8],
        rng: &mut Rng,
        counts: &mut Counts,
    ) -> io::Result<usize> {
        if self.take_fault(&[DiskFault::ReadFails]).is_some() || hits(rng, self.faults.read_errors) {
            count(counts, "read_error");
            return Err(input_output_error());
        }
        let file = &self.files[&number];
        let readable = file.bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < readable {
            let at = offset + done as u64;
            let within = at as usize % PAGE;
            let part = &mut buf[done..readable.min(done + PAGE - within)];
            match file.pages.get(&(at / PAGE as u64)) {
                Some(page) if page.unreadable => {
                    count(counts, "read_error");
                    return Err(input_output_error());
                }
                Some(page) => part.copy_from_slice(&page.bytes[within..within + part.len()]),
                None => part.fill(0),
            }
            done += part.len();
        }
        Ok(readable)
    }

    pub(super) fn write(
        &mut self,
        number: u64,
        offset: u64,
        bytes: &[u8],
        claims: u64,
        rng: &mut Rng,
        counts: &mut Counts,
    ) -> io::Result<usize> {
        let once = self.take_fault(&[DiskFault::WriteFails, DiskFault::WriteShort, DiskFault::WriteLost]);
        if once == Some(DiskFault::WriteFails) || hits(rng, self.faults.write_errors) {
            count(counts, "write_error");
            self.land_some(number, offset, bytes, rng);
            return Err(input_output_error());
        }
        if (once == Some(DiskFault::WriteShort) || hits(rng, self.faults.short_writes)) && !bytes.is_empty() {
            count(counts, "short_write");
            let landed = rng.usize(0..bytes.len() / SECTOR) * SECTOR;
            self.land(number, offset, &bytes[..landed]);
            return Ok(landed);
        }
        if once == Some(DiskFault::WriteLost) {
            return Ok(bytes.len());
        }
        self.writes_ended += 1;
        let misdirected = hits(rng, self.faults.misdirected_writes);
        if (misdirected || hits(rng, self.faults.lost_writes)) && self.may_be_hit(number) {
            self.haunt(number, offset, bytes.len(), misdirected);
        }
        if mutants::is(Mutant::WriteWithoutDsync) {
            let before = self.before(number, offset, bytes.len());
            self.cached.extend(before);
            self.cached.drain(..self.cached.len().saturating_sub(CACHED_WRITES));
        }
        self.land(number, offset, bytes);
        if self.claims.len() == CLAIMING_WRITES {
            self.claims.pop_front();
        }
        self.claims.push_back(claims);
        self.turn_bad(rng, counts);
        Ok(bytes.len())
    }

    /// The number of the newest write that is certain to be claimed.
    fn claimed(&self) -> u64 {
        if self.claims.len() < CLAIMING_WRITES { 0 } else { self.claims.iter().copied().min().unwrap_or(0) }
    }

    fn may_be_hit(&self, number: u64) -> bool {
        self.files.get(&number).is_some_and(|file| (file.name == self.faults.name) == self.faults.only)
    }

    /// Remembers what is on the disk where a write will be found to be missing.
    fn haunt(&mut self, number: u64, offset: u64, bytes: usize, misdirected: bool) {
        let before = self.before(number, offset, bytes);
        self.ghosts.extend(before.map(|ghost| Ghost { misdirected, ..ghost }));
    }

    /// What a write is about to cover.
    fn before(&self, number: u64, offset: u64, bytes: usize) -> Option<Ghost> {
        let file = self.files.get(&number)?;
        let first = offset / PAGE as u64;
        let pages = first..(offset + bytes as u64).div_ceil(PAGE as u64);
        let before = |page: &Page| Page { bytes: page.bytes.clone(), ..*page };
        let pages = pages.map(|at| (at, file.pages.get(&at).map(before))).collect();
        Some(Ghost { number, written: self.writes_ended, pages, misdirected: false })
    }

    /// Takes back some of what is only in the disk's cache.
    pub(super) fn lose_cache(&mut self, rng: &mut Rng) {
        while let Some(ghost) = self.cached.pop_back() {
            let Some(file) = self.files.get_mut(&ghost.number).filter(|_| rng.bool()) else { continue };
            for (at, before) in ghost.pages {
                match before {
                    Some(page) => file.pages.insert(at, page),
                    None => file.pages.remove(&at),
                };
            }
        }
    }

    /// What is claimed by now can go bad.
    fn turn_bad(&mut self, rng: &mut Rng, counts: &mut Counts) {
        let claimed = self.claimed();
        while self.ghosts.front().is_some_and(|ghost| ghost.written <= claimed) {
            let ghost = self.ghosts.pop_front().expect("just seen");
            self.appear(ghost, claimed, rng, counts);
        }
        if hits(rng, self.faults.rot)
            && let Some((number, at)) = self.bad_place(None, claimed, rng)
        {
            let page = self.files.get_mut(&number).and_then(|file| file.pages.get_mut(&at)).expect("just found");
            page.bytes[rng.usize(..PAGE)] ^= 1 << rng.u8(..8);
            count(counts, "bit_rot");
        }
        if hits(rng, self.faults.unreadable)
            && let Some((number, at)) = self.bad_place(None, claimed, rng)
        {
            let page = self.files.get_mut(&number).and_then(|file| file.pages.get_mut(&at)).expect("just found");
            page.unreadable = true;
            count(counts, "unreadable_page");
        }
    }

    fn appear(&mut self, ghost: Ghost, claimed: u64, rng: &mut Rng, counts: &mut Counts) {
        let target = if ghost.misdirected { self.bad_place(Some(ghost.number), claimed, rng) } else { None };
        let Some(file) = self.files.get_mut(&ghost.number) else { return };
        let mut written = None;
        for (at, before) in ghost.pages {
            // What was written over since is not missed.
            if file.pages.get(&at).is_none_or(|page| page.written != ghost.written) {
                continue;
            }
            let lost = match before {
                Some(page) => file.pages.insert(at, page),
                None => file.pages.remove(&at),
            };
            written = written.or(lost);
        }
        let Some(page) = written else { return };
        match target {
            Some((_, at)) => {
                file.pages.insert(at, page);
                count(counts, "misdirected_write");
            }
            None => count(counts, "lost_write"),
        }
    }

    /// A page that is claimed, in this file or any.
    fn bad_place(&self, number: Option<u64>, claimed: u64, rng: &mut Rng) -> Option<(u64, u64)> {
        let numbers: Vec<u64> = match number {
            Some(number) => vec![number],
            None => self.names.values().copied().filter(|&number| self.may_be_hit(number)).collect(),
        };
        for _ in 0..TRIES {
            let number = *rng.choice(&numbers)?;
            let Some(file) = self.files.get(&number) else { continue };
            let Some((&last, _)) = file.pages.last_key_value() else { continue };
            let Some((&at, page)) = file.pages.range(rng.u64(..=last)..).next() else { continue };
            if page.written > 0 && page.written <= claimed {
                return Some((number, at));
            }
        }
        None
    }

    fn land(&mut self, number: u64, offset: u64, bytes: &[u8]) {
        let written = self.writes_ended;
        // A wiped disk has lost the files of writes that were in flight.
        let Some(file) = self.files.get_mut(&number) else { return };
        file.bytes = file.bytes.max(offset + bytes.len() as u64);
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let within = at as usize % PAGE;
            let part = &bytes[done..bytes.len().min(done + PAGE - within)];
            let page = file.pages.entry(at / PAGE as u64);
            let page = page.or_insert_with(|| Page { bytes: Box::new([0; PAGE]), written, unreadable: false });
            page.unreadable = false;
            page.bytes[within..within + part.len()].copy_from_slice(part);
            page.written = written;
            done += part.len();
        }
    }

    /// Any subset of the sectors lands; all and none of them are as likely as everything between. Returns how many bytes did.
    pub(super) fn land_some(&mut self, number: u64, offset: u64, bytes: &[u8], rng: &mut Rng) -> usize {
        let portion = rng.u8(0..3);
        let mut landed = 0;
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            if portion == 2 || portion == 1 && rng.bool() {
                self.land(number, offset + (index * SECTOR) as u64, sector);
                landed += sector.len();
            }
        }
        landed
    }

    fn take_fault(&mut self, kinds: &[DiskFault]) -> Option<DiskFault> {
        let index = self.once.iter().position(|fault| kinds.contains(fault))?;
        Some(self.once.remove(index))
    }

    pub(super) fn flip_bit(&mut self, path: &Path, offset: u64, bit: u8) -> bool {
        let Some(file) = self.names.get(path).and_then(|number| self.files.get_mut(number)) else { return false };
        let page = file.pages.entry(offset / PAGE as u64);
        let page = page.or_insert_with(|| Page { bytes: Box::new([0; PAGE]), written: 0, unreadable: false });
        page.bytes[offset as usize % PAGE] ^= 1 << (bit % 8);
        true
    }
}

pub(super) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
