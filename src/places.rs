//! A number of places for work that many would like to do at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many places, taken and given back.
pub struct Places {
    most: usize,
    taken: Mutex<usize>,
    left: Condvar,
}

/// A place that is taken until this is dropped.
pub struct Place(&'static Places);

impl Places {
    /// So many places, all free.
    #[must_use]
    pub const fn new(most: usize) -> Places {
        Places { most, taken: Mutex::new(0), left: Condvar::new() }
    }

    /// Takes a place, if one is free.
    #[must_use]
    pub fn take(&'static self) -> Option<Place> {
        let mut taken = self.taken();
        (*taken < self.most).then(|| {
            *taken += 1;
            Place(self)
        })
    }

    /// Takes a place, and waits for one if need be.
    #[must_use]
    pub fn wait(&'static self) -> Place {
        let taken = self.taken();
        let mut taken =
            self.left.wait_while(taken, |taken| *taken >= self.most).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Place(self)
    }

    /// Waits until no place is taken, but not longer than this.
    pub fn wait_empty(&self, patience: Duration) {
        drop(self.left.wait_timeout_while(self.taken(), patience, |taken| *taken > 0));
    }

    /// Whether no place is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self.taken() == 0
    }

    fn taken(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken() -= 1;
        self.0.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn a_place_is_taken_by_one_and_given_back() {
        static TWO: Places = Places::new(2);
        let (first, second) = (TWO.take(), TWO.take());
        assert!(first.is_some() && second.is_some() && TWO.take().is_none());
        drop(first);
        assert!(TWO.take().is_some());
    }

    #[test]
    fn never_more_at_once_than_there_are_places() {
        static THREE: Places = Places::new(3);
        static INSIDE: AtomicUsize = AtomicUsize::new(0);
        let work = || {
            for _ in 0..200 {
                let _place = THREE.wait();
                assert!(INSIDE.fetch_add(1, Ordering::SeqCst) < 3);
                thread::yield_now();
                INSIDE.fetch_sub(1, Ordering::SeqCst);
            }
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
        THREE.wait_empty(Duration::ZERO);
        assert_eq!(INSIDE.load(Ordering::SeqCst), 0);
    }
}
