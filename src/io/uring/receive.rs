//! Receive buffers: lent to the kernel through a shared ring, filled by receives, read by the caller, lent again.

use std::io;
use std::ptr::NonNull;

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::flight::RECEIVE_GROUP;
use crate::base::Buf;
use crate::io::op::Chunk;

/// Says [`Chunk::is_end`], and refers to no buffer.
pub(super) const END: Chunk = Chunk { buffer: u32::MAX, len: 0 };

/// The receive buffers of one ring.
pub(super) struct ReceiveBuffers {
    /// The kernel's queue of free buffers, `entries` long, in `ring_memory`.
    ring: NonNull<BufRingEntry>,
    /// The first buffer, in `data_memory`.
    data: NonNull<u8>,
    entries: u16,
    buffer_bytes: u32,
    /// How many buffers have been lent, ever; wraps.
    tail: u16,
    /// For each buffer, how many bytes the caller holds in it; `None` while it is lent to the kernel.
    held: Vec<Option<u32>>,
    _ring_memory: Buf,
    _data_memory: Buf,
}

impl ReceiveBuffers {
    /// Allocates the buffers and lends all of them. The caller keeps the value until the ring can no longer use it.
    pub(super) fn register(submitter: &Submitter<'_>, entries: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(entries.is_power_of_two() && entries <= 1 << 15, "{entries} receive buffers");
        assert!(buffer_bytes > 0, "receive buffers hold something");
        let mut ring_memory = Buf::zeroed(usize::from(entries) * size_of::<BufRingEntry>());
        let mut data_memory = Buf::zeroed(usize::from(entries) * buffer_bytes as usize);
        let ring = NonNull::new(ring_memory.as_mut_ptr().cast::<BufRingEntry>()).expect("allocated");
        let data = NonNull::new(data_memory.as_mut_ptr()).expect("allocated");
        // SAFETY: the memory is page-aligned, holds `entries` entries, and lives as long as the value, which the caller
        // keeps for as long as the ring can use it.
        #[expect(unsafe_code, reason = "shares memory with the kernel")]
        unsafe {
            submitter.register_buf_ring_with_flags(ring.as_ptr() as u64, entries, RECEIVE_GROUP, 0)?;
        }
        let held = vec![Some(0); usize::from(entries)];
        let mut buffers = Self {
            ring,
            data,
            entries,
            buffer_bytes,
            tail: 0,
            held,
            _ring_memory: ring_memory,
            _data_memory: data_memory,
        };
        for buffer in 0..entries {
            buffers.release(Chunk { buffer: u32::from(buffer), len: 0 });
        }
        Ok(buffers)
    }

    /// Takes over `len` bytes that the kernel has put into `buffer`, as a completion says.
    pub(super) fn take(&mut self, buffer: u16, len: u32) -> Chunk {
        let held = &mut self.held[usize::from(buffer)];
        assert!(held.is_none(), "the kernel fills only buffers lent to it");
        assert!(len <= self.buffer_bytes, "the kernel fills a buffer at most");
        *held = Some(len);
        Chunk { buffer: u32::from(buffer), len }
    }

    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        if *chunk == END {
            return &[];
        }
        assert_eq!(self.held[chunk.buffer as usize], Some(chunk.len), "a chunk of this driver, not yet released");
        // SAFETY: the buffer is in bounds, initialised (zeroed at birth), and held by the caller: the kernel does not write
        // to it before `release`, which needs `&mut self`.
        #[expect(unsafe_code, reason = "the rest of the memory may be changing, so that only this part may be a slice")]
        unsafe {
            std::slice::from_raw_parts(self.address(chunk.buffer), chunk.len as usize)
        }
    }

    /// Whether the caller holds every buffer, so that only a release can give the kernel another one.
    pub(super) fn are_all_held(&self) -> bool {
        self.held.iter().all(Option::is_some)
    }

    /// Lends a buffer to the kernel again.
    pub(super) fn release(&mut self, chunk: Chunk) {
        if chunk == END {
            return;
        }
        let held = &mut self.held[chunk.buffer as usize];
        assert_eq!(*held, Some(chunk.len), "a chunk of this driver, not yet released");
        *held = None;
        let index = usize::from(self.tail & (self.entries - 1));
        self.tail = self.tail.wrapping_add(1);
        let address = self.address(chunk.buffer) as u64;
        // SAFETY: `index < entries`, so the entry is in bounds; the kernel does not touch an entry at or beyond the tail. The
        // tail overlays a reserved field of the first entry, hence only single fields of entries may be written. The kernel
        // reads the queue on this very thread, inside system calls, so that the order of volatile writes is enough.
        #[expect(unsafe_code, reason = "shares memory with the kernel")]
        unsafe {
            let entry = self.ring.as_ptr().add(index).cast::<u8>();
            entry.cast::<u64>().write_volatile(address);
            entry.add(8).cast::<u32>().write_volatile(self.buffer_bytes);
            entry.add(12).cast::<u16>().write_volatile(chunk.buffer as u16);
            BufRingEntry::tail(self.ring.as_ptr()).cast_mut().write_volatile(self.tail);
        }
    }

    fn address(&self, buffer: u32) -> *mut u8 {
        assert!(buffer < u32::from(self.entries), "a buffer of this ring");
        // SAFETY: in bounds of `data_memory`, which holds `entries` buffers.
        #[expect(unsafe_code, reason = "pointer arithmetic within one allocation")]
        unsafe {
            self.data.as_ptr().add(buffer as usize * self.buffer_bytes as usize)
        }
    }
}
