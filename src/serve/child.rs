//! The serving process under a supervisor: its listening socket is standard input, its line standard output.

use super::process;
use crate::failure::Failure;
use crate::limits;
use crate::log;
use crate::server::scrape::Scrape;
use crate::server::{Server, janitor};
use crate::socket::Bound;
use crate::supervise::line::{Line, Message};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::SystemTime;

/// Serves until the supervisor says otherwise or is gone.
///
/// # Errors
/// If something is in the way of a start.
pub fn run(data: &Path, listen: Option<String>, captcha_answer: Option<String>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(1, format!("a serving process is started by its supervisor: {error}"));
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let line = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let line = Arc::new(Line::new(UnixStream::from(line)));
    // A terminal and a service manager send signals to both processes; the supervisor decides.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    }
    start(data, listen, captcha_answer, socket, &line).map_err(|failure| {
        // The supervisor says it, in one line with what comes of it.
        line.say(&Message::Failed(failure.sentence.into_bytes()));
        Failure::new(failure.code, String::new())
    })
}

fn start(
    data: &Path,
    listen: Option<String>,
    captcha_answer: Option<String>,
    socket: OwnedFd,
    line: &Arc<Line>,
) -> Result<(), Failure> {
    let start = SystemTime::now();
    let Some(Message::Configure(text)) = line.hear() else { return Ok(()) };
    let config = process::load(data, &String::from_utf8_lossy(&text), listen)?;
    limits::limit_memory(config.memory_limit_mib * 1024 * 1024);
    process::report_panics();
    log::start(config.log);
    let bound = Bound { socket, listen: config.listen.clone() };
    let app = process::open(data, config, captcha_answer)?;
    line.say(&Message::Ready);
    match line.hear() {
        Some(Message::Start(renewals, state)) => {
            app.metrics.renewed(renewals);
            app.restore(&state);
        }
        _ => return Ok(()),
    }
    let ask = line.clone();
    let trouble = Box::new(move |_| ask.say(&Message::Renew));
    let server = Server::start(app, bound, trouble).map_err(|error| Failure::new(1, error))?;
    janitor::start(server.clone());
    let scrape = server.app().config.metrics_listen.clone().map(|listen| Scrape::start(server.clone(), listen));
    loop {
        let (server, line_end, scrape) = (server.clone(), line.clone(), scrape.clone());
        // In threads of their own, since the line tells that the supervisor is gone.
        match line.hear() {
            Some(Message::Retire) => drop(thread::spawn(move || {
                scrape.inspect(|scrape| scrape.end());
                server.retire();
                line_end.say(&Message::State(server.app().state()));
                server.linger();
                end();
            })),
            Some(Message::Sweep) => drop(thread::spawn(move || process::sweep(server.app(), start))),
            Some(Message::Stop) => drop(thread::spawn(move || {
                server.stop();
                scrape.inspect(|scrape| scrape.end());
                server.app().settle();
                end();
            })),
            Some(_) => {}
            None => {
                scrape.inspect(|scrape| scrape.end());
                end()
            }
        }
    }
}

/// Ends at once. tiny_http's server is never dropped: it would remove the socket that the next process listens on.
fn end() -> ! {
    log::flush();
    std::process::exit(0)
}
