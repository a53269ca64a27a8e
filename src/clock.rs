//! Clocks: the calendar, and the time since the start of the machine.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// CLOCK_MONOTONIC: the time since the start of the machine without its sleep, for systemd.
pub fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// The current time in Unix seconds.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed())
}

/// CLOCK_BOOTTIME: the time since the start of the machine with its sleep. It is the same in every
/// process and independent of the calendar.
pub fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
