//! Standard output, which may be closed or full.

use crate::command::Failure;
use crate::log::escape;
use std::io::{self, ErrorKind, Write};

/// Prints lines. Control characters and invisible characters in them are escaped, wherever the text
/// comes from.
///
/// If the reader has closed the pipe, the failure has code 0 and no sentence: `accountd … | head`
/// is not an error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(escape::lines(text).as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::new(0, String::new()),
            _ => Failure::new(1, format!("standard output cannot be written: {error}")),
        })
}
