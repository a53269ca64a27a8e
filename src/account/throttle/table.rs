//! A bounded table of budgets that fill up again, and of guesses that are under way.

use super::limits::{AT_ONCE, FORGIVEN, FREE, Kind, MOMENT, Rate, WAITS};
use crate::http::network::{Network, entries_to_evict};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// Entries at most, each 64 bytes and one of the map: seven eighths of a power of two, which is as
/// many as the map holds before it doubles. It takes 2.1 MB when it is full, and as much again for
/// the moment in which room is made.
pub const MOST: usize = 28 * 1024;
/// Entries for which room is made at once: a part of the table, so that it costs each of them
/// little.
const ROOM: usize = MOST / 8;

/// The subject of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The kind of thing that is counted.
    pub kind: Kind,
    /// The network that it is counted for.
    pub network: Network,
    /// The hash of a secret, or the id of an account; 0 if it is about neither.
    pub about: u64,
}

/// The count of a key. Times are in milliseconds, on the clock of the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the budget is whole again.
    whole: u64,
    /// The last charge that stayed.
    used: u64,
    /// When the last guess began.
    begun: u64,
    /// Wrong guesses in a row.
    wrong: u16,
    /// Guesses that are under way: charged, and not settled yet.
    pending: u16,
}

/// The entries, of which there are never more than [`MOST`].
#[derive(Default)]
pub struct Table(HashMap<Key, Entry>);

impl Key {
    /// Whether it is about a source that guesses at a secret, for which waits grow.
    fn has_waits(&self) -> bool {
        self.kind == Kind::Guess && self.network.is_source()
    }

    fn rate(&self) -> Rate {
        self.kind.rate(self.network.width())
    }
}

impl Entry {
    /// Wrong guesses that are not forgiven yet.
    fn wrong(&self, now: u64) -> u16 {
        if now.saturating_sub(self.used) > millis(FORGIVEN) {
            0
        } else {
            self.wrong
        }
    }

    /// How long the wait after the wrong guesses still is.
    fn wait(&self, now: u64) -> u64 {
        let Some(nth) = self.wrong(now).checked_sub(FREE) else {
            return 0;
        };
        let wait = WAITS[usize::from(nth).min(WAITS.len() - 1)];
        (self.used + 1000 * wait).saturating_sub(now)
    }

    /// Whether nothing would be different without it.
    fn is_blank(&self, now: u64) -> bool {
        self.pending == 0 && self.whole <= now && self.wrong(now) == 0
    }

    fn charge(&mut self, rate: Rate, now: u64) {
        self.whole = self.whole.max(now) + rate.every;
        self.used = self.used.max(now);
    }

    /// One of the guesses that are under way was wrong.
    fn keep(&mut self, key: &Key, now: u64) {
        self.pending = self.pending.saturating_sub(1);
        if key.has_waits() {
            self.wrong = self.wrong(now).saturating_add(1);
        }
        self.charge(key.rate(), now);
    }

    /// The entry as another process goes on with it, which never learns how a guess that is under
    /// way ends: it was wrong.
    fn settled(mut self, key: &Key) -> Entry {
        while self.pending > 0 {
            self.keep(key, self.begun);
        }
        self
    }
}

impl Table {
    /// How long until a key's budget has one more. Guesses that are under way count as spent.
    pub fn wait(&self, key: &Key, now: u64) -> u64 {
        let Some(entry) = self.0.get(key) else {
            return 0;
        };
        let rate = key.rate();
        let spent = entry.whole.saturating_sub(now) + u64::from(entry.pending) * rate.every;
        (spent + rate.every).saturating_sub(u64::from(rate.burst) * rate.every)
    }

    /// How long the source of this key waits before it may guess again, and whether it has a free
    /// guess left.
    pub fn wait_of_guesser(&self, key: &Key, now: u64) -> (u64, bool) {
        let entry = self.0.get(key).copied().unwrap_or_default();
        let (wrong, moment) = (entry.wrong(now), millis(MOMENT));
        let wait = match (wrong < FREE, entry.pending) {
            (true, pending) if wrong.saturating_add(pending) < AT_ONCE => 0,
            (true, _) => moment,
            // From here on one at a time.
            (false, 0) => entry.wait(now),
            (false, _) => entry.wait(now).max(moment),
        };
        (wait, wrong.saturating_add(entry.pending) < FREE)
    }

