//! Synchronisation between threads: a lock that survives panics, and a fair semaphore.

mod semaphore;

pub use semaphore::{Permit, Semaphore};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex even if a thread has panicked while holding it. A panic leaves no shared state
/// half changed: transactions roll back, and a map either has an entry or not.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
