//! The log on standard error. A thread writes it, so that a reader that stalls does not block
//! requests.

pub mod escape;

use crate::clock;
use crate::sync::lock;
use escape::is_invisible;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

/// The maximum number of bytes that wait for the reader. Further lines are dropped and counted.
const MAX_WAITING: usize = 64 * 1024;
/// The minimum time between two writes, which batches lines: each write wakes the thread.
const WRITE_INTERVAL: Duration = Duration::from_millis(5);
/// How long [`flush`] waits for a reader that stalls.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Faults of the server.
    Error,
    /// Requests.
    Info,
    /// Details of refused uploads.
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    lines: Vec::new(),
    dropped: 0,
    writing: false,
});
static CHANGED: Condvar = Condvar::new();

struct Queue {
    lines: Vec<u8>,
    dropped: u64,
    writing: bool,
}

/// Starts the writing thread, and sets the level.
pub fn start(level: Level) {
    set_level(level);
    thread::spawn(write);
}

/// Sets the level up to which lines are written.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether lines of this level are written.
pub fn wants(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Lines that any client can cause, of which at most one is written in an interval.
pub struct Limited {
    /// In seconds.
    interval: u64,
    next: AtomicU64,
}

impl Limited {
    /// One line in this many seconds.
    pub const fn every(interval: u64) -> Limited {
        Limited {
            interval,
            next: AtomicU64::new(0),
        }
    }

    /// Writes a line, unless the last one was written within the interval.
    pub fn line(&self, level: Level, text: &str) {
        let now = clock::uptime().as_secs();
        let due = |next| (now >= next).then_some(now + self.interval);
        let update = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due);
        if update.is_ok() {
            line(level, text);
        }
    }
}

/// Writes one line: the time (UTC), the level and the text with invisible characters escaped.
pub fn line(level: Level, text: &str) {
    if !wants(level) {
        return;
    }
    let mut line = String::with_capacity(text.len() + 40);
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    let _ = write!(
        line,
        "{time} {}",
        ["error ", "info ", "debug "][level as usize]
    );
    if text.contains(is_invisible) {
        for character in text.chars() {
            if is_invisible(character) {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
    } else {
        line.push_str(text);
    }
    line.push('\n');
    raw(&line);
}

/// Writes text unchanged, for the message at the start.
pub fn raw(text: &str) {
    let mut queue = lock(&QUEUE);
    if queue.lines.len() + text.len() > MAX_WAITING {
        queue.dropped += 1;
        return;
    }
    if queue.lines.is_empty() && !queue.writing {
        CHANGED.notify_all();
    }
    queue.lines.extend_from_slice(text.as_bytes());
}

/// Waits until everything is written, at most for a second if the reader stalls.
pub fn flush() {
    let queue = lock(&QUEUE);
    drop(CHANGED.wait_timeout_while(queue, FLUSH_TIMEOUT, |queue| {
        queue.writing || !queue.lines.is_empty()
    }));
}

fn write() {
    let mut lines = Vec::new();
    let mut queue = lock(&QUEUE);
    loop {
        while queue.lines.is_empty() {
            queue.writing = false;
            CHANGED.notify_all();
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        std::mem::swap(&mut lines, &mut queue.lines);
        if std::mem::take(&mut queue.dropped) > 0 {
            lines.extend_from_slice(b"(lines were dropped: standard error was not read)\n");
        }
        drop(queue);
        // The server continues even if standard error is closed.
        let _ = io::stderr().lock().write_all(&lines);
        lines.clear();
        thread::sleep(WRITE_INTERVAL);
        queue = lock(&QUEUE);
    }
}
