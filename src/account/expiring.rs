//! A bounded map whose entries all have the same lifetime.

use crate::http::network::{Source, entries_to_evict};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A bounded map whose entries expire. Times are Unix seconds and come from the caller.
pub struct Expiring<K, V> {
    lifetime: i64,
    capacity: usize,
    values: HashMap<K, V>,
    /// The expiry time, key and source of each entry, oldest first. An entry that was taken stays
    /// here until it expires or the map evicts.
    queue: VecDeque<(i64, K, Source)>,
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    /// An empty map for at most `capacity` entries that live `lifetime` seconds.
    pub fn new(lifetime: i64, capacity: usize) -> Expiring<K, V> {
        Expiring {
            lifetime,
            capacity,
            values: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// Inserts a new key for this source. If the map is full, it evicts the oldest entries of the
    /// networks with most entries.
    pub fn insert(&mut self, key: K, value: V, source: Source, now: i64) {
        self.expire(now);
        if self.queue.len() >= self.capacity {
            self.evict();
        }
        self.queue
            .push_back((now.saturating_add(self.lifetime), key.clone(), source));
        self.values.insert(key, value);
    }

    /// Removes an entry and returns its value, unless it has expired.
    pub fn take(&mut self, key: &K, now: i64) -> Option<V> {
        self.expire(now);
        self.values.remove(key)
    }

    /// Inserts the value of an entry again that was taken, with its old expiry. Returns false if
    /// the entry has expired or was evicted meanwhile.
    pub fn put_back(&mut self, key: &K, value: V, now: i64) -> bool {
        self.expire(now);
        let is_known = self.queue.iter().any(|(_, known, _)| known == key);
        if is_known {
            self.values.insert(key.clone(), value);
        }
        is_known
    }

    /// The value of an entry that has not expired.
    pub fn get(&mut self, key: &K, now: i64) -> Option<&V> {
        self.expire(now);
        self.values.get(key)
    }

    /// The number of entries that have not expired.
    pub fn live_count(&mut self, now: i64) -> usize {
        self.expire(now);
        self.values.len()
    }

    /// All entries, oldest first: expiry time, key, value and source.
    pub fn entries(&self) -> Vec<(i64, &K, &V, Source)> {
        self.queue
            .iter()
            .filter_map(|(expiry, key, source)| {
                Some((*expiry, key, self.values.get(key)?, *source))
            })
            .collect()
    }

    /// Restores into an empty map what [`Expiring::entries`] of another map has returned.
    pub fn restore(&mut self, entries: Vec<(i64, K, V, Source)>) {
        for (expiry, key, value, source) in entries {
            self.queue.push_back((expiry, key.clone(), source));
            self.values.insert(key, value);
        }
        if self.queue.len() > self.capacity {
            self.evict();
        }
    }

    fn expire(&mut self, now: i64) {
        while let Some((expiry, ..)) = self.queue.front()
            // If the clock was set back, entries must not outlive their lifetime.
            && (*expiry <= now || *expiry > now.saturating_add(self.lifetime))
            && let Some((_, key, _)) = self.queue.pop_front()
        {
            self.values.remove(&key);
        }
    }

    /// Makes room for an eighth of the capacity at once, so that the cost per insertion is small.
    fn evict(&mut self) {
        self.queue
            .retain(|(_, key, _)| self.values.contains_key(key));
        let target = self.capacity - (self.capacity / 8).max(1);
        let surplus = self.queue.len().saturating_sub(target);
        let entries = self
            .queue
            .iter()
            .zip(0..)
            .map(|((_, _, source), nth)| (*source, nth, nth))
            .collect();
        let mut evicted = entries_to_evict(entries, surplus);
        evicted.sort_unstable();
        let (mut evicted, mut nth) = (evicted.into_iter().peekable(), 0);
        self.queue.retain(|(_, key, _)| {
            let is_evicted = evicted.next_if_eq(&nth).is_some();
            nth += 1;
            if is_evicted {
                self.values.remove(key);
            }
            !is_evicted
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().ok())
    }

    #[test]
    fn an_entry_can_be_taken_once() {
        let mut map = Expiring::new(300, 10);
        map.insert("a", 1, source("?"), 1000);
        assert_eq!(map.take(&"a", 1001), Some(1));
        assert_eq!(map.take(&"a", 1001), None);
    }

    #[test]
    fn an_entry_that_is_put_back_keeps_its_expiry() {
        let mut map = Expiring::new(300, 10);
        map.insert("a", 1, source("?"), 1000);
        assert_eq!(map.take(&"a", 1100), Some(1));
        assert!(map.put_back(&"a", 2, 1200));
        assert_eq!(map.take(&"a", 1299), Some(2));
        assert!(map.put_back(&"a", 3, 1299));
        assert_eq!(map.take(&"a", 1300), None);
        assert!(!map.put_back(&"a", 4, 1300), "it has expired");
        assert!(!map.put_back(&"b", 4, 1300), "it was never there");
        assert_eq!((map.live_count(1300), map.queue.len()), (0, 0));
    }

    #[test]
    fn an_entry_that_was_evicted_meanwhile_is_not_put_back() {
        let mut map = Expiring::new(300, 3);
        map.insert(0, 0, source("?"), 1000);
        assert_eq!(map.take(&0, 1000), Some(0));
        for key in 1..5 {
            map.insert(key, key, source("?"), 1000);
        }
        assert!(!map.put_back(&0, 0, 1000));
    }

    #[test]
    fn an_entry_expires_at_the_end_of_its_lifetime() {
        let mut map = Expiring::new(300, 10);
        map.insert("a", 1, source("?"), 1000);
        map.insert("b", 2, source("?"), 1000);
        assert_eq!(map.take(&"a", 1299), Some(1));
        assert_eq!(map.take(&"b", 1300), None);
    }

    #[test]
    fn entries_expire_when_the_clock_is_set_back() {
        let mut map = Expiring::new(300, 10);
        map.insert("a", 1, source("?"), 100_000);
        assert_eq!(map.take(&"a", 10_000), None);
        assert!(map.queue.is_empty());
    }

    #[test]
    fn a_full_map_evicts_the_oldest_entry() {
        let mut map = Expiring::new(300, 3);
        for key in 0..1000 {
            map.insert(key, key, source("?"), 1000);
            let _ = map.take(&(key - 1), 1000).filter(|_| key % 2 == 0);
            assert!(map.queue.len() <= 3 && map.values.len() <= 3);
        }
        let mut full = Expiring::new(300, 3);
        for key in 0..4 {
            full.insert(key, key, source("?"), 1000);
        }
        assert_eq!(
            (
                full.take(&0, 1000),
                full.take(&1, 1000),
                full.take(&3, 1000)
            ),
            (None, Some(1), Some(3))
        );
    }

    #[test]
    fn a_flood_evicts_its_own_and_not_the_entry_of_another_source() {
        let floods: [fn(usize) -> String; 4] = [
            // The links of one site in turn.
            |nth| format!("2001:db8:0:{:x}::", nth % 0x1_0000),
            |nth| format!("2001:db8:0:{:x}::{nth:x}", nth % 0x100),
            |nth| format!("198.51.100.{}", nth % 256),
            |_| "?".into(),
        ];
        for flood in floods {
            let mut map = Expiring::new(300, 1000);
            let honest = ["192.0.2.1", "2001:db8:1::1", "203.0.113.7"];
            for (nth, address) in honest.iter().enumerate() {
                map.insert(nth, nth, source(address), 1000);
            }
            for nth in 10..20_000 {
                map.insert(nth, nth, source(&flood(nth)), 1000 + nth as i64 / 1000);
            }
            assert!(
                (0..honest.len()).all(|nth| map.take(&nth, 1100).is_some()),
                "{}",
                flood(0)
            );
            assert!(
                map.take(&10, 1100).is_none() && map.take(&19_999, 1100).is_some(),
                "the flood evicts its own oldest entries"
            );
        }
    }

    #[test]
    fn within_a_network_the_source_with_most_entries_loses_them() {
        let mut map = Expiring::new(300, 1000);
        map.insert(0, 0, source("2001:db8:0:1::1"), 1000);
        for nth in 1..5000 {
            map.insert(nth, nth, source("2001:db8:0:2::1"), 1000);
        }
        assert_eq!(map.take(&0, 1000), Some(0));
    }

    #[test]
    fn each_of_many_networks_keeps_its_share() {
        let mut map = Expiring::new(300, 1000);
        // A third of the capacity at once, then two floods from other networks.
        for nth in 0..300 {
            map.insert(nth, nth, source("192.0.2.1"), 1000);
        }
        for nth in 1000..9000 {
            map.insert(
                nth,
                nth,
                source(&format!("2001:db8:{:x}::", nth / 5000)),
                1000,
            );
        }
        // An eviction leaves 875 entries, and each of three networks keeps at least a third of
        // them.
        assert!((0..300).filter(|nth| map.take(nth, 1000).is_some()).count() >= 875 / 3);
    }

    #[test]
    fn at_most_one_insertion_in_125_evicts() {
        // An eviction makes room for an eighth of the capacity.
        let mut map = Expiring::new(300, 1000);
        let mut evictions = 0;
        for nth in 0..100_000 {
            let before = map.queue.len();
            map.insert(nth, nth, source("192.0.2.1"), 1000);
            evictions += usize::from(map.queue.len() <= before);
        }
        assert!(evictions <= 100_000 / 125, "{evictions}");
    }

    #[test]
    fn restoring_too_many_entries_evicts_those_of_the_largest_network() {
        let mut map = Expiring::new(300, 10);
        map.restore(
            (0..20)
                .map(|nth| {
                    (
                        1300,
                        nth,
                        nth,
                        source(if nth == 3 { "192.0.2.1" } else { "?" }),
                    )
                })
                .collect(),
        );
        assert_eq!((map.take(&3, 1000), map.live_count(1000)), (Some(3), 8));
    }

    #[test]
    fn entries_can_be_restored_into_another_map() {
        let mut map = Expiring::new(300, 10);
        map.insert("a", 1, source("?"), 1000);
        map.insert("b", 2, source("?"), 1100);
        assert_eq!(map.take(&"a", 1100), Some(1));
        let entries = map
            .entries()
            .into_iter()
            .map(|(expiry, key, value, source)| (expiry, *key, *value, source))
            .collect();
        let mut other = Expiring::new(300, 10);
        other.restore(entries);
        assert_eq!(
            (other.take(&"a", 1399), other.take(&"b", 1399)),
            (None, Some(2))
        );
    }
}
