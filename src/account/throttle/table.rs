//! A bounded table of budgets that refill, and of pending guesses.

use super::limits::{
    CONCURRENCY_WAIT, FORGET_AFTER, FREE_GUESSES, Kind, Limits, MAX_CONCURRENT_GUESSES, Rate, WAITS,
};
use crate::http::network::{Network, entries_to_evict};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// The most entries, which take 64 bytes each and one byte in the map: seven eighths of a power of
/// two, the most that the map holds before it doubles. A full table takes 2.1 MB, and twice that
/// during an eviction.
pub const MAX_ENTRIES: usize = 28 * 1024;
/// Entries that one eviction makes room for: many, so that the cost per insertion is small.
const EVICTION_SIZE: usize = MAX_ENTRIES / 8;

/// The subject of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// What is counted.
    pub kind: Kind,
    /// The network for which it is counted.
    pub network: Network,
    /// The hash of a secret or the id of an account; 0 for the kinds that have neither.
    pub about: u64,
}

/// The state of a key. Times are in milliseconds on the monotonic clock. The names of the fields
/// are the format of the state that one worker sends to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the budget is full again.
    whole: u64,
    /// The time of the last charge that was not refunded.
    used: u64,
    /// The time of the last guess.
    begun: u64,
    /// Wrong guesses in a row.
    wrong: u16,
    /// Guesses that are charged and not settled yet.
    pending: u16,
}

/// The entries, at most [`MAX_ENTRIES`], and the limits that hold for them.
#[derive(Default)]
pub struct Table(HashMap<Key, Entry>, Limits);

impl Key {
    /// Whether the key counts the guesses of a source at a secret, after which it must wait.
    pub(super) fn has_waits(&self) -> bool {
        self.kind == Kind::Guess && self.network.is_source()
    }

    /// Whether the key counts the new accounts of the whole server. No other entry says the same.
    fn is_of_server(&self) -> bool {
        self.kind == Kind::NewAccount && self.network == Network::EVERYWHERE
    }

    fn rate(&self, limits: Limits) -> Option<Rate> {
        limits.rate(self.kind, self.network.width())
    }
}

impl Entry {
    /// The wrong guesses that still count.
    fn wrong(&self, now: u64) -> u16 {
        if now.saturating_sub(self.used) > millis(FORGET_AFTER) {
            0
        } else {
            self.wrong
        }
    }

    /// The rest of the wait after the wrong guesses.
    fn wait(&self, now: u64) -> u64 {
        let Some(nth) = self.wrong(now).checked_sub(FREE_GUESSES) else {
            return 0;
        };
        let wait = WAITS[usize::from(nth).min(WAITS.len() - 1)];
        (self.used + 1000 * wait).saturating_sub(now)
    }

    /// Whether the entry means the same as a missing one.
    fn is_blank(&self, now: u64) -> bool {
        self.pending == 0 && self.whole <= now && self.wrong(now) == 0
    }

    fn charge(&mut self, rate: Rate, now: u64) {
        self.whole = self.whole.max(now) + rate.interval;
        self.used = self.used.max(now);
    }

    /// Records that a pending guess was wrong.
    fn confirm(&mut self, key: &Key, rate: Option<Rate>, now: u64) {
        self.pending = self.pending.saturating_sub(1);
        if key.has_waits() {
            self.wrong = self.wrong(now).saturating_add(1);
        }
        if let Some(rate) = rate {
            self.charge(rate, now);
        }
    }

    /// The entry with its pending guesses counted as wrong, for the next worker, which never learns
    /// how they end.
    fn settled(mut self, key: &Key, rate: Option<Rate>) -> Entry {
        while self.pending > 0 {
            self.confirm(key, rate, self.begun);
        }
        self
    }
}

impl Table {
    /// An empty table.
    pub fn new(limits: Limits) -> Table {
        Table(HashMap::default(), limits)
    }

    /// The time until a key's budget allows one more. Pending guesses count as spent.
    pub fn wait(&self, key: &Key, now: u64) -> u64 {
        let (Some(entry), Some(rate)) = (self.0.get(key), key.rate(self.1)) else {
            return 0;
        };
        let spent = entry.whole.saturating_sub(now) + u64::from(entry.pending) * rate.interval;
        (spent + rate.interval).saturating_sub(u64::from(rate.burst) * rate.interval)
    }

    /// How long the source of this key must wait before its next guess, and whether it has a free
    /// guess left.
    pub fn guess_wait(&self, key: &Key, now: u64) -> (u64, bool) {
        let entry = self.0.get(key).copied().unwrap_or_default();
        let (wrong, concurrency_wait) = (entry.wrong(now), millis(CONCURRENCY_WAIT));
        let wait = match (wrong < FREE_GUESSES, entry.pending) {
            (true, pending) if wrong.saturating_add(pending) < MAX_CONCURRENT_GUESSES => 0,
            (true, _) => concurrency_wait,
            // Without free guesses, only one may be pending.
            (false, 0) => entry.wait(now),
            (false, _) => entry.wait(now).max(concurrency_wait),
        };
        (wait, wrong.saturating_add(entry.pending) < FREE_GUESSES)
    }

    /// Charges a key's budget for one request.
    pub fn charge(&mut self, key: Key, now: u64) {
        if let Some(rate) = key.rate(self.1) {
            self.entry(key, now).charge(rate, now);
        }
    }

