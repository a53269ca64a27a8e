//! Rate-limited log lines about refused requests (429 and 503): at most one a second for each
//! status.

use crate::http::{self, Request};
use crate::log::{self, Level};
use crate::sync::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines for one status.
const INTERVAL: Duration = Duration::from_secs(1);
/// The statuses that are counters.
const STATUSES: [u16; 2] = [429, 503];

/// Counters since the last log lines.
#[derive(Default)]
pub struct Refusals {
    counters: Mutex<[Counter; STATUSES.len()]>,
}

#[derive(Default)]
struct Counter {
    count: u64,
    logged: Option<Instant>,
    latest: String,
}

impl Counter {
    /// The log line, if one is due.
    fn line(&mut self, status: u16, now: Instant) -> Option<String> {
        if self.count == 0
            || self
                .logged
                .is_some_and(|logged| now.saturating_duration_since(logged) < INTERVAL)
        {
            return None;
        }
        self.logged = Some(now);
        let count = std::mem::take(&mut self.count);
        Some(format!(
            "{count} requests refused with {status}, the latest: {}",
            self.latest
        ))
    }
}

impl Refusals {
    /// Counts a request that was refused with this status, and logs a line if one is due.
    pub fn count(&self, status: u16, request: &Request) {
        let Some(at) = STATUSES.iter().position(|one| *one == status) else {
            return;
        };
        let mut counters = lock(&self.counters);
        let one = &mut counters[at];
        one.count += 1;
        one.latest = format!(
            "{} {} {}",
            request.source(),
            request.method,
            http::path_for_log(&request.path)
        );
        if let Some(line) = one.line(status, Instant::now()) {
            log::line(Level::Info, &line);
        }
    }

    /// Logs the lines that are due.
    pub fn flush(&self) {
        let mut counters = lock(&self.counters);
        for (one, status) in counters.iter_mut().zip(STATUSES) {
            if let Some(line) = one.line(status, Instant::now()) {
                log::line(Level::Info, &line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_one_line_a_second_with_a_count() {
        let (mut counters, start) = (Counter::default(), Instant::now());
        let mut lines = Vec::new();
        for nth in 0..3000 {
            counters.count += 1;
            counters.latest = nth.to_string();
            lines.extend(counters.line(429, start + Duration::from_millis(nth)));
        }
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "1 requests refused with 429, the latest: 0");
        assert_eq!(lines[1], "1000 requests refused with 429, the latest: 1000");
        assert_eq!(
            counters
                .line(429, start + Duration::from_secs(9))
                .as_deref()
                .map(|line| &line[..4]),
            Some("999 ")
        );
        assert_eq!(counters.line(429, start + Duration::from_secs(99)), None);
    }
}
