//! When sessions were last used, to the hour. Waits in memory until it is written with others, so
//! that no request waits for a write of it.
//!
//! A request whose session was written in the same hour takes no lock here.

use super::sessions::hour;
use crate::sync::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Time between two writes, and so the most that a kill can lose.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// Sessions that wait in memory at most, 16 bytes each. A session that is not noted now is noted at
/// its next request.
const MAX_WAITING: usize = 20_000;
/// Sessions in one transaction at most: other writers wait for a few milliseconds.
const BATCH: usize = 1000;

/// The hours that are not written yet, by the sessions' ids.
#[derive(Default)]
pub struct LastSeen {
    waiting: Mutex<HashMap<i64, i64>>,
    /// How many there are.
    count: AtomicUsize,
    /// When the latest write was due.
    last_due: Mutex<Option<Instant>>,
}

impl LastSeen {
    /// Notes that a session is used now. `seen_at` is the hour that is written.
    pub fn note(&self, session: i64, seen_at: Option<i64>, now: i64) {
        let hour = hour(now);
        if seen_at.is_some_and(|seen| seen >= hour) {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() < MAX_WAITING || waiting.contains_key(&session) {
            waiting.insert(session, hour);
            self.count.store(waiting.len(), Ordering::SeqCst);
        }
    }

    /// The hour of a session that waits to be written.
    pub fn get(&self, session: i64) -> Option<i64> {
        lock(&self.waiting).get(&session).copied()
    }

    /// Whether anything waits to be written.
    pub fn is_waiting(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Whether it is time to write. Returns true at most once in [`INTERVAL`].
    pub fn is_due(&self, now: Instant) -> bool {
        if !self.is_waiting() {
            return false;
        }
        let mut last = lock(&self.last_due);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }

    /// Calls `write` with all that waits, in batches. What is not written waits on.
    pub fn write<E>(&self, mut write: impl FnMut(&[(i64, i64)]) -> Result<(), E>) -> Result<(), E> {
        let all: Vec<(i64, i64)> = lock(&self.waiting).iter().map(|(&a, &b)| (a, b)).collect();
        for batch in all.chunks(BATCH) {
            write(batch)?;
            let mut waiting = lock(&self.waiting);
            for (session, hour) in batch {
                // Another request may have noted the next hour meanwhile.
                if waiting.get(session) == Some(hour) {
                    waiting.remove(session);
                }
            }
            if waiting.is_empty() {
                // Gives the memory of a busy minute back.
                *waiting = HashMap::new();
            }
            self.count.store(waiting.len(), Ordering::SeqCst);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn written(seen: &LastSeen) -> Vec<(i64, i64)> {
        let mut all = Vec::new();
        let result = seen.write(|batch| {
            assert!(batch.len() <= BATCH);
            all.extend_from_slice(batch);
            Ok::<(), ()>(())
        });
        assert_eq!(result, Ok(()));
        all.sort_unstable();
        all
    }

    #[test]
    fn a_session_is_noted_once_an_hour() {
        let seen = LastSeen::default();
        seen.note(1, Some(2 * HOUR), 3 * HOUR - 1);
        seen.note(2, Some(3 * HOUR), 2 * HOUR);
        assert!(!seen.is_waiting(), "no hour is new");
        seen.note(1, Some(2 * HOUR), 3 * HOUR + 7);
        seen.note(1, Some(2 * HOUR), 3 * HOUR + 8);
        seen.note(2, None, 3 * HOUR + 9);
        assert_eq!((seen.get(1), seen.get(3)), (Some(3 * HOUR), None));
        assert!(seen.is_waiting());
        assert_eq!(written(&seen), [(1, 3 * HOUR), (2, 3 * HOUR)]);
        assert!(!seen.is_waiting());
        assert_eq!(written(&seen), []);
    }

    #[test]
    fn a_write_is_due_at_once_after_a_pause_and_then_only_after_the_interval() {
        let (seen, now) = (LastSeen::default(), Instant::now());
        assert!(!seen.is_due(now), "nothing waits");
        seen.note(1, None, HOUR);
        for (seconds, due) in [(0, true), (0, false), (59, false), (60, true), (61, false)] {
            let found = seen.is_due(now + Duration::from_secs(seconds));
            assert_eq!(found, due, "{seconds}");
        }
    }

    #[test]
    fn what_could_not_be_written_waits_on() {
        let seen = LastSeen::default();
        (0..3000).for_each(|id| seen.note(id, None, HOUR));
        let mut calls = 0;
        let failed = seen.write(|_| {
            calls += 1;
            if calls == 2 { Err("full") } else { Ok(()) }
        });
        assert_eq!((failed, calls), (Err("full"), 2));
        assert_eq!(written(&seen).len(), 2000);
    }

    #[test]
    fn an_hour_that_is_noted_during_a_write_is_kept() {
        let seen = LastSeen::default();
        seen.note(1, None, HOUR);
        let result = seen.write(|_| {
            seen.note(1, Some(HOUR), 2 * HOUR);
            Ok::<(), ()>(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(written(&seen), [(1, 2 * HOUR)]);
    }

    #[test]
    fn memory_is_bounded() {
        let seen = LastSeen::default();
        (0..30_000).for_each(|id| seen.note(id, None, HOUR));
        seen.note(0, None, 2 * HOUR);
        assert_eq!((seen.get(0), seen.get(29_999)), (Some(2 * HOUR), None));
        assert_eq!(written(&seen).len(), MAX_WAITING);
    }
}