    /// How many more requests a key's budget can be charged for until it owes as many as its burst.
    /// So a wait for the budget is at most the time in which a used-up budget becomes full.
    pub fn credit(&self, key: &Key, now: u64) -> u32 {
        let Some(rate) = key.rate(self.1) else {
            return u32::MAX;
        };
        let spent = self.0.get(key).map_or(0, |entry| {
            entry.whole.saturating_sub(now).div_ceil(rate.interval)
        });
        let most = 2 * u64::from(rate.burst);
        u32::try_from(most.saturating_sub(spent)).unwrap_or(u32::MAX)
    }

    /// Charges a key's budget for a pending guess or a pending new account.
    pub fn begin(&mut self, key: Key, now: u64) {
        if key.rate(self.1).is_none() {
            return;
        }
        let entry = self.entry(key, now);
        entry.pending = entry.pending.saturating_add(1);
        entry.begun = now;
    }

    /// Makes the charge of [`Table::begin`] final, since the guess was wrong.
    pub fn confirm(&mut self, key: &Key, now: u64) {
        if let Some(entry) = self.0.get_mut(key) {
            entry.confirm(key, key.rate(self.1), now);
        }
    }

    /// Refunds the charge of [`Table::begin`], and nothing else. If `forgive` is set, the source's
    /// earlier wrong guesses are forgotten too.
    pub fn refund(&mut self, key: &Key, forgive: bool) {
        let Some(entry) = self.0.get_mut(key) else {
            return;
        };
        entry.pending = entry.pending.saturating_sub(1);
        if forgive && key.has_waits() {
            (entry.whole, entry.wrong) = (0, 0);
        }
        if (entry.pending, entry.whole) == (0, 0) {
            self.0.remove(key);
        }
    }

    fn entry(&mut self, key: Key, now: u64) -> &mut Entry {
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(&key) {
            self.evict(now);
        }
        self.0.entry(key).or_insert(Entry {
            used: now,
            ..Entry::default()
        })
    }

    /// Removes blank entries and then, if that is not enough, the oldest entries of the networks
    /// with most entries. The budget of the whole server stays, and so do entries with pending
    /// guesses, since these must be settled; there are no more of them than requests in progress.
    fn evict(&mut self, now: u64) {
        // Into a new map: removals from a full one leave tombstones, which would make it grow.
        let full = std::mem::replace(&mut self.0, HashMap::with_capacity(MAX_ENTRIES));
        self.0
            .extend(full.into_iter().filter(|(_, entry)| !entry.is_blank(now)));
        let surplus = (self.0.len() + EVICTION_SIZE).saturating_sub(MAX_ENTRIES);
        if surplus > 0 {
            let may_go = |key: &Key, entry: &Entry| entry.pending == 0 && !key.is_of_server();
            let settled = self.0.iter().filter(|(key, entry)| may_go(key, entry));
            // Of entries with the same time, those about no single secret or account are kept
            // longest.
            let order = |key: &Key, entry: &Entry| 2 * entry.used + u64::from(key.about == 0);
            let settled = settled
                .map(|(key, entry)| (key.network, order(key, entry), *key))
                .collect();
            for key in entries_to_evict(settled, surplus) {
                self.0.remove(&key);
            }
        }
    }

    /// The entries, for the next worker.
    pub fn state(&self) -> Vec<(Key, Entry)> {
        self.0
            .iter()
            .map(|(key, entry)| (*key, entry.settled(key, key.rate(self.1))))
            .collect()
    }

    /// Takes over the entries of the previous worker.
    pub fn restore(&mut self, entries: Vec<(Key, Entry)>) {
        self.0 = entries.into_iter().take(MAX_ENTRIES).collect();
    }
}

/// Whole milliseconds; a `u64` is enough for some hundred million years.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    fn key(about: u64) -> Key {
        Key {
            kind: Kind::Guess,
            network: Network::of("192.0.2.1".parse().ok()),
            about,
        }
    }

    /// A table with `count` wrong guesses, one per millisecond from `start` on.
    fn with_wrong_guesses(count: u64, start: u64) -> Table {
        let mut table = Table::default();
        for about in 0..count {
            table.begin(key(about), start + about);
            table.confirm(&key(about), start + about);
            assert!(table.0.len() <= MAX_ENTRIES && table.0.capacity() <= 2 * MAX_ENTRIES);
        }
        table
    }

    #[test]
    fn an_entry_has_64_bytes_and_the_map_does_not_grow_below_the_bound() {
        assert_eq!(size_of::<(Key, Entry)>(), 64);
        assert_eq!(
            HashMap::<Key, Entry>::with_capacity(MAX_ENTRIES).capacity(),
            MAX_ENTRIES
        );
    }

    #[test]
    fn memory_is_bounded_and_the_newest_entries_stay() {
        let table = with_wrong_guesses(100_000, 0);
        let kept = (MAX_ENTRIES - EVICTION_SIZE) as u64;
        assert!((100_000 - kept..100_000).all(|about| table.0.contains_key(&key(about))));
    }

    #[test]
    fn blank_entries_are_evicted_first() {
        let mut table = with_wrong_guesses(MAX_ENTRIES as u64, 0);
        let later = 2 * millis(FORGET_AFTER);
        table.charge(key(MAX_ENTRIES as u64), later);
        assert_eq!(table.0.len(), 1);
    }

    #[test]
    fn an_entry_with_a_pending_guess_is_never_evicted() {
        let mut table = Table::default();
        table.begin(key(u64::MAX), 0);
        for about in 0..50_000 {
            table.charge(key(about), about + 1);
        }
        table.refund(&key(u64::MAX), false);
        assert!(
            !table.0.contains_key(&key(u64::MAX)),
            "a refund leaves no entry"
        );
    }
}
