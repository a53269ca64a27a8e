//! A fair queue: keys are served in turn, so a key with many items delays only its own.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A queue of items with keys. Items of one key keep their order.
pub struct FairQueue<K, T> {
    items: HashMap<K, VecDeque<T>>,
    /// Every key that has items, in the order in which they are served.
    turns: VecDeque<K>,
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> FairQueue<K, T> {
        FairQueue {
            items: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// Appends an item to those of its key.
    pub fn push(&mut self, key: K, item: T) {
        let items = self.items.entry(key).or_default();
        if items.is_empty() {
            self.turns.push_back(key);
        }
        items.push_back(item);
    }

    /// Removes the first item of the next key.
    pub fn pop(&mut self) -> Option<T> {
        let key = self.turns.pop_front()?;
        let items = self.items.get_mut(&key)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.items.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_many_items_delays_only_its_own() {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|nth| queue.push('a', nth));
        assert_eq!((queue.pop(), queue.pop()), (Some(0), Some(1)));
        queue.push('b', 1000);
        queue.push('b', 1001);
        queue.push('c', 1002);
        let order: Vec<u32> = (0..6).filter_map(|_| queue.pop()).collect();
        assert_eq!(order, [2, 1000, 1002, 3, 1001, 4]);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 995);
        assert!(queue.items.is_empty() && queue.turns.is_empty());
    }
}
