//! Steps of the start that are the same with and without a supervisor.

use crate::account::avatar;
use crate::app::App;
use crate::clock;
use crate::command::Failure;
use crate::config::{self, Config};
use crate::log::{self, Level};
use crate::store::{Durable, Reader, Store, audit, users};
use std::path::Path;
use std::time::SystemTime;

/// Loads the configuration from the text of its file, the environment and the command line.
pub fn load_config(data: &Path, text: &str, listen: Option<String>) -> Result<Config, Failure> {
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

/// Opens the database and everything else that a serving process needs.
pub fn open_app(
    data: &Path,
    config: Config,
    captcha_answer: Option<String>,
) -> Result<App, Failure> {
    let store = Store::open(data).map_err(|error| Failure::new(1, error))?;
    let reader = Reader::open(data).map_err(|error| Failure::new(1, error))?;
    Ok(App::new(config, data.into(), captcha_answer, store, reader))
}

/// Removes pictures that no account uses and that are older than `start` (a crash interrupted their
/// upload), and expired entries of the audit log.
pub fn remove_leftovers(app: &App, start: SystemTime) {
    // If the database cannot tell, the picture stays.
    let used = |name: &str| app.read(|db| users::has_avatar(db, name)).unwrap_or(true);
    let count = avatar::sweep(&app.data, start, used);
    if count > 0 {
        log::line(
            Level::Info,
            &format!("removed {count} pictures that no account uses"),
        );
    }
    if let Err(fault) = app.write(Durable::Soon, |db| {
        audit::prune(db, clock::now(), app.config.audit_days)
    }) {
        log::line(Level::Error, &format!("audit: {}", fault.cause()));
    }
}

/// Logs a panic as one line with its location. Its message is left out, since it may quote a
/// client.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::line(Level::Error, &format!("panic at {place}"));
    }));
}
