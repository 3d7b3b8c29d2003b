//! One heap for all threads.
//!
//! Left to itself, glibc gives a second thread a heap of its own, which grows by a page and a
//! system call at a time, and what one thread frees the other cannot use. The guard's threads take
//! turns more than they meet: one heap costs a start less, and memory stays flat over millions of
//! objects.

/// Has all threads share the heap of the first. Does nothing where the C library is not glibc.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the allocator of a running program can be told nothing in any other way"
)]
pub(crate) fn share() {
    use nix::libc::{M_ARENA_MAX, mallopt};

    // SAFETY: mallopt takes two numbers and sets one of the allocator's, under the allocator's own
    // lock. Where it refuses, nothing has changed.
    unsafe {
        mallopt(M_ARENA_MAX, 1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn share() {}
