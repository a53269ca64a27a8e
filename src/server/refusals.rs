//! Log lines about requests that the server was too busy for: at most one a second of each status,
//! with a count.

use crate::http::{self, Request};
use crate::log::{self, Level};
use crate::sync::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines of one status.
const PAUSE: Duration = Duration::from_secs(1);
/// The statuses that are counted.
const STATUSES: [u16; 2] = [429, 503];

/// What was counted since the last lines.
#[derive(Default)]
pub struct Refusals {
    counted: Mutex<[Counted; STATUSES.len()]>,
}

#[derive(Default)]
struct Counted {
    count: u64,
    written: Option<Instant>,
    latest: String,
}

impl Counted {
    /// The line that is due, if one is.
    fn line(&mut self, status: u16, now: Instant) -> Option<String> {
        if self.count == 0
            || self
                .written
                .is_some_and(|written| now.saturating_duration_since(written) < PAUSE)
        {
            return None;
        }
        self.written = Some(now);
        let count = std::mem::take(&mut self.count);
        Some(format!(
            "{count} requests refused with {status}, the latest: {}",
            self.latest
        ))
    }
}

impl Refusals {
    /// Counts a request that was refused with this status, and writes a line if one is due.
    pub fn count(&self, status: u16, request: &Request) {
        let Some(at) = STATUSES.iter().position(|one| *one == status) else {
            return;
        };
        let mut counted = lock(&self.counted);
        let one = &mut counted[at];
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

    /// Writes the lines that are due.
    pub fn flush(&self) {
        let mut counted = lock(&self.counted);
        for (one, status) in counted.iter_mut().zip(STATUSES) {
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
        let (mut counted, start) = (Counted::default(), Instant::now());
        let mut lines = Vec::new();
        for nth in 0..3000 {
            counted.count += 1;
            counted.latest = nth.to_string();
            lines.extend(counted.line(429, start + Duration::from_millis(nth)));
        }
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "1 requests refused with 429, the latest: 0");
        assert_eq!(lines[1], "1000 requests refused with 429, the latest: 1000");
        assert_eq!(
            counted
                .line(429, start + Duration::from_secs(9))
                .as_deref()
                .map(|line| &line[..4]),
            Some("999 ")
        );
        assert_eq!(counted.line(429, start + Duration::from_secs(99)), None);
    }
}
