//! Lines on standard error, written by a thread of its own so that a reader who stalls stalls no
//! request.

pub mod escape;

use crate::log::escape::is_unseen;
use crate::sync::lock;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

/// Bytes that wait for a reader at the most; what comes on top is counted and dropped.
const WAITING: usize = 64 * 1024;
/// Between two writes at the least, so that many lines are one: each alone would wake the writing
/// thread.
const GATHER: Duration = Duration::from_millis(5);
/// How long [`flush`] waits for a reader who stalls.
const FLUSH: Duration = Duration::from_secs(1);

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Faults of the server.
    Error,
    /// And a line a request.
    Info,
    /// And what a client did wrong on the level of connections.
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

/// Starts the writing thread; what is below `level` is not written.
pub fn start(level: Level) {
    set(level);
    thread::spawn(write);
}

/// Lines up to this level, from now on.
pub fn set(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether lines of this level are written.
#[must_use]
pub fn wants(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes one line: the time (UTC), the level and the text, in which what is not seen is escaped.
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
    if text.contains(is_unseen) {
        for character in text.chars() {
            if is_unseen(character) {
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

/// Writes text as it is: the few lines of a start.
pub fn raw(text: &str) {
    let mut queue = lock(&QUEUE);
    if queue.lines.len() + text.len() > WAITING {
        queue.dropped += 1;
        return;
    }
    if queue.lines.is_empty() && !queue.writing {
        CHANGED.notify_all();
    }
    queue.lines.extend_from_slice(text.as_bytes());
}

/// Waits until everything is written, but not for a reader who stalls.
pub fn flush() {
    let queue = lock(&QUEUE);
    drop(CHANGED.wait_timeout_while(queue, FLUSH, |queue| {
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
        // A standard error that is closed is no reason to stop serving.
        let _ = io::stderr().lock().write_all(&lines);
        lines.clear();
        thread::sleep(GATHER);
        queue = lock(&QUEUE);
    }
}
