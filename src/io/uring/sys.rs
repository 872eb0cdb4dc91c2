//! The two system calls for which the `io-uring` crate does not remember a registered ring.

use std::io;
use std::os::fd::RawFd;

use io_uring::types::SubmitArgs;

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// `struct io_uring_rsrc_update` of the kernel.
#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// How system calls name a ring.
#[derive(Clone, Copy)]
pub(super) enum RingName {
    Fd(RawFd),
    Registered(u32),
}

/// Registers `ring` with the calling thread.
pub(super) fn register_ring(ring: RawFd) -> io::Result<u32> {
    let mut update = RingFdUpdate { offset: u32::MAX, reserved: 0, data: ring as u64 };
    register(ring, REGISTER_RING_FDS, &mut update)?;
    Ok(update.offset)
}

/// Takes a registration back: until then the calling thread keeps the ring alive.
pub(super) fn unregister_ring(ring: RawFd, index: u32) -> io::Result<()> {
    register(ring, UNREGISTER_RING_FDS, &mut RingFdUpdate { offset: index, reserved: 0, data: 0 })
}

fn register(ring: RawFd, opcode: u32, update: &mut RingFdUpdate) -> io::Result<()> {
    // SAFETY: both operations read and write exactly one `io_uring_rsrc_update`, exclusively borrowed for the call.
    #[expect(unsafe_code, reason = "system call")]
    let result = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, opcode, std::ptr::from_mut(update), 1_u32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Submits `submit` queued entries, runs completion work, and waits for `want` completions as `arguments` say.
///
/// # Safety
/// The queued entries' memory must be valid until their completions.
#[expect(unsafe_code, reason = "hands the kernel whatever the submission queue refers to")]
pub(super) unsafe fn enter(name: RingName, submit: u32, want: u32, arguments: &SubmitArgs<'_, '_>) -> io::Result<u32> {
    let (ring, flags) = match name {
        RingName::Fd(fd) => (fd as u32, 0),
        RingName::Registered(index) => (index, ENTER_REGISTERED_RING),
    };
    let flags = flags | ENTER_GETEVENTS | ENTER_EXT_ARG;
    // SAFETY: `arguments` is an `io_uring_getevents_arg` of the size given, alive with what it refers to for the call; for
    // the queued entries the caller answers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring,
            submit,
            want,
            flags,
            std::ptr::from_ref(arguments),
            size_of_val(arguments),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as u32) }
}
