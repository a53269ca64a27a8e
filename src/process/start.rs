//! What every worker does when it starts, with a supervisor or without.

use crate::account::avatar;
use crate::app::App;
use crate::clock;
use crate::command::Failure;
use crate::config::{self, Config};
use crate::log::{self, Level};
use crate::store::{Durable, Reader, Store, audit, users};
use std::path::Path;
use std::time::SystemTime;

/// The configuration with this text of its file, over it the address of the command line.
///
/// # Errors
/// What is not right about it.
pub fn load(data: &Path, text: &str, listen: Option<String>) -> Result<Config, Failure> {
    let arguments: Vec<_> = listen
        .map(|address| ("listen", "--listen", address))
        .into_iter()
        .collect();
    let loaded =
        config::environment().and_then(|found| config::parse(data, text, &found, &arguments));
    loaded
        .map(|(config, _)| config)
        .map_err(|error| Failure::new(2, error))
}

/// What a serving process needs, opened.
///
/// # Errors
/// If the database is not to be used.
pub fn open(data: &Path, config: Config, captcha_answer: Option<String>) -> Result<App, Failure> {
    let store = Store::open(data).map_err(|error| Failure::new(1, error))?;
    let reader = Reader::open(data).map_err(|error| Failure::new(1, error))?;
    Ok(App::new(config, data.into(), captcha_answer, store, reader))
}

/// Removes pictures from before `start` that belong to nobody, since a crash cut their upload off,
/// and lines of the audit log that are too old.
pub fn sweep(app: &App, start: SystemTime) {
    // When in doubt, it stays.
    let used = |name: &str| app.read(|db| users::has_avatar(db, name)).unwrap_or(true);
    let count = avatar::sweep(&app.data, start, used);
    if count > 0 {
        log::line(
            Level::Info,
            &format!("{count} pictures that belong to nobody were removed"),
        );
    }
    if let Err(fault) = app.write(Durable::Soon, |db| {
        audit::prune(db, clock::now(), app.config.audit_days)
    }) {
        log::line(Level::Error, &format!("audit: {}", fault.cause()));
    }
}

/// One line for a panic: where it was, and nothing of what it says, which may quote what somebody
/// sent.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::line(Level::Error, &format!("panic at {place}"));
    }));
}
