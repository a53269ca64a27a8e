//! A map whose entries all live equally long, and of which there are never more than a bound.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Keys with values that expire. Times are Unix seconds and come from the caller.
pub struct Expiring<K, V> {
    lifetime: i64,
    bound: usize,
    values: HashMap<K, V>,
    /// Every key that was put in and has not expired, oldest first; one that was taken out stays until its time.
    queue: VecDeque<(i64, K)>,
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    /// A map for so many entries, each for so many seconds.
    #[must_use]
    pub fn new(lifetime: i64, bound: usize) -> Expiring<K, V> {
        Expiring { lifetime, bound, values: HashMap::new(), queue: VecDeque::new() }
    }

    /// Puts a fresh key in. Where the map is full, the oldest entry goes.
    pub fn put(&mut self, key: K, value: V, now: i64) {
        self.expire(now);
        if self.queue.len() >= self.bound
            && let Some((_, oldest)) = self.queue.pop_front()
        {
            self.values.remove(&oldest);
        }
        self.queue.push_back((now.saturating_add(self.lifetime), key.clone()));
        self.values.insert(key, value);
    }

    /// Takes an entry out, if it is there and has not expired.
    pub fn take(&mut self, key: &K, now: i64) -> Option<V> {
        self.expire(now);
        self.values.remove(key)
    }

    /// How many entries can still be taken.
    pub fn alive(&mut self, now: i64) -> usize {
        self.expire(now);
        self.values.len()
    }

    /// Every entry with the time of its end, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<(i64, &K, &V)> {
        self.queue.iter().filter_map(|(end, key)| Some((*end, key, self.values.get(key)?))).collect()
    }

    /// Puts back what [`Expiring::entries`] said, before anything else is in.
    pub fn restore(&mut self, entries: Vec<(i64, K, V)>) {
        for (end, key, value) in entries.into_iter().take(self.bound) {
            self.queue.push_back((end, key.clone()));
            self.values.insert(key, value);
        }
    }

    fn expire(&mut self, now: i64) {
        while let Some((end, _)) = self.queue.front()
            // A clock that was set back must not keep entries for longer than they live.
            && (*end <= now || *end > now.saturating_add(self.lifetime))
            && let Some((_, key)) = self.queue.pop_front()
        {
            self.values.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_can_be_taken_once() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, 1000);
        assert_eq!(map.take(&"a", 1001), Some(1));
        assert_eq!(map.take(&"a", 1001), None);
    }

    #[test]
    fn an_entry_lives_its_lifetime_and_not_longer() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, 1000);
        map.put("b", 2, 1000);
        assert_eq!(map.take(&"a", 1299), Some(1));
        assert_eq!(map.take(&"b", 1300), None);
    }

    #[test]
    fn a_clock_set_back_ends_entries() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, 100_000);
        assert_eq!(map.take(&"a", 10_000), None);
        assert!(map.queue.is_empty());
    }

    #[test]
    fn never_more_than_the_bound_and_the_oldest_goes() {
        let mut map = Expiring::new(300, 3);
        for key in 0..1000 {
            map.put(key, key, 1000);
            let _ = map.take(&(key - 1), 1000).filter(|_| key % 2 == 0);
            assert!(map.queue.len() <= 3 && map.values.len() <= 3);
        }
        let mut full = Expiring::new(300, 3);
        for key in 0..4 {
            full.put(key, key, 1000);
        }
        assert_eq!((full.take(&0, 1000), full.take(&1, 1000), full.take(&3, 1000)), (None, Some(1), Some(3)));
    }

    #[test]
    fn entries_can_go_over_to_another() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, 1000);
        map.put("b", 2, 1100);
        assert_eq!(map.take(&"a", 1100), Some(1));
        let entries = map.entries().into_iter().map(|(end, key, value)| (end, *key, *value)).collect();
        let mut other = Expiring::new(300, 10);
        other.restore(entries);
        assert_eq!((other.take(&"a", 1399), other.take(&"b", 1399)), (None, Some(2)));
    }
}
