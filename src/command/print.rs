//! Standard output, which may be closed or full.

use crate::command::Failure;
use crate::log::escape;
use std::io::{self, ErrorKind, Write};

/// Prints lines. Whatever a terminal would obey or hide in them is escaped, wherever it comes from.
///
/// # Errors
/// If it could not be written. Code 0 and no sentence if nobody reads any more: whoever closed the
/// pipe has enough.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(escape::lines(text).as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::new(0, String::new()),
            _ => Failure::new(1, format!("standard output cannot be written: {error}")),
        })
}
