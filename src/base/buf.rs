use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Alignment of every buffer: a page, which satisfies every direct-I/O memory alignment in use.
pub(crate) const BUF_ALIGN: usize = 4096;

/// A page-aligned, zero-initialised buffer of fixed capacity for direct I/O.
///
/// A buffer is moved into an operation and comes back with its completion, so nobody can touch, or free, memory that the
/// kernel is still using.
pub struct Buf {
    memory: NonNull<u8>,
    capacity: usize,
    len: usize,
    registration: Option<Registration>,
}

/// Where a driver has registered a buffer with the kernel. The registration tells its driver when the buffer is dropped, so
/// that the driver can use the index again, and only then.
pub(crate) struct Registration {
    /// Which driver: compared by address, which stays taken for as long as a buffer refers to it.
    owner: Arc<Sender<u16>>,
    index: u16,
}

impl Registration {
    /// The place `index` in the table of the driver that listens to `owner`.
    pub(crate) fn new(owner: &Arc<Sender<u16>>, index: u16) -> Self {
        Self { owner: Arc::clone(owner), index }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // A driver that has gone has no use for the index.
        let _ = self.owner.send(self.index);
    }
}

// SAFETY: a `Buf` owns its allocation exclusively, like a `Box<[u8]>`.
#[expect(unsafe_code, reason = "the raw pointer is owned memory")]
unsafe impl Send for Buf {}

impl Buf {
    /// A zeroed buffer of at least `bytes` bytes, rounded up to whole pages; its length is its capacity.
    pub fn zeroed(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(BUF_ALIGN);
        let layout = Layout::from_size_align(capacity, BUF_ALIGN).expect("buffer sizes are far below isize::MAX");
        // SAFETY: the layout has a non-zero size.
        #[expect(unsafe_code, reason = "std has no aligned byte vector")]
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        Self { memory, capacity, len: capacity, registration: None }
    }

    /// Bytes allocated; a multiple of the page size.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets how many bytes, from the start, the buffer shows and an operation transfers.
    ///
    /// # Panics
    /// When `len` is beyond the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "length {len} is beyond the capacity {}", self.capacity);
        self.len = len;
    }

    /// The index under which the driver that listens to `owner` has registered this memory with the kernel. Another
    /// driver's index says nothing in this one's table.
    pub(crate) fn registration(&self, owner: &Arc<Sender<u16>>) -> Option<u16> {
        self.registration.as_ref().filter(|held| Arc::ptr_eq(&held.owner, owner)).map(|held| held.index)
    }

    /// Notes a driver's registration, in place of another driver's; it lasts as long as the buffer.
    pub(crate) fn set_registration(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let layout = Layout::from_size_align(self.capacity, BUF_ALIGN).expect("checked when allocated");
        // SAFETY: allocated in `zeroed` with this very layout, and owned.
        #[expect(unsafe_code, reason = "std has no aligned byte vector")]
        unsafe {
            dealloc(self.memory.as_ptr(), layout);
        }
    }
}

impl Deref for Buf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len <= capacity` bytes are allocated and initialised (zeroed at birth).
        #[expect(unsafe_code, reason = "view of owned memory")]
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr(), self.len)
        }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is exclusive.
        #[expect(unsafe_code, reason = "view of owned memory")]
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len)
        }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buf").field("len", &self.len).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_whole_pages() {
        let buf = Buf::zeroed(5000);
        assert_eq!(buf.capacity(), 8192);
        assert_eq!(buf.as_ptr() as usize % BUF_ALIGN, 0);
        assert!(buf.iter().all(|&byte| byte == 0));
    }
}
