//! A worker under a supervisor: its listening socket is standard input, its channel standard
//! output.

use super::channel::{Channel, Message};
use super::limits;
use super::start;
use crate::command::Failure;
use crate::log;
use crate::server::listener::Bound;
use crate::server::metrics_listener::MetricsListener;
use crate::server::{Server, Transfer};
use rustix::fd::{AsFd, OwnedFd};
use serde_json::value::RawValue;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Bytes per second at which an upload may come, and so how long one may take that had begun before
/// a hand-over.
const PACE: u64 = 4 * 1024;

/// Serves until the supervisor says otherwise or is gone.
///
/// # Errors
/// If it cannot start.
pub fn run(
    data: &Path,
    listen: Option<String>,
    captcha_answer: Option<String>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(1, format!("a worker is started by its supervisor: {error}"))
    };
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let channel = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let channel = Arc::new(Channel::new(UnixStream::from(channel)));
    // A terminal and a service manager send signals to both processes; the supervisor decides.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    }
    serve(data, listen, captcha_answer, socket, &channel).map_err(|failure| {
        // The supervisor writes it, in one line with what comes of it.
        channel.send(&Message::Failed(failure.sentence));
        Failure::new(failure.code, String::new())
    })
}

fn serve(
    data: &Path,
    listen: Option<String>,
    captcha_answer: Option<String>,
    socket: OwnedFd,
    channel: &Arc<Channel>,
) -> Result<(), Failure> {
    let began = SystemTime::now();
    let text = match channel.receive() {
        Some((Message::Configure(text), _)) => text,
        Some(_) => return Ok(()),
        None => {
            let why =
                "the supervisor is of another version; restart accountd instead of reloading it";
            return Err(Failure::new(1, why.into()));
        }
    };
    let config = start::load(data, &text, listen)?;
    limits::limit_memory(config.memory_limit_mib * 1024 * 1024);
    start::report_panics();
    log::start(config.log);
    let bound = Bound {
        socket,
        listen: config.listen.clone(),
    };
    let app = start::open(data, config, captcha_answer)?;
    channel.send(&Message::Ready);
    match channel.receive() {
        Some((Message::Serve { restarts, state }, _)) => {
            app.metrics.set_restarts(restarts);
            if let Some(state) = state {
                app.restore(state.get().as_bytes());
            }
        }
        _ => return Ok(()),
    }
    let server = Server::start(app, bound).map_err(|error| Failure::new(1, error))?;
    let metrics = server.app().config.metrics_listen.clone();
    let metrics = metrics.map(|listen| MetricsListener::start(server.clone(), listen));
    loop {
        let (server, channel_end, metrics) = (server.clone(), channel.clone(), metrics.clone());
        // In threads of their own, since the channel tells that the supervisor is gone.
        match channel.receive() {
            Some((Message::HandOver, _)) => drop(thread::spawn(move || {
                metrics.inspect(|metrics| metrics.stop());
                hand_over(&server, &channel_end);
                end();
            })),
            Some((Message::Connection(received), Some(socket))) => {
                server.import(Transfer { socket, received })
            }
            Some((Message::Sweep, _)) => {
                drop(thread::spawn(move || start::sweep(server.app(), began)))
            }
            Some((Message::Stop, _)) => drop(thread::spawn(move || {
                server.stop();
                metrics.inspect(|metrics| metrics.stop());
                server.app().settle();
                end();
            })),
            Some(_) => {}
            None => {
                metrics.inspect(|metrics| metrics.stop());
                end()
            }
        }
    }
}

/// Gives away the state and every connection that waits for a request, and answers what was begun.
fn hand_over(server: &Server, channel: &Channel) {
    server.pause();
    let state = String::from_utf8(server.app().give_away())
        .ok()
        .and_then(|text| RawValue::from_string(text).ok());
    channel.send(&Message::State(
        state.unwrap_or_else(|| RawValue::NULL.to_owned()),
    ));
    // The longest that an upload may take at the slowest pace.
    let end =
        Instant::now() + Duration::from_secs(60 + server.app().config.max_avatar_bytes / PACE);
    loop {
        let (handed, left) = server.export_idle();
        for Transfer { socket, received } in handed {
            let _ = channel.send_with(&Message::Connection(received), Some(&socket));
        }
        let timeout = end.saturating_duration_since(Instant::now());
        if !left || timeout.is_zero() {
            return;
        }
        server.wait_for_change(timeout);
    }
}

/// Ends at once.
fn end() -> ! {
    log::flush();
    std::process::exit(0)
}
