//! Simulated disks: files as sectors, writes that tear at a crash, and faults.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::state::{DriverId, Event, State};
use crate::base::{Buf, Rng};
use crate::io::op::{FileId, Op, Outcome, Token};

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// Something that goes wrong once, with the next operation of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// A write fails; any of its sectors may have landed.
    WriteFails,
    /// A write ends early: it reports fewer bytes, and only they have landed.
    WriteShort,
    /// A write reports success, and nothing of it has landed.
    WriteLost,
    /// A read fails.
    ReadFails,
}

/// The disk of a node.
#[derive(Default)]
pub(super) struct Disk {
    names: BTreeMap<PathBuf, u64>,
    /// Files by number; one that was removed lasts as long as the world, which tells nobody.
    files: BTreeMap<u64, File>,
    pub(super) faults: Vec<DiskFault>,
    pub(super) free_bytes: Option<u64>,
}

#[derive(Default)]
struct File {
    bytes: u64,
    /// Sectors that are not all zeros.
    sectors: BTreeMap<u64, [u8; SECTOR]>,
}

/// A file as a driver has it open.
pub(super) struct OpenFile {
    number: u64,
    in_flight: u32,
    closing: Option<Token>,
}

/// An operation of a disk, at its end.
pub(super) enum DiskEvent {
    List { directory: PathBuf },
    Open { path: PathBuf },
    Prepare { path: PathBuf, bytes: u64 },
    Remove { path: PathBuf },
    Read { file: FileId, number: u64, offset: u64, buf: Buf },
    Write { file: FileId, number: u64, offset: u64, buf: Buf },
}

impl State {
    pub(super) fn start_disk(&mut self, driver: DriverId, token: Token, op: Op) {
        let event = match op {
            Op::List { directory } => DiskEvent::List { directory },
            Op::Open { path } => DiskEvent::Open { path },
            Op::Prepare { path, bytes } => DiskEvent::Prepare { path, bytes },
            Op::Remove { path } => DiskEvent::Remove { path },
            Op::CloseFile { file } => return self.close_file(driver, token, file),
            Op::Read { file, offset, buf } => match self.enter_file(driver, file, offset, &buf) {
                Ok(number) => DiskEvent::Read { file, number, offset, buf },
                Err(error) => return self.reply(driver, token, Outcome::Read { buf, result: Err(error) }),
            },
            Op::Write { file, offset, buf } => match self.enter_file(driver, file, offset, &buf) {
                Ok(number) => DiskEvent::Write { file, number, offset, buf },
                Err(error) => return self.reply(driver, token, Outcome::Written { buf, result: Err(error) }),
            },
            _ => unreachable!("not an operation of a disk"),
        };
        let at = self.now + self.draw(self.config.disk_latency);
        self.schedule(at, Event::Disk(driver, token, event));
    }

    fn enter_file(&mut self, driver: DriverId, file: FileId, offset: u64, buf: &[u8]) -> io::Result<u64> {
        let open = self.driver(driver).files.get_mut(&file).filter(|open| open.closing.is_none());
        let open = open.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        if !offset.is_multiple_of(SECTOR as u64) || !buf.len().is_multiple_of(SECTOR) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        open.in_flight += 1;
        Ok(open.number)
    }

    fn close_file(&mut self, driver: DriverId, token: Token, file: FileId) {
        match self.driver(driver).files.get_mut(&file).filter(|open| open.closing.is_none()) {
            Some(open) => {
                open.closing = Some(token);
                self.finish_close(driver, file);
            }
            None => self.reply(driver, token, Outcome::Failed(io::Error::from_raw_os_error(libc::EBADF))),
        }
    }

    fn finish_close(&mut self, driver: DriverId, file: FileId) {
        let files = &mut self.driver(driver).files;
        let Some(token) = files.get(&file).filter(|open| open.in_flight == 0).and_then(|open| open.closing) else {
            return;
        };
        files.remove(&file);
        self.reply(driver, token, Outcome::Done);
    }

