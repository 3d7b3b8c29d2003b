//! One heap for all threads.
//!
//! By default glibc gives each thread a heap of its own. Such a heap grows one page and one system
//! call at a time, and memory that one thread frees is not available to the others. The guard's
//! threads rarely work at the same time, so one heap makes a start cheaper and keeps memory use
//! flat over millions of objects.

/// Makes all threads share the heap of the first. Does nothing where the C library is not glibc.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the allocator of a running program can be told nothing in any other way"
)]
pub(crate) fn share() {
    use nix::libc::{M_ARENA_MAX, mallopt};

    // SAFETY: mallopt takes two numbers and sets one parameter of the allocator, under the
    // allocator's own lock. If it refuses, nothing has changed.
    unsafe {
        mallopt(M_ARENA_MAX, 1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn share() {}
