//! Locks and permits that threads share.

mod semaphore;

pub use semaphore::{Permit, Semaphore};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex even if a thread has panicked while it held it. Nothing here is left half done by a
/// panic: transactions roll back, and a map has an entry or not.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
