//! A bounded number of permits for work that many would like to do at once, shared fairly between
//! sources.

use crate::http::network::Source;
use crate::sync::lock;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A number of permits.
pub struct Semaphore {
    most: usize,
    /// The source of each permit that is held.
    held: Mutex<Vec<Option<Source>>>,
    released: Condvar,
}

/// A permit that is held until this is dropped.
pub struct Permit {
    semaphore: &'static Semaphore,
    source: Option<Source>,
}

impl Semaphore {
    /// A semaphore of which no permit is held.
    #[must_use]
    pub const fn new(most: usize) -> Semaphore {
        Semaphore {
            most,
            held: Mutex::new(Vec::new()),
            released: Condvar::new(),
        }
    }

    /// Takes a permit for a source, if one is free. The second half of the permits is only for
    /// sources that hold less than a quarter of all: one source alone cannot keep the others out.
    #[must_use]
    pub fn try_acquire(&'static self, source: Source) -> Option<Permit> {
        let mut held = self.held();
        let of_source = held.iter().filter(|one| **one == Some(source)).count();
        let allowed = held.len() < self.most / 2
            || held.len() < self.most && of_source < self.most.div_ceil(4);
        allowed.then(|| {
            held.push(Some(source));
            Permit {
                semaphore: self,
                source: Some(source),
            }
        })
    }

    /// Takes a permit for the server's own work, and waits for one if need be.
    #[must_use]
    pub fn acquire(&'static self) -> Permit {
        let held = self.held();
        let mut held = self
            .released
            .wait_while(held, |held| held.len() >= self.most)
            .unwrap_or_else(PoisonError::into_inner);
        held.push(None);
        Permit {
            semaphore: self,
            source: None,
        }
    }

    /// Waits until no permit is held, but not longer than this.
    pub fn wait_idle(&self, patience: Duration) {
        drop(
            self.released
                .wait_timeout_while(self.held(), patience, |held| !held.is_empty()),
        );
    }

    fn held(&self) -> MutexGuard<'_, Vec<Option<Source>>> {
        lock(&self.held)
    }
}

impl Drop for Permit {
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
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn source(last: u8) -> Source {
        Source::of(Some(IpAddr::from([192, 0, 2, last])))
    }

    #[test]
    fn one_source_cannot_take_every_permit() {
        static EIGHT: Semaphore = Semaphore::new(8);
        let greedy: Vec<_> = (0..8)
            .filter_map(|_| EIGHT.try_acquire(source(1)))
            .collect();
        assert_eq!(greedy.len(), 4);
        let others: Vec<_> = (0..8)
            .filter_map(|_| EIGHT.try_acquire(source(2)))
            .collect();
        assert_eq!(others.len(), 2);
        let third: Vec<_> = (0..8)
            .filter_map(|_| EIGHT.try_acquire(source(3)))
            .collect();
        assert_eq!(
            (third.len(), EIGHT.try_acquire(source(4)).is_some()),
            (2, false)
        );
        drop(greedy);
        assert!(EIGHT.try_acquire(source(4)).is_some());
    }

    #[test]
    fn never_more_at_once_than_there_are_permits() {
        static THREE: Semaphore = Semaphore::new(3);
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
