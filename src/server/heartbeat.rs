//! Connections of our own to the listening socket, which keep tiny_http awake.
//!
//! tiny_http counts a thread as free that is already promised, so of connections that come at the same instant some
//! wait until another one closes; each further connection frees one of them. And accept() must not be silent for as
//! long as [`crate::socket::SILENCE`], which it inherits as everything does.

use crate::config::Listen;
use crate::socket::Knock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Between two beats when nobody asks anything; two fit into [`crate::socket::SILENCE`], in case one goes wrong.
const REST: Duration = Duration::from_secs(9);
/// Between two beats when connections may be waiting.
const QUICK: Duration = Duration::from_millis(3);
/// Quick beats after a request. Each that frees a connection leads to a request, and so to as many again.
const BEATS: u32 = 8;

/// The thread that beats.
pub struct Heartbeat {
    thread: Thread,
    stirred: &'static AtomicBool,
}

impl Heartbeat {
    /// Beats on this address until the process ends.
    #[must_use]
    pub fn start(listen: Listen) -> Heartbeat {
        static STIRRED: AtomicBool = AtomicBool::new(false);
        let thread = thread::spawn(move || {
            loop {
                beat(&listen);
                thread::park_timeout(REST);
                while STIRRED.swap(false, Ordering::Relaxed) {
                    for _ in 0..BEATS {
                        thread::sleep(QUICK);
                        beat(&listen);
                    }
                }
            }
        });
        Heartbeat { thread: thread.thread().clone(), stirred: &STIRRED }
    }

    /// Says that a request came, and that others may have come with it.
    pub fn stir(&self) {
        if !self.stirred.swap(true, Ordering::Relaxed) {
            self.thread.unpark();
        }
    }
}

fn beat(listen: &Listen) {
    if let Ok(knock) = Knock::new(listen) {
        knock.knock();
    }
}
