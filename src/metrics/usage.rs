//! Descriptors and memory of this process.

use rustix::process::{Resource, getrlimit};
use std::fs;

/// The maximum number of open descriptors of this process.
pub fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The number of open descriptors of this process, or 0 if it is not known.
pub fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The resident memory of this process in bytes (proc(5), `statm`, in pages of 4 KiB).
pub fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or_default()
        * 4096
}
