//! The system's allocator: large blocks go back to the system when they are freed.
//!
//! glibc raises the size from which it does so with each large block that is freed; a single hash
//! of a password, or one large body, would be kept for good, once for each thread that made one.
//! Other C libraries do not.

/// Blocks of this many bytes are always given back: the largest body, and a password's hash.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: i32 = 1_024 * 1_024;

/// Has large blocks given back; called once, before there are any.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt(3) sets a number of the allocator under its own lock; any value is legal.
        let set = unsafe { nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
        if set != 1 {
            tracing::debug!("the allocator keeps large blocks");
        }
    }
}
