//! A map whose entries all live equally long, and of which there are never more than a bound.

use crate::http::network::{Source, entries_to_evict};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Keys with values that expire. Times are Unix seconds and come from the caller.
pub struct Expiring<K, V> {
    lifetime: i64,
    bound: usize,
    values: HashMap<K, V>,
    /// Every key that was put in and has not expired, oldest first; one that was taken out stays
    /// until its time, or until room is made.
    queue: VecDeque<(i64, K, Source)>,
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    /// A map for so many entries, each for so many seconds.
    pub fn new(lifetime: i64, bound: usize) -> Expiring<K, V> {
        Expiring {
            lifetime,
            bound,
            values: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// Puts a fresh key in, for this source. Where the map is full, the oldest entries of the
    /// networks that hold most go.
    pub fn put(&mut self, key: K, value: V, source: Source, now: i64) {
        self.expire(now);
        if self.queue.len() >= self.bound {
            self.make_room();
        }
        self.queue
            .push_back((now.saturating_add(self.lifetime), key.clone(), source));
        self.values.insert(key, value);
    }

    /// Takes an entry out, if it is there and has not expired.
    pub fn take(&mut self, key: &K, now: i64) -> Option<V> {
        self.expire(now);
        self.values.remove(key)
    }

    /// An entry that can be taken.
    pub fn get(&mut self, key: &K, now: i64) -> Option<&V> {
        self.expire(now);
        self.values.get(key)
    }

    /// How many entries can still be taken.
    pub fn alive(&mut self, now: i64) -> usize {
        self.expire(now);
        self.values.len()
    }

    /// Every entry with the time of its end and its source, oldest first.
    pub fn entries(&self) -> Vec<(i64, &K, &V, Source)> {
        self.queue
            .iter()
            .filter_map(|(end, key, source)| Some((*end, key, self.values.get(key)?, *source)))
            .collect()
    }

    /// Puts back what [`Expiring::entries`] said, before anything else is in.
    pub fn restore(&mut self, entries: Vec<(i64, K, V, Source)>) {
        for (end, key, value, source) in entries {
            self.queue.push_back((end, key.clone(), source));
            self.values.insert(key, value);
        }
        if self.queue.len() > self.bound {
            self.make_room();
        }
    }

    fn expire(&mut self, now: i64) {
        while let Some((end, ..)) = self.queue.front()
            // A clock that was set back must not keep entries for longer than they live.
            && (*end <= now || *end > now.saturating_add(self.lifetime))
            && let Some((_, key, _)) = self.queue.pop_front()
        {
            self.values.remove(&key);
        }
    }

    /// Makes room for an eighth of the bound at once, so that it costs an entry little.
    fn make_room(&mut self) {
        self.queue
            .retain(|(_, key, _)| self.values.contains_key(key));
        let most = self.bound - (self.bound / 8).max(1);
        let surplus = self.queue.len().saturating_sub(most);
        let entries = self
            .queue
            .iter()
            .zip(0..)
            .map(|((_, _, source), nth)| (*source, nth, nth))
            .collect();
        let mut picked = entries_to_evict(entries, surplus);
        picked.sort_unstable();
        let (mut picked, mut nth) = (picked.into_iter().peekable(), 0);
        self.queue.retain(|(_, key, _)| {
            let goes = picked.next_if_eq(&nth).is_some();
            nth += 1;
            if goes {
                self.values.remove(key);
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Source {
        Source::of(address.parse().ok())
    }

    #[test]
    fn an_entry_can_be_taken_once() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, of("?"), 1000);
        assert_eq!(map.take(&"a", 1001), Some(1));
        assert_eq!(map.take(&"a", 1001), None);
    }

    #[test]
    fn an_entry_lives_its_lifetime_and_not_longer() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, of("?"), 1000);
        map.put("b", 2, of("?"), 1000);
        assert_eq!(map.take(&"a", 1299), Some(1));
        assert_eq!(map.take(&"b", 1300), None);
    }

    #[test]
    fn a_clock_set_back_ends_entries() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, of("?"), 100_000);
        assert_eq!(map.take(&"a", 10_000), None);
        assert!(map.queue.is_empty());
    }

