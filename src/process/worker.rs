//! A worker process. Its listening socket is standard input, its channel to the supervisor is
//! standard output.

use super::channel::{Channel, Message};
use super::limits;
use super::startup;
use crate::command::Failure;
use crate::log;
use crate::server::listener::Bound;
use crate::server::metrics_listener::MetricsListener;
use crate::server::{self, Server, Transfer};
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

/// How much longer than the slowest upload a worker may drain.
const DRAIN_MARGIN: Duration = Duration::from_secs(50);

/// Serves until the supervisor stops it or exits.
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
    // Terminals and service managers signal all processes, but only the supervisor reacts.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    }
    serve(data, listen, captcha_answer, socket, &channel).map_err(|failure| {
        // The supervisor logs it in one line with the consequence.
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
    let start = SystemTime::now();
    let text = match channel.receive() {
        Some((Message::Configure(text), _)) => text,
        Some(_) => return Ok(()),
        None => {
            let why =
                "the supervisor is a different version; restart accountd instead of reloading it";
            return Err(Failure::new(1, why.into()));
        }
    };
    let config = startup::load_config(data, &text, listen)?;
    limits::limit_memory(config.memory_limit_mib * 1024 * 1024);
    startup::log_panics();
    log::start(config.log);
    let bound = Bound {
        socket,
        listen: config.listen.clone(),
    };
    let app = startup::open_app(data, config, captcha_answer)?;
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
        // Long actions run in threads, so that the exit of the supervisor is noticed meanwhile.
        match channel.receive() {
            Some((Message::HandOver, _)) => drop(thread::spawn(move || {
                metrics.inspect(|metrics| metrics.stop());
                drain(&server, &channel_end);
                server.write_last_seen();
                exit();
            })),
            Some((Message::Connection(received), Some(socket))) => {
                server.import(Transfer { socket, received })
            }
            Some((Message::Sweep, _)) => drop(thread::spawn(move || {
                startup::remove_leftovers(server.app(), start)
            })),
            Some((Message::Stop, _)) => drop(thread::spawn(move || {
                server.stop();
                metrics.inspect(|metrics| metrics.stop());
                server.app().checkpoint();
                exit();
            })),
            Some(_) => {}
            None => {
                metrics.inspect(|metrics| metrics.stop());
                exit()
            }
        }
    }
}

/// Sends the state and the idle connections to the supervisor, and answers the last requests.
fn drain(server: &Server, channel: &Channel) {
    server.pause();
    let state = String::from_utf8(server.app().give_away())
        .ok()
        .and_then(|text| RawValue::from_string(text).ok());
    channel.send(&Message::State(
        state.unwrap_or_else(|| RawValue::NULL.to_owned()),
    ));
    let end = Instant::now()
        + DRAIN_MARGIN
        + server::transfer_timeout(server.app().config.max_avatar_bytes);
    loop {
        let (transfers, others) = server.export_idle();
        for Transfer { socket, received } in transfers {
            let _ = channel.send_with(&Message::Connection(received), Some(&socket));
        }
        let timeout = end.saturating_duration_since(Instant::now());
        if !others || timeout.is_zero() {
            return;
        }
        server.wait_for_change(timeout);
    }
}

/// Exits immediately.
fn exit() -> ! {
    log::flush();
    std::process::exit(0)
}
