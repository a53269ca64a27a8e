//! Limits of this process: descriptors, memory, core files.

use crate::metrics::usage::descriptors;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// Fewer descriptors than this are not enough to serve: each connection takes two.
const FEWEST: u64 = 256;

/// Raises the soft limit of descriptors to the hard one, and says how many there are.
///
/// # Errors
/// A sentence, if they are too few.
pub fn raise_descriptors() -> Result<u64, String> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit);
    let now = descriptors();
    match raised {
        _ if now >= FEWEST => Ok(now),
        _ => Err(format!(
            "{now} descriptors are too few to serve: allow at least {FEWEST} (ulimit -n, LimitNOFILE)"
        )),
    }
}

/// The user as whom this process makes files.
#[must_use]
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// Ends the process when it asks for more memory than this, in bytes, and leaves no core file,
/// which would hold what people sent.
pub fn limit_memory(bytes: u64) {
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    // A limit that the system does not let us set is one that it has set lower.
    let _ = setrlimit(Resource::Data, limit(bytes));
    let _ = setrlimit(Resource::Core, limit(0));
}

/// What glibc's allocator is told
/// (<https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html>), before
/// whatever somebody else tells it.
#[must_use]
pub fn tunables(others: Option<String>) -> String {
    // Few arenas: each keeps what was freed in it. What is large goes back to the system as soon as
    // it is freed: pictures, and what Argon2id needs. And each of hundreds of threads, one a
    // connection, keeps two freed pieces of a size rather than seven: 14 MB under 256 connections
    // instead of 19, and no slower.
    let ours =
        "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=1048576:glibc.malloc.tcache_count=2";
    others.map_or_else(|| ours.into(), |others| format!("{ours}:{others}"))
}
