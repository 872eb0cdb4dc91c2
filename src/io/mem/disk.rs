//! Simulated disks: what drivers ask of them, and when it ends.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::state::{DriverId, Event, State};
use super::store::{Disk, SECTOR};
use crate::base::{Buf, Instant};
use crate::io::op::{FileId, Op, Outcome, Token};

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
    /// A flush fails: of a file that is opened, or of one that is prepared.
    FlushFails,
}

/// A file as a driver has it open.
pub(super) struct OpenFile {
    number: u64,
    in_flight: u32,
    closing: Option<Token>,
}

/// An operation of a disk, at its end.
pub(super) enum DiskEvent {
    List {
        directory: PathBuf,
    },
    Open {
        path: PathBuf,
    },
    Prepare {
        path: PathBuf,
        bytes: u64,
    },
    Remove {
        path: PathBuf,
    },
    Read {
        file: FileId,
        number: u64,
        offset: u64,
        buf: Buf,
    },
    /// `claims`: how many writes had ended when this one began.
    Write {
        file: FileId,
        number: u64,
        offset: u64,
        buf: Buf,
        claims: u64,
    },
}

impl State {
    pub(super) fn start_disk(&mut self, driver: DriverId, token: Token, op: Op) {
        let disk = self.disk_of(driver);
        disk.operations += 1;
        disk.writes += u64::from(matches!(op, Op::Write { .. }));
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
                Ok(number) => {
                    let claims = self.disk_of(driver).writes_ended();
                    DiskEvent::Write { file, number, offset, buf, claims }
                }
                Err(error) => return self.reply(driver, token, Outcome::Written { buf, result: Err(error) }),
            },
            _ => unreachable!("not an operation of a disk"),
        };
        let at = self.disk_end(driver);
        self.schedule(at, Event::Disk(driver, token, event));
    }

    /// When an operation ends that begins now.
    fn disk_end(&mut self, driver: DriverId) -> Instant {
        let drawn = self.draw(self.config.disk_latency);
        let faults = self.disk_of(driver).faults;
        if faults.slow_per_million > 0 && self.chance(faults.slow_per_million) {
            self.count("slow_disk");
            return self.now + drawn * faults.slow_factor;
        }
        self.now + drawn
    }

    fn disk_of(&mut self, driver: DriverId) -> &mut Disk {
        let address = self.driver(driver).node;
        &mut self.nodes.get_mut(&address).expect("a driver is on a node").disk
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
        let (rng, counts) = (&mut self.rng, &mut self.counts);
        let opened = match event {
            DiskEvent::List { directory } => return Outcome::Listed(disk.list(&directory)),
            DiskEvent::Remove { path } => return disk.remove(&path).map_or_else(Outcome::Failed, |()| Outcome::Done),
            DiskEvent::Open { path } => disk.flush(rng, counts).and_then(|()| disk.open(&path)),
            DiskEvent::Prepare { path, bytes } => {
                disk.flush(rng, counts).and_then(|()| disk.prepare(&path, bytes, counts))
            }
            DiskEvent::Read { file, number, offset, mut buf } => {
                let result = disk.read(number, offset, &mut buf, rng, counts);
                self.leave_file(driver, file);
                return Outcome::Read { buf, result };
            }
            DiskEvent::Write { file, number, offset, buf, claims } => {
                let result = disk.write(number, offset, &buf, claims, rng, counts);
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

    pub(super) fn writes_in_flight(&self, address: IpAddr) -> usize {
        let theirs = |event: &Event| match event {
            Event::Disk(driver, _, DiskEvent::Write { .. }) => self.drivers[driver.0 as usize].node == address,
            _ => false,
        };
        self.queue.values().filter(|event| theirs(event)).count()
    }

    /// Ends what is in flight on a crashing node's disk somewhere in the middle.
    pub(super) fn crash_disk(&mut self, address: IpAddr) {
        let theirs =
            |event: &Event| matches!(event, Event::Disk(driver, ..) if self.drivers[driver.0 as usize].node == address);
        let keys: Vec<_> = self.queue.iter().filter(|(_, event)| theirs(event)).map(|(&key, _)| key).collect();
        for key in keys {
            let Some(Event::Disk(_, _, event)) = self.queue.remove(&key) else { unreachable!("just found") };
            let disk = &mut self.nodes.get_mut(&address).expect("it crashes").disk;
            let (rng, counts) = (&mut self.rng, &mut self.counts);
            match event {
                DiskEvent::Write { number, offset, buf, .. } => {
                    let kind = match disk.land_some(number, offset, &buf, rng) {
                        0 => "unflushed_write_lost",
                        landed if landed < buf.len() => "torn_write",
                        _ => "unacknowledged_write_landed",
                    };
                    self.count(kind);
                }
                DiskEvent::Prepare { path, bytes } => match rng.u8(0..3) {
                    0 => {}
                    1 => drop(disk.prepare(&super::store::temporary_name(&path), bytes, counts)),
                    _ => drop(disk.prepare(&path, bytes, counts)),
                },
                DiskEvent::Remove { path } if rng.bool() => drop(disk.remove(&path)),
                _ => {}
            }
        }
        self.nodes.get_mut(&address).expect("it crashes").disk.lose_cache(&mut self.rng);
    }
}
