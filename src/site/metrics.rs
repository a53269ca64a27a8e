//! All metrics: what was counted, and what there is at the moment.

use crate::app::App;
use crate::clock;
use crate::metrics::{head, sample, usage};
use crate::store::{self, check, sessions};
use std::fmt::Display;

/// The metrics; where the database can't be asked, without what it would say.
pub fn text(app: &App, connections: usize) -> String {
    let mut text = String::with_capacity(32 * 1024);
    head(
        &mut text,
        "accountd_build_info",
        "gauge",
        "The version that answers.",
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
        "Captchas that wait for an answer.",
        &app.captchas()
            .map_or(0, |mut captchas| captchas.live_count(now)),
    );
    gauge("accountd_connections", "Open connections.", &connections);
    if let Ok((users, sessions)) =
        app.read(|db| Ok((check::count_users(db)?, sessions::count_good(db, now)?)))
    {
        gauge("accountd_users", "Users.", &users);
        gauge("accountd_sessions", "Sessions that are good.", &sessions);
    }
    gauge(
        "accountd_database_bytes",
        "The database on disk, with its write-ahead log.",
        &store::size(&app.data),
    );
    gauge(
        "process_resident_memory_bytes",
        "Memory of the serving process.",
        &usage::resident(),
    );
    gauge(
        "process_open_fds",
        "Descriptors that the serving process has open.",
        &usage::open_descriptors(),
    );
    gauge(
        "process_max_fds",
        "Descriptors that it may have open.",
        &usage::descriptors(),
    );
    text
}
