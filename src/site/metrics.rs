//! The text of `/metrics`: the counters and the current state of the server.

use crate::app::App;
use crate::clock;
use crate::metrics::{head, sample, usage};
use crate::store::{self, sessions, users};
use std::fmt::Display;

/// All metrics. If the database cannot be read, those about it are missing.
pub fn text(app: &App, connections: usize) -> String {
    let mut text = String::with_capacity(32 * 1024);
    head(
        &mut text,
        "accountd_build_info",
        "gauge",
        "The version of the worker.",
    );
    sample(
        &mut text,
        "accountd_build_info",
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        1,
    );
    app.metrics.write(&mut text);
    let now = clock::now();
    let mut gauge = |name: &str, help: &str, value: &dyn Display| {
        head(&mut text, name, "gauge", help);
        sample(&mut text, name, "", value);
    };
    gauge(
        "accountd_captchas",
        "Captchas that are neither answered nor expired.",
        &app.captchas()
            .map_or(0, |mut captchas| captchas.live_count(now)),
    );
    gauge("accountd_connections", "Open connections.", &connections);
    if let Ok((users, sessions)) =
        app.read(|db| Ok((users::count_all(db)?, sessions::count_valid(db, now)?)))
    {
        gauge("accountd_users", "Users.", &users);
        gauge(
            "accountd_sessions",
            "Sessions that have not expired.",
            &sessions,
        );
    }
    gauge(
        "accountd_database_bytes",
        "Size of the database on disk, with its write-ahead log.",
        &store::size(&app.data),
    );
    gauge(
        "process_resident_memory_bytes",
        "Resident memory of the worker.",
        &usage::resident(),
    );
    gauge(
        "process_open_fds",
        "Open file descriptors of the worker.",
        &usage::open_descriptors(),
    );
    gauge(
        "process_max_fds",
        "The most file descriptors that the worker may open.",
        &usage::descriptors(),
    );
    text
}