    /// Takes one from a key's budget.
    pub fn charge(&mut self, key: Key, now: u64) {
        self.entry(key, now).charge(key.rate(), now);
    }

    /// Takes one from a key's budget until it is known how a guess ends.
    pub fn begin(&mut self, key: Key, now: u64) {
        let entry = self.entry(key, now);
        entry.pending = entry.pending.saturating_add(1);
        entry.begun = now;
    }

    /// Keeps the charge of [`Table::begin`]: the guess was wrong.
    pub fn keep(&mut self, key: &Key, now: u64) {
        if let Some(entry) = self.0.get_mut(key) {
            entry.keep(key, now);
        }
    }

    /// Gives back the charge of [`Table::begin`], and nothing else. If `forgive` is set, the
    /// source's earlier wrong guesses are forgiven too.
    pub fn give_back(&mut self, key: &Key, forgive: bool) {
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
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        self.0.entry(key).or_insert(Entry {
            used: now,
            ..Entry::default()
        })
    }

    /// Removes blank entries and then, if that is not enough, the oldest entries of the heaviest
    /// networks. A guess that is under way stays: it has yet to be settled, and there are no more
    /// of them than requests that are worked on.
    fn make_room(&mut self, now: u64) {
        // Into a fresh map: entries that are removed from a full one leave marks that make it grow.
        let full = std::mem::replace(&mut self.0, HashMap::with_capacity(MOST));
        self.0
            .extend(full.into_iter().filter(|(_, entry)| !entry.is_blank(now)));
        let surplus = (self.0.len() + ROOM).saturating_sub(MOST);
        if surplus > 0 {
            let settled = self.0.iter().filter(|(_, entry)| entry.pending == 0);
            // Of entries that were used at the same moment, a budget for everything is worth most.
            let age = |key: &Key, entry: &Entry| 2 * entry.used + u64::from(key.about == 0);
            let settled = settled
                .map(|(key, entry)| (key.network, age(key, entry), *key))
                .collect();
            for key in entries_to_evict(settled, surplus) {
                self.0.remove(&key);
            }
        }
    }

    /// The entries, for another process to go on with.
    pub fn state(&self) -> Vec<(Key, Entry)> {
        self.0
            .iter()
            .map(|(key, entry)| (*key, entry.settled(key)))
            .collect()
    }

    /// Goes on with the entries of another process.
    pub fn restore(&mut self, entries: Vec<(Key, Entry)>) {
        self.0 = entries.into_iter().take(MOST).collect();
    }
}

/// Whole milliseconds, of which there are enough for some hundred million years.
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

    /// A table with so many wrong guesses, one each millisecond from this time on.
    fn full(count: u64, start: u64) -> Table {
        let mut table = Table::default();
        for about in 0..count {
            table.begin(key(about), start + about);
            table.keep(&key(about), start + about);
            assert!(table.0.len() <= MOST && table.0.capacity() <= 2 * MOST);
        }
        table
    }

    #[test]
    fn an_entry_is_as_small_as_the_bound_says() {
        assert_eq!(size_of::<(Key, Entry)>(), 64);
        assert_eq!(HashMap::<Key, Entry>::with_capacity(MOST).capacity(), MOST);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let table = full(100_000, 0);
        let stays = MOST as u64 - ROOM as u64;
        assert!((100_000 - stays..100_000).all(|about| table.0.contains_key(&key(about))));
    }

    #[test]
    fn what_is_forgiven_and_whole_again_goes_first() {
        let mut table = full(MOST as u64, 0);
        let later = 2 * millis(FORGIVEN);
        table.charge(key(MOST as u64), later);
        assert_eq!(table.0.len(), 1);
    }

    #[test]
    fn a_guess_under_way_stays_until_it_is_settled() {
        let mut table = Table::default();
        table.begin(key(u64::MAX), 0);
        for about in 0..50_000 {
            table.charge(key(about), about + 1);
        }
        table.give_back(&key(u64::MAX), false);
        assert!(
            !table.0.contains_key(&key(u64::MAX)),
            "it leaves nothing behind"
        );
    }
}
