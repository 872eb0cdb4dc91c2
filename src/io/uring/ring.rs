//! The ring itself: what has been started, and the memory that it uses.
//!
//! Everything the kernel may touch is owned here, and given up only by the completion that ends its operation. That makes
//! the rest of the driver safe code.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::flight::Flight;
use super::options::{Counters, Options};
use super::receive::ReceiveBuffers;
use super::sys::{self, RingName};
use crate::io::slab::Slab;

/// The user data of operations that own no memory and whose completions say nothing.
const SILENT: u64 = u64::MAX;

/// A completion queue that is halved for want of memory is not made smaller than this.
const QUEUE_MIN: u32 = 128;

/// How long a ring that goes away waits for the kernel. Canceled operations end at once and disk writes in milliseconds,
/// so that only a broken device takes longer.
const DRAIN: Duration = Duration::from_secs(5);

/// One completion.
pub(super) struct Event {
    pub(super) key: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
    /// The operation, with its memory, when this is its last completion.
    pub(super) ended: Option<Flight>,
    /// The socket that an accept has brought.
    pub(super) accepted: Option<OwnedFd>,
}

/// An io_uring instance with the operations in flight on it.
pub(super) struct Ring {
    ring: ManuallyDrop<IoUring>,
    pub(super) receive: ManuallyDrop<ReceiveBuffers>,
    flights: ManuallyDrop<Slab<Flight>>,
    in_flight: usize,
    /// Entries for which the submission queue had no place.
    backlog: VecDeque<squeue::Entry>,
    /// Completions taken off the queue; kept for its memory.
    taken: VecDeque<(u64, i32, u32)>,
    name: RingName,
    pub(super) setup: &'static str,
    pub(super) counters: Counters,
}

