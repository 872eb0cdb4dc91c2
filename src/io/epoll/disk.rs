//! Files: reads and writes on the threads of two pools, the rest on the background thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::driver::EpollDriver;
use super::pool::{Direction, Transfer, Transferred};
use crate::base::Buf;
use crate::io::device::{Part, Volume};
use crate::io::op::{FileId, Outcome, Token};
use crate::io::worker::{self, Job, Opened};

/// An open file.
pub(super) struct OpenFile {
    descriptor: Arc<OwnedFd>,
    /// Which part of a device it is.
    part: Option<Part>,
    in_flight: u32,
    /// The close that waits for the operations in flight.
    closing: Option<Token>,
}

impl EpollDriver {
    pub(super) fn start_job(&mut self, token: Token, job: Job) {
        if let Err(error) = self.worker.start(token, job) {
            self.complete(token, Outcome::Failed(error));
        }
    }

    /// Takes in what the threads have done.
    pub(super) fn collect_from_threads(&mut self) {
        while let Some((token, answer)) = self.worker.poll_answer() {
            let outcome = worker::outcome(answer, |opened| self.take_in(opened));
            self.complete(token, outcome);
        }
        while let Some(transferred) = self.writers.poll_transferred() {
            self.transferred(transferred);
        }
        while let Some(transferred) = self.readers.poll_transferred() {
            self.transferred(transferred);
        }
    }

    /// From now on the files of the volume's directory are on its device.
    ///
    /// # Panics
    /// When files were used before.
    pub fn mount(&mut self, volume: Volume) {
        self.worker.mount(volume);
    }

    fn take_in(&mut self, opened: Opened) -> FileId {
        let (descriptor, part) = match opened {
            Opened::File(descriptor, _) => (Arc::new(descriptor), None),
            Opened::Part(device, part) => (device, Some(part)),
        };
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(file, OpenFile { descriptor, part, in_flight: 0, closing: None });
        file
    }

    pub(super) fn close_file(&mut self, token: Token, file: FileId) {
        match self.files.get_mut(&file).filter(|open| open.closing.is_none()) {
            Some(open) => {
                open.closing = Some(token);
                self.finish_close_file(file);
            }
            None => self.complete(token, Outcome::Failed(bad_file())),
        }
    }

    fn finish_close_file(&mut self, file: FileId) {
        let Some(open) = self.files.get(&file) else { return };
        let Some(token) = open.closing.filter(|_| open.in_flight == 0) else { return };
        self.files.remove(&file);
        self.complete(token, Outcome::Done);
    }

    pub(super) fn transfer(&mut self, token: Token, direction: Direction, file: FileId, offset: u64, buf: Buf) {
        let Some(open) = self.files.get_mut(&file).filter(|open| open.closing.is_none()) else {
            return self.complete(token, outcome(direction, buf, Err(bad_file())));
        };
        let (offset, bytes) = match (open.part, direction) {
            (None, _) => (offset, buf.len()),
            (Some(part), Direction::Read) => part.read(offset, buf.len()),
            (Some(part), Direction::Write) => match part.write(offset, buf.len()) {
                Ok(offset) => (offset, buf.len()),
                Err(error) => return self.complete(token, outcome(direction, buf, Err(error))),
            },
        };
        open.in_flight += 1;
        let transfer =
            Transfer { token, file, direction, descriptor: Arc::clone(&open.descriptor), offset, bytes, buf };
        let pool = match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers,
        };
        if let Err(refused) = pool.start(transfer) {
            self.transferred(refused);
        }
    }

    fn transferred(&mut self, Transferred { transfer, result }: Transferred) {
        let Transfer { token, file, direction, buf, .. } = transfer;
        self.counters.bytes += *result.as_ref().unwrap_or(&0) as u64;
        self.complete(token, outcome(direction, buf, result));
        let open = self.files.get_mut(&file).expect("a file stays open while operations are in flight on it");
        open.in_flight -= 1;
        self.finish_close_file(file);
    }
}

fn outcome(direction: Direction, buf: Buf, result: io::Result<usize>) -> Outcome {
    match direction {
        Direction::Read => Outcome::Read { buf, result },
        Direction::Write => Outcome::Written { buf, result },
    }
}

fn bad_file() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}
