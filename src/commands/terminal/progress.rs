//! A progress bar on standard error, and a flag that Ctrl-C sets.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the bar is drawn.
const INTERVAL: Duration = Duration::from_millis(100);
/// Width of the bar in characters.
const WIDTH: u64 = 30;

/// The progress of a long task. On a terminal it is a line that is redrawn; elsewhere nothing is
/// shown.
pub struct Progress {
    task: &'static str,
    unit: &'static str,
    /// How many bytes or items make one unit.
    scale: u64,
    shown: Option<Instant>,
    terminal: bool,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    /// The progress of a task that is measured in bytes.
    pub fn of_bytes(task: &'static str) -> Progress {
        Progress::new(task, "MB", 1_000_000)
    }

    /// The progress of a task that is measured in items, such as users.
    pub fn of(task: &'static str, unit: &'static str) -> Progress {
        Progress::new(task, unit, 1)
    }

    fn new(task: &'static str, unit: &'static str, scale: u64) -> Progress {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // If the flag cannot be registered, the signal ends the process at once, as by default.
            let _ = flag::register(signal, interrupted.clone());
        }
        Progress {
            task,
            unit,
            scale,
            shown: None,
            terminal: io::stderr().is_terminal(),
            interrupted,
        }
    }

    /// Shows how much is done. An error if SIGINT (Ctrl-C) or SIGTERM has come.
    pub fn show(&mut self, done: u64, all: u64) -> Result<(), String> {
        if self.is_interrupted() {
            return Err("interrupted".into());
        }
        if self.terminal && self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL) {
            self.shown = Some(Instant::now());
            let _ = write!(io::stderr(), "\r{}\x1b[K", self.line(done, all));
        }
        Ok(())
    }

    /// Begins another task.
    pub fn next(&mut self, task: &'static str) {
        self.task = task;
        self.shown = None;
    }

    /// Whether SIGINT or SIGTERM has come.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn line(&self, done: u64, all: u64) -> String {
        let done = done.min(all);
        let filled = done * WIDTH / all.max(1);
        let bar: String = (0..WIDTH)
            .map(|at| if at < filled { '#' } else { '-' })
            .collect();
        let (
            percent,
            Progress {
                task, unit, scale, ..
            },
        ) = (done * 100 / all.max(1), self);
        format!(
            "{task:<10} [{bar}] {percent:>3} %  {} of {} {unit}",
            done / scale,
            all / scale
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_end_and_not_before() {
        let progress = Progress::of("checking", "rows");
        assert_eq!(
            progress.line(0, 0),
            format!("checking   [{}]   0 %  0 of 0 rows", "-".repeat(30))
        );
        assert!(progress.line(999, 1000).contains("#-]  99 %"));
        assert_eq!(
            progress.line(7, 5),
            format!("checking   [{}] 100 %  5 of 5 rows", "#".repeat(30))
        );
        assert!(
            Progress::of_bytes("copying")
                .line(1_500_000, 3_000_000)
                .ends_with(" 50 %  1 of 3 MB")
        );
    }
}
