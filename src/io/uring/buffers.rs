//! File buffers registered with the kernel, so that it need not pin their pages for every operation.
//!
//! A buffer is registered when it is first seen and keeps its index until it is dropped. Its drop reports the index here,
//! and only then the index is used again; a buffer in flight cannot be dropped, because its operation owns it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use io_uring::Submitter;

use crate::base::{Buf, Registration};

/// The table of registered buffers.
pub(super) struct FixedBuffers {
    owner: Arc<Sender<u16>>,
    dropped: Receiver<u16>,
    free: Vec<u16>,
    usable: bool,
}

impl FixedBuffers {
    /// A table of `places`; without any place where the kernel refuses.
    pub(super) fn new(submitter: &Submitter<'_>, places: u16) -> Self {
        let (owner, dropped) = channel();
        let usable = places > 0 && submitter.register_buffers_sparse(u32::from(places)).is_ok();
        Self { owner: Arc::new(owner), dropped, free: (0..places).rev().collect(), usable }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// Where `buf` is registered, now if not before. `None` when it cannot be.
    pub(super) fn index(&mut self, submitter: &Submitter<'_>, buf: &mut Buf) -> Option<u16> {
        if let Some(index) = buf.registration(&self.owner) {
            return Some(index);
        }
        if !self.usable {
            return None;
        }
        self.collect(submitter);
        let index = self.free.pop()?;
        let len = buf.len();
        buf.set_len(buf.capacity());
        let memory = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.capacity() };
        buf.set_len(len);
        if !update(submitter, index, memory) {
            // Too much memory is locked already. It does not get better, and asking costs a system call each time.
            self.usable = false;
            tracing::warn!(
                "the kernel registers no more file buffers: the process may not lock more memory. Reads and writes cost a little \
                 more; raise the limit with `ulimit -l`, or LimitMEMLOCK= in a systemd unit"
            );
            return None;
        }
        buf.set_registration(Registration::new(&self.owner, index));
        Some(index)
    }

    /// Unpins the memory of dropped buffers.
    fn collect(&mut self, submitter: &Submitter<'_>) {
        while let Ok(index) = self.dropped.try_recv() {
            if update(submitter, index, libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }) {
                self.free.push(index);
            }
        }
    }
}

fn update(submitter: &Submitter<'_>, index: u16, memory: libc::iovec) -> bool {
    // SAFETY: the kernel pins the pages, and keeps them when the process frees the memory: the index is then stale, but it
    // is not used any more, because the only thing that knew it was the buffer.
    #[expect(unsafe_code, reason = "hands memory to the kernel")]
    unsafe {
        submitter.register_buffers_update(u32::from(index), &[memory], None).is_ok()
    }
}
