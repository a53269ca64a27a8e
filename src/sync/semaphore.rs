//! A counting semaphore that keeps a part of its permits for sources that hold few of them.

use super::lock;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A counting semaphore. `K` is the key of a source of work, a client's network for example.
pub struct Semaphore<K> {
    permits: usize,
    /// The source of each permit that is held; `None` for the server's own work.
    held: Mutex<Vec<Option<K>>>,
    released: Condvar,
}

/// A permit, which is released when it is dropped.
#[must_use]
pub struct Permit<K: Copy + Eq + 'static> {
    semaphore: &'static Semaphore<K>,
    source: Option<K>,
}

impl<K: Copy + Eq> Semaphore<K> {
    /// A semaphore with all its permits free.
    pub const fn new(permits: usize) -> Semaphore<K> {
        Semaphore {
            permits,
            held: Mutex::new(Vec::new()),
            released: Condvar::new(),
        }
    }

    /// Takes a permit for a source if one is free. The second half of the permits is reserved for
    /// sources that hold less than a quarter of all permits, so one source cannot starve the
    /// others.
    pub fn try_acquire(&'static self, source: K) -> Option<Permit<K>> {
        let mut held = self.held();
        let of_source = held.iter().filter(|one| **one == Some(source)).count();
        let allowed = held.len() < self.permits / 2
            || held.len() < self.permits && of_source < self.permits.div_ceil(4);
        allowed.then(|| {
            held.push(Some(source));
            Permit {
                semaphore: self,
                source: Some(source),
            }
        })
    }

    /// Takes a permit for the server's own work; waits until one is free.
    pub fn acquire(&'static self) -> Permit<K> {
        let held = self.held();
        let mut held = self
            .released
            .wait_while(held, |held| held.len() >= self.permits)
            .unwrap_or_else(PoisonError::into_inner);
        held.push(None);
        Permit {
            semaphore: self,
            source: None,
        }
    }

    /// Waits until all permits are free, at most for `timeout`.
    pub fn wait_idle(&self, timeout: Duration) {
        drop(
            self.released
                .wait_timeout_while(self.held(), timeout, |held| !held.is_empty()),
        );
    }

    fn held(&self) -> MutexGuard<'_, Vec<Option<K>>> {
        lock(&self.held)
    }
}

impl<K: Copy + Eq> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut held = self.semaphore.held();
        if let Some(at) = held.iter().position(|one| *one == self.source) {
            held.swap_remove(at);
        }
        self.semaphore.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn one_source_cannot_take_every_permit() {
        static EIGHT: Semaphore<u8> = Semaphore::new(8);
        let greedy: Vec<_> = (0..8).filter_map(|_| EIGHT.try_acquire(1)).collect();
        assert_eq!(greedy.len(), 4);
        let others: Vec<_> = (0..8).filter_map(|_| EIGHT.try_acquire(2)).collect();
        assert_eq!(others.len(), 2);
        let third: Vec<_> = (0..8).filter_map(|_| EIGHT.try_acquire(3)).collect();
        assert_eq!((third.len(), EIGHT.try_acquire(4).is_some()), (2, false));
        drop(greedy);
        assert!(EIGHT.try_acquire(4).is_some());
    }

    #[test]
    fn no_more_permits_are_held_at_once_than_there_are() {
        static THREE: Semaphore<u8> = Semaphore::new(3);
        static INSIDE: AtomicUsize = AtomicUsize::new(0);
        let work = || {
            for _ in 0..200 {
                let _permit = THREE.acquire();
                assert!(INSIDE.fetch_add(1, Ordering::SeqCst) < 3);
                thread::yield_now();
                INSIDE.fetch_sub(1, Ordering::SeqCst);
            }
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
        THREE.wait_idle(Duration::ZERO);
        assert_eq!(INSIDE.load(Ordering::SeqCst), 0);
    }
}
