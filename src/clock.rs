//! Time: what the calendar says, and what no one can set.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// How long this machine has been awake since its start, as service managers count.
#[must_use]
pub fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// The time in Unix seconds.
#[must_use]
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed())
}

/// How long the machine has been up, its sleep counted too: the same in every process, whatever the
/// calendar says.
#[must_use]
pub fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
