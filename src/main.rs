//! The program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    match accountd::cli::run(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.sentence.is_empty() {
                eprintln!(
                    "accountd: {}",
                    accountd::log::escape::plain(&failure.sentence)
                );
            }
            ExitCode::from(failure.code)
        }
    }
}