impl Ring {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let (ring, setup) = set_up(options)?;
        let params = ring.params();
        if !params.is_feature_nodrop() || !params.is_feature_ext_arg() {
            // Without them completions could be lost, and a wait could not be bounded.
            return Err(io::ErrorKind::Unsupported.into());
        }
        let receive =
            ReceiveBuffers::register(&ring.submitter(), options.receive_buffers, options.receive_buffer_bytes)?;
        let fd = ring.as_raw_fd();
        let name = sys::register_ring(fd).map_or(RingName::Fd(fd), RingName::Registered);
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            receive: ManuallyDrop::new(receive),
            flights: ManuallyDrop::new(Slab::new()),
            in_flight: 0,
            backlog: VecDeque::new(),
            taken: VecDeque::new(),
            name,
            setup,
            counters: Counters::default(),
        })
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    pub(super) fn is_name_registered(&self) -> bool {
        matches!(self.name, RingName::Registered(_))
    }

    /// Queues an operation and keeps it until its last completion.
    pub(super) fn start(&mut self, flight: Flight) -> u64 {
        let key = self.flights.insert(flight);
        self.in_flight += 1;
        let entry = self.flights.get_mut(key).expect("inserted above").entry().user_data(key);
        self.push(entry);
        key
    }

    /// Asks the kernel to end an operation early; it ends with a completion in any case.
    pub(super) fn cancel(&mut self, key: u64) {
        self.push(opcode::AsyncCancel::new(key).build().user_data(SILENT));
    }

    /// The operation in flight under `key`.
    pub(super) fn flight(&self, key: u64) -> Option<&Flight> {
        self.flights.get(key)
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.counters.submits += 1;
        if !self.backlog.is_empty() || !self.push_now(&entry) {
            self.backlog.push_back(entry);
        }
    }

    fn push_now(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the entry was made by `Flight::entry` for an operation in `flights`, which owns the memory until its last
        // completion and is leaked rather than freed before it; or it is a cancellation, which has no memory.
        #[expect(unsafe_code, reason = "hands memory to the kernel")]
        unsafe {
            self.ring.submission().push(entry).is_ok()
        }
    }

    /// Submits what is queued and waits for `want` completions, at most `timeout` long. That the time is over, or a signal
    /// came, is not an error.
    pub(super) fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        loop {
            while let Some(entry) = self.backlog.pop_front() {
                if !self.push_now(&entry) {
                    self.backlog.push_front(entry);
                    break;
                }
            }
            let last = self.backlog.is_empty();
            let submit = self.ring.submission().len() as u32;
            self.enter_once(submit, if last { want } else { 0 }, timeout)?;
            let submitted = submit - self.ring.submission().len() as u32;
            if last || submitted == 0 {
                return Ok(());
            }
        }
    }

    fn enter_once(&mut self, submit: u32, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.enters += 1;
        let timespec = timeout.map(Timespec::from);
        let mut arguments = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            arguments = arguments.timespec(timespec);
        }
        // SAFETY: the queue holds only entries from `push_now`.
        #[expect(unsafe_code, reason = "hands memory to the kernel")]
        let result = unsafe { sys::enter(self.name, submit, want, &arguments) };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The last two say that completions have to be taken before more can be submitted, which comes next.
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// The next completion. One at a time, because a later one of the same operation may end it.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        if self.taken.is_empty() {
            let queue = self.ring.completion();
            self.taken.extend(queue.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        }
        loop {
            let (key, result, flags) = self.taken.pop_front()?;
            self.counters.completions += 1;
            if key != SILENT {
                return Some(self.event(key, result, flags));
            }
        }
    }

    fn event(&mut self, key: u64, result: i32, flags: u32) -> Event {
        let flight = self.flights.get(key).expect("an operation stays until its last completion");
        let accepted = (matches!(flight, Flight::Accept { .. }) && result >= 0).then(|| {
            // SAFETY: the kernel has just installed this descriptor for us, and reports it once.
            #[expect(unsafe_code, reason = "takes ownership of a new descriptor")]
            unsafe {
                OwnedFd::from_raw_fd(result)
            }
        });
        let ended = if cqueue::more(flags) { None } else { self.flights.remove(key) };
        self.in_flight -= usize::from(ended.is_some());
        Event { key, result, flags, ended, accepted }
    }

    /// Ends all operations. False when the kernel may still use their memory.
    fn drain(&mut self) -> bool {
        for key in self.flights.keys() {
            self.cancel(key);
        }
        let deadline = Instant::now() + DRAIN;
        while self.in_flight > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() || self.enter(1, Some(rest)).is_err() {
                return false;
            }
            while self.next_event().is_some() {}
        }
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let drained = self.drain();
        if let RingName::Registered(index) = self.name {
            // The registration would keep the ring alive for as long as the thread.
            let _ = sys::unregister_ring(self.ring.as_raw_fd(), index);
        }
        if drained {
            // Files registered to be held are let go now; the kernel frees a closed ring only some time later.
            let _ = self.ring.submitter().unregister_files();
            let _ = self.ring.submitter().unregister_buf_ring(super::flight::RECEIVE_GROUP);
        }
        // SAFETY: each value is dropped at most once, here, and not used again. Without operations in flight the kernel does
        // not touch the memory of the other two; otherwise they are leaked.
        #[expect(unsafe_code, reason = "the order of release, and whether at all, depends on the kernel")]
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            if drained {
                ManuallyDrop::drop(&mut self.flights);
                ManuallyDrop::drop(&mut self.receive);
            }
        }
    }
}

/// The best set-up that this kernel accepts, with smaller queues if the process may not lock the memory of the usual ones.
fn set_up(options: &Options) -> io::Result<(IoUring, &'static str)> {
    let mut smaller = *options;
    loop {
        match set_up_with(&smaller) {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory && smaller.completion_entries > QUEUE_MIN => {
                smaller.submission_entries = (smaller.submission_entries / 2).max(QUEUE_MIN / 4);
                smaller.completion_entries /= 2;
            }
            result => {
                if result.is_ok() && smaller != *options {
                    tracing::warn!(
                        completion_entries = smaller.completion_entries,
                        "the ring's queues are smaller than usual: the process may not lock more memory; raise the limit with \
                         `ulimit -l`, or LimitMEMLOCK= in a systemd unit"
                    );
                }
                return result;
            }
        }
    }
}

fn set_up_with(options: &Options) -> io::Result<(IoUring, &'static str)> {
    let attempts = [
        "single_issuer defer_taskrun submit_all no_sqarray",
        "single_issuer defer_taskrun submit_all",
        "coop_taskrun submit_all",
        "plain",
    ];
    let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
    for (level, name) in attempts.into_iter().enumerate() {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_cqsize(options.completion_entries);
        if level <= 2 {
            builder.setup_submit_all();
        }
        if level <= 1 {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        if level == 0 {
            builder.setup_no_sqarray();
        }
        if level == 2 {
            builder.setup_coop_taskrun();
        }
        match builder.build(options.submission_entries) {
            Ok(ring) => return Ok((ring, name)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = error,
            Err(error) => return Err(error),
        }
    }
    Err(refusal)
}
