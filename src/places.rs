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