    #[test]
    fn never_more_than_the_bound_and_the_oldest_goes() {
        let mut map = Expiring::new(300, 3);
        for key in 0..1000 {
            map.put(key, key, of("?"), 1000);
            let _ = map.take(&(key - 1), 1000).filter(|_| key % 2 == 0);
            assert!(map.queue.len() <= 3 && map.values.len() <= 3);
        }
        let mut full = Expiring::new(300, 3);
        for key in 0..4 {
            full.put(key, key, of("?"), 1000);
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
            // Each time another link of one site, as fast as it likes.
            |nth| format!("2001:db8:0:{:x}::", nth % 0x1_0000),
            |nth| format!("2001:db8:0:{:x}::{nth:x}", nth % 0x100),
            |nth| format!("198.51.100.{}", nth % 256),
            |_| "?".into(),
        ];
        for flood in floods {
            let mut map = Expiring::new(300, 1000);
            let honest = ["192.0.2.1", "2001:db8:1::1", "203.0.113.7"];
            for (nth, address) in honest.iter().enumerate() {
                map.put(nth, nth, of(address), 1000);
            }
            for nth in 10..20_000 {
                map.put(nth, nth, of(&flood(nth)), 1000 + nth as i64 / 1000);
            }
            assert!(
                (0..honest.len()).all(|nth| map.take(&nth, 1100).is_some()),
                "{}",
                flood(0)
            );
            assert!(
                map.take(&10, 1100).is_none() && map.take(&19_999, 1100).is_some(),
                "the oldest of its own go"
            );
        }
    }

    #[test]
    fn within_a_network_the_source_that_holds_most_gives_way() {
        let mut map = Expiring::new(300, 1000);
        map.put(0, 0, of("2001:db8:0:1::1"), 1000);
        for nth in 1..5000 {
            map.put(nth, nth, of("2001:db8:0:2::1"), 1000);
        }
        assert_eq!(map.take(&0, 1000), Some(0));
    }

    #[test]
    fn each_of_many_networks_keeps_its_share() {
        let mut map = Expiring::new(300, 1000);
        // A third of them all at once, then one flood after another.
        for nth in 0..300 {
            map.put(nth, nth, of("192.0.2.1"), 1000);
        }
        for nth in 1000..9000 {
            map.put(nth, nth, of(&format!("2001:db8:{:x}::", nth / 5000)), 1000);
        }
        // 875 entries stay when room is made, and each of three networks keeps at least a third of
        // them.
        assert!((0..300).filter(|nth| map.take(nth, 1000).is_some()).count() >= 875 / 3);
    }

    #[test]
    fn room_costs_little() {
        // Room is made for an eighth of the bound: one entry of 125 causes that, and the others
        // find room.
        let mut map = Expiring::new(300, 1000);
        let mut made = 0;
        for nth in 0..100_000 {
            let before = map.queue.len();
            map.put(nth, nth, of("192.0.2.1"), 1000);
            made += usize::from(map.queue.len() <= before);
        }
        assert!(made <= 100_000 / 125, "{made}");
    }

    #[test]
    fn of_too_many_that_come_over_the_heaviest_network_gives_way() {
        let mut map = Expiring::new(300, 10);
        map.restore(
            (0..20)
                .map(|nth| (1300, nth, nth, of(if nth == 3 { "192.0.2.1" } else { "?" })))
                .collect(),
        );
        assert_eq!((map.take(&3, 1000), map.alive(1000)), (Some(3), 8));
    }

    #[test]
    fn entries_can_go_over_to_another() {
        let mut map = Expiring::new(300, 10);
        map.put("a", 1, of("?"), 1000);
        map.put("b", 2, of("?"), 1100);
        assert_eq!(map.take(&"a", 1100), Some(1));
        let entries = map
            .entries()
            .into_iter()
            .map(|(end, key, value, source)| (end, *key, *value, source))
            .collect();
        let mut other = Expiring::new(300, 10);
        other.restore(entries);
        assert_eq!(
            (other.take(&"a", 1399), other.take(&"b", 1399)),
            (None, Some(2))
        );
    }
}
