//! Files on the ring, and on the background thread.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::driver::UringDriver;
use super::flight::{Flight, Target, Transfer};
use crate::base::Buf;
use crate::io::device::{Part, Volume};
use crate::io::op::{FileId, Outcome, Token};
use crate::io::worker::{self, Job, Opened};

/// An open file.
pub(super) struct OpenFile {
    descriptor: Arc<OwnedFd>,
    /// Where the file is registered with the ring; of a part, where its device is.
    fixed: Option<u32>,
    /// Which part of a device it is.
    part: Option<Part>,
    in_flight: u32,
    /// The close that waits for the operations in flight.
    closing: Option<Token>,
}

impl OpenFile {
    fn target(&self) -> Target {
        self.fixed.map_or(Target::Fd(self.descriptor.as_raw_fd()), Target::Fixed)
    }
}

impl UringDriver {
    pub(super) fn start_job(&mut self, token: Token, job: Job) {
        if let Err(error) = self.worker.start(token, job) {
            self.complete(token, Outcome::Failed(error));
        }
    }

    pub(super) fn collect_answers(&mut self) {
        while let Some((token, answer)) = self.worker.poll_answer() {
            let outcome = worker::outcome(answer, |opened| self.take_in(opened));
            self.complete(token, outcome);
        }
    }

    /// From now on the files of the volume's directory are on its device. The device is registered once for all of them, and
    /// stays this ring's until the kernel has finished its last operation, as with [`UringDriver::hold`].
    ///
    /// # Panics
    /// When files were used before.
    pub fn mount(&mut self, volume: Volume) {
        self.device = self.register_file(volume.descriptor());
        self.worker.mount(volume);
    }

    fn take_in(&mut self, opened: Opened) -> FileId {
        let (descriptor, fixed, part) = match opened {
            Opened::File(descriptor, _) => {
                let fixed = self.register_file(&descriptor);
                (Arc::new(descriptor), fixed, None)
            }
            Opened::Part(device, part) => (device, self.device, Some(part)),
        };
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(file, OpenFile { descriptor, fixed, part, in_flight: 0, closing: None });
        file
    }

    /// Registers a file with the ring; `None` when the table is full or the kernel refuses.
    pub(super) fn register_file(&mut self, descriptor: &OwnedFd) -> Option<u32> {
        let index = self.free_files.pop()?;
        if self.ring.submitter().register_files_update(index, &[descriptor.as_raw_fd()]).is_err() {
            self.free_files.push(index);
            return None;
        }
        Some(index)
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
        if let Some(index) = open.fixed.filter(|_| open.part.is_none())
            && self.ring.submitter().register_files_update(index, &[-1]).is_ok()
        {
            self.free_files.push(index);
        }
        self.files.remove(&file);
        self.complete(token, Outcome::Done);
    }

    pub(super) fn read(&mut self, token: Token, file: FileId, offset: u64, buf: Buf) {
        let part = self.files.get(&file).and_then(|open| open.part);
        let (offset, bytes) = part.map_or((offset, buf.len()), |part| part.read(offset, buf.len()));
        if bytes == 0 && part.is_some() {
            return self.complete(token, Outcome::Read { buf, result: Ok(0) });
        }
        match self.transfer(token, file, offset, bytes, buf) {
            Ok(transfer) => {
                self.ring.start(Flight::Read(transfer));
            }
            Err(buf) => self.complete(token, Outcome::Read { buf, result: Err(bad_file()) }),
        }
    }

    pub(super) fn write(&mut self, token: Token, file: FileId, offset: u64, buf: Buf) {
        let part = self.files.get(&file).and_then(|open| open.part);
        let offset = match part.map_or(Ok(offset), |part| part.write(offset, buf.len())) {
            Ok(offset) => offset,
            Err(error) => return self.complete(token, Outcome::Written { buf, result: Err(error) }),
        };
        match self.transfer(token, file, offset, buf.len(), buf) {
            Ok(transfer) => {
                self.ring.start(Flight::Write(transfer));
            }
            Err(buf) => self.complete(token, Outcome::Written { buf, result: Err(bad_file()) }),
        }
    }

    /// Counts an operation on `file`, or gives its buffer back when there is no such file.
    fn transfer(
        &mut self,
        token: Token,
        file: FileId,
        offset: u64,
        bytes: usize,
        mut buf: Buf,
    ) -> Result<Transfer, Buf> {
        let Some(open) = self.files.get_mut(&file).filter(|open| open.closing.is_none()) else { return Err(buf) };
        open.in_flight += 1;
        let target = open.target();
        let registered = self.buffers.index(&self.ring.submitter(), &mut buf);
        let bytes = u32::try_from(bytes).expect("file buffers are smaller than 4 GiB");
        Ok(Transfer { token, file, target, offset, bytes, buf, registered })
    }

    pub(super) fn transferred(&mut self, flight: Flight, result: i32) {
        let result = match usize::try_from(result) {
            Ok(bytes) => {
                self.ring.counters.bytes += bytes as u64;
                Ok(bytes)
            }
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        };
        let (token, file, outcome) = match flight {
            Flight::Read(Transfer { token, file, buf, .. }) => (token, file, Outcome::Read { buf, result }),
            Flight::Write(Transfer { token, file, buf, .. }) => (token, file, Outcome::Written { buf, result }),
            _ => unreachable!("dispatched by kind"),
        };
        self.complete(token, outcome);
        let open = self.files.get_mut(&file).expect("a file stays open while operations are in flight on it");
        open.in_flight -= 1;
        self.finish_close_file(file);
    }
}

fn bad_file() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}
