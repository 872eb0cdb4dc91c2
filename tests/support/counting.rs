//! An allocator that tells of every allocation.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which calls this before each allocation.
pub struct Counting(pub fn());

// SAFETY: every call goes to the system's allocator unchanged.
#[expect(unsafe_code, reason = "a counting allocator is one")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        (self.0)();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        (self.0)();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}
