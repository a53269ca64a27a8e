//! A bar on standard error for whoever waits at a terminal, and a flag for who does not want to
//! wait any more.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two pictures of the bar.
const EVERY: Duration = Duration::from_millis(100);
/// Characters of the bar.
const WIDTH: u64 = 30;

/// What is shown of work that takes its time: on a terminal a line that is drawn anew, elsewhere
/// nothing.
pub struct Progress {
    what: &'static str,
    unit: &'static str,
    /// So many make one of the unit.
    scale: u64,
    shown: Option<Instant>,
    terminal: bool,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    /// Of work on bytes.
    #[must_use]
    pub fn of_bytes(what: &'static str) -> Progress {
        Progress::new(what, "MB", 1_000_000)
    }

    /// Of work on things of this kind.
    #[must_use]
    pub fn of(what: &'static str, unit: &'static str) -> Progress {
        Progress::new(what, unit, 1)
    }

    fn new(what: &'static str, unit: &'static str, scale: u64) -> Progress {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Where it can't be registered, the signal ends the process at once, as it does by
            // default.
            let _ = flag::register(signal, interrupted.clone());
        }
        Progress {
            what,
            unit,
            scale,
            shown: None,
            terminal: io::stderr().is_terminal(),
            interrupted,
        }
    }

    /// Shows that so much of so much is done.
    ///
    /// # Errors
    /// A sentence, if a signal (Ctrl-C) asked for an end.
    pub fn show(&mut self, done: u64, all: u64) -> Result<(), String> {
        if self.is_interrupted() {
            return Err("interrupted".into());
        }
        if self.terminal && self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) {
            self.shown = Some(Instant::now());
            let _ = write!(io::stderr(), "\r{}\x1b[K", self.line(done, all));
        }
        Ok(())
    }

    /// Says on whose behalf the bar moves from now on.
    pub fn next(&mut self, what: &'static str) {
        self.what = what;
        self.shown = None;
    }

    /// Whether a signal asked for an end.
    #[must_use]
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
                what, unit, scale, ..
            },
        ) = (done * 100 / all.max(1), self);
        format!(
            "{what:<10} [{bar}] {percent:>3} %  {} of {} {unit}",
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