    pub(super) fn finish_disk(&mut self, driver: DriverId, event: DiskEvent) -> Outcome {
        let address = self.driver(driver).node;
        let disk = &mut self.nodes.get_mut(&address).expect("a driver is on a node").disk;
        let opened = match event {
            DiskEvent::List { directory } => return Outcome::Listed(disk.list(&directory)),
            DiskEvent::Remove { path } => return disk.remove(&path).map_or_else(Outcome::Failed, |()| Outcome::Done),
            DiskEvent::Open { path } => disk.open(&path),
            DiskEvent::Prepare { path, bytes } => disk.prepare(&path, bytes),
            DiskEvent::Read { file, number, offset, mut buf } => {
                let result = disk.read(number, offset, &mut buf);
                self.leave_file(driver, file);
                return Outcome::Read { buf, result };
            }
            DiskEvent::Write { file, number, offset, buf } => {
                let result = disk.write(number, offset, &buf, &mut self.rng);
                self.leave_file(driver, file);
                return Outcome::Written { buf, result };
            }
        };
        match opened {
            Ok((number, bytes)) => {
                let state = self.driver(driver);
                let file = FileId(state.files_opened);
                state.files_opened += 1;
                state.files.insert(file, OpenFile { number, in_flight: 0, closing: None });
                Outcome::Opened { file, bytes }
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    fn leave_file(&mut self, driver: DriverId, file: FileId) {
        let open =
            self.driver(driver).files.get_mut(&file).expect("a file stays open while operations are in flight on it");
        open.in_flight -= 1;
        self.finish_close(driver, file);
    }

    /// Ends what is in flight on a crashing node's disk somewhere in the middle.
    pub(super) fn crash_disk(&mut self, address: IpAddr) {
        let theirs =
            |event: &Event| matches!(event, Event::Disk(driver, ..) if self.drivers[driver.0 as usize].node == address);
        let keys: Vec<_> = self.queue.iter().filter(|(_, event)| theirs(event)).map(|(&key, _)| key).collect();
        for key in keys {
            let Some(Event::Disk(_, _, event)) = self.queue.remove(&key) else { unreachable!("just found") };
            let disk = &mut self.nodes.get_mut(&address).expect("it crashes").disk;
            match event {
                DiskEvent::Write { number, offset, buf, .. } => disk.land_some(number, offset, &buf, &mut self.rng),
                DiskEvent::Prepare { path, bytes } => match self.rng.u8(0..3) {
                    0 => {}
                    1 => drop(disk.prepare(&temporary_name(&path), bytes)),
                    _ => drop(disk.prepare(&path, bytes)),
                },
                DiskEvent::Remove { path } if self.rng.bool() => drop(disk.remove(&path)),
                _ => {}
            }
        }
    }
}

impl Disk {
    fn list(&self, directory: &Path) -> Vec<(String, u64)> {
        let here = self.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        here.filter_map(|(path, number)| Some((path.file_name()?.to_str()?.to_owned(), self.files[number].bytes)))
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<(u64, u64)> {
        let number = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok((number, self.files[&number].bytes))
    }

    fn prepare(&mut self, path: &Path, bytes: u64) -> io::Result<(u64, u64)> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let _ = self.remove(&temporary_name(path));
        if let Some(free) = &mut self.free_bytes {
            *free = free.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
        }
        let number = self.files.last_key_value().map_or(0, |(number, _)| number + 1);
        self.files.insert(number, File { bytes, sectors: BTreeMap::new() });
        self.names.insert(path.to_owned(), number);
        Ok((number, bytes))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let number = self.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        if let Some(free) = &mut self.free_bytes {
            *free += self.files[&number].bytes;
        }
        Ok(())
    }

    fn read(&mut self, number: u64, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.take_fault(&[DiskFault::ReadFails]).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let file = &self.files[&number];
        let count = file.bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
        for (index, part) in buf[..count].chunks_mut(SECTOR).enumerate() {
            match file.sectors.get(&(offset / SECTOR as u64 + index as u64)) {
                Some(sector) => part.copy_from_slice(&sector[..part.len()]),
                None => part.fill(0),
            }
        }
        Ok(count)
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8], rng: &mut Rng) -> io::Result<usize> {
        match self.take_fault(&[DiskFault::WriteFails, DiskFault::WriteShort, DiskFault::WriteLost]) {
            Some(DiskFault::WriteFails) => {
                self.land_some(number, offset, bytes, rng);
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            Some(DiskFault::WriteShort) if !bytes.is_empty() => {
                let landed = rng.usize(0..bytes.len() / SECTOR) * SECTOR;
                self.land(number, offset, &bytes[..landed]);
                return Ok(landed);
            }
            Some(DiskFault::WriteLost) => {}
            _ => self.land(number, offset, bytes),
        }
        Ok(bytes.len())
    }

    fn land(&mut self, number: u64, offset: u64, bytes: &[u8]) {
        // A wiped disk has lost the files of writes that were in flight.
        let Some(file) = self.files.get_mut(&number) else { return };
        file.bytes = file.bytes.max(offset + bytes.len() as u64);
        for (index, part) in bytes.chunks_exact(SECTOR).enumerate() {
            let sector = part.try_into().expect("a whole sector");
            file.sectors.insert(offset / SECTOR as u64 + index as u64, sector);
        }
    }

    /// Any subset of the sectors lands; all and none of them are as likely as everything between.
    fn land_some(&mut self, number: u64, offset: u64, bytes: &[u8], rng: &mut Rng) {
        let portion = rng.u8(0..3);
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            if portion == 2 || portion == 1 && rng.bool() {
                self.land(number, offset + (index * SECTOR) as u64, sector);
            }
        }
    }

    fn take_fault(&mut self, kinds: &[DiskFault]) -> Option<DiskFault> {
        let index = self.faults.iter().position(|fault| kinds.contains(fault))?;
        Some(self.faults.remove(index))
    }

    pub(super) fn flip_bit(&mut self, path: &Path, offset: u64, bit: u8) -> bool {
        let Some(file) = self.names.get(path).and_then(|number| self.files.get_mut(number)) else { return false };
        let sector = file.sectors.entry(offset / SECTOR as u64).or_insert([0; SECTOR]);
        sector[offset as usize % SECTOR] ^= 1 << (bit % 8);
        true
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
