//! Resource limits of this process: descriptors, memory, core files.

use crate::metrics::usage::descriptors;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// The minimum number of descriptors. 128 are reserved for the database, pictures and the log; each
/// connection takes one, and a second one while it sends or receives a picture.
const MIN_DESCRIPTORS: u64 = 256;

/// Raises the soft limit of descriptors to the hard limit and returns it. It is an error if the
/// limit is too low.
pub fn raise_descriptors() -> Result<u64, String> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit);
    let now = descriptors();
    match raised {
        _ if now >= MIN_DESCRIPTORS => Ok(now),
        _ => Err(format!(
            "{now} descriptors are too few to serve: allow at least {MIN_DESCRIPTORS} (ulimit -n, LimitNOFILE)"
        )),
    }
}

/// The ID of the user who owns the files that this process creates.
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// Limits the memory of this process in bytes, above which it aborts, and disables core files,
/// which would contain data of clients.
pub fn limit_memory(bytes: u64) {
    let limit = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    // Setting a limit fails only if the system has set a lower one.
    let _ = setrlimit(Resource::Data, limit(bytes));
    let _ = setrlimit(Resource::Core, limit(0));
}

/// The value of GLIBC_TUNABLES for workers: our tunables of malloc
/// (<https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html>),
/// followed by the existing value, which has precedence.
pub fn malloc_tunables(others: Option<String>) -> String {
    // Each arena keeps freed memory, so there are only two. Blocks from 1 MiB on, those of pictures
    // and Argon2id, return to the system when they are freed. Each thread caches two freed blocks
    // per size instead of seven: with 256 threads 14 MB instead of 19, at the same speed.
    let ours =
        "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=1048576:glibc.malloc.tcache_count=2";
    others.map_or_else(|| ours.into(), |others| format!("{ours}:{others}"))
}
