//! The listener for `/metrics` at `metrics_listen`, separate from the address that proxies reach.

use super::Server;
use super::listener::{self, Bound};
use super::unix::Access;
use crate::config::{Config, Listen};
use crate::http;
use crate::log::{self, Level};
use crate::metrics::{CONTENT_TYPE, PATH};
use crate::site;
use crate::sync::lock;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long receiving a request or sending its reply may take. Requests are answered one by one.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum size of a head in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Time between two attempts to listen while the previous process still does.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A listener that runs in a thread until [`MetricsListener::stop`].
#[derive(Default)]
pub struct MetricsListener(Mutex<State>);

#[derive(Default)]
struct State {
    stopped: bool,
    bound: Option<Bound>,
}

impl MetricsListener {
    /// Serves the metrics at this address in a new thread.
    pub fn start(server: Arc<Server>, listen: Listen) -> Arc<MetricsListener> {
        let listener = Arc::new(MetricsListener::default());
        let this = listener.clone();
        thread::spawn(move || {
            let Some(bound) = this.listen(&server.app().config, &listen) else {
                return;
            };
            let accept = acceptor(bound);
            while !this.state().stopped {
                // Errors of one client do not matter. If accepting fails, the listener was stopped
                // or there are no free descriptors.
                match accept() {
                    Ok(stream) => drop(answer(&server, stream)),
                    Err(_) => thread::sleep(RETRY_INTERVAL),
                }
            }
        });
        listener
    }

    /// Releases the address for the next process.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        if let Some(bound) = state.bound.take() {
            release(bound);
        }
    }

    /// Listens as soon as no other process does. Returns `None` if it was stopped before.
    fn listen(&self, config: &Config, listen: &Listen) -> Option<Bound> {
        let mut reported = false;
        loop {
            let bound = bind(config, listen).and_then(|bound| Ok((bound.try_clone()?, bound)));
            let mut state = self.state();
            match bound {
                Ok((_, bound)) if state.stopped => {
                    release(bound);
                    return None;
                }
                Err(_) if state.stopped => return None,
                Ok((copy, bound)) => {
                    log::line(Level::Info, &format!("metrics on {}", url(&bound.listen)));
                    state.bound = Some(copy);
                    return Some(bound);
                }
                Err(error) if !reported => log::line(
                    Level::Error,
                    &format!("metrics_listen {}: {error}", url(listen)),
                ),
                Err(_) => {}
            }
            drop(state);
            reported = true;
            thread::sleep(RETRY_INTERVAL);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// Checks whether this process can listen there, before workers are started.
pub fn check(config: &Config) -> Result<(), String> {
    let Some(listen) = &config.metrics_listen else {
        return Ok(());
    };
    let bound = bind(config, listen);
    bound
        .map(release)
        .map_err(|error| format!("metrics_listen: cannot listen on {}: {error}", url(listen)))
}

/// Binds the address. A unix socket gets the permissions of `socket_mode` and `socket_group`.
fn bind(config: &Config, listen: &Listen) -> io::Result<Bound> {
    listener::bind(
        listen,
        &Access {
            mode: config.socket_mode.0,
            group: config.socket_group.clone(),
        },
    )
}

/// Shuts a listening socket down, which ends a blocking accept. Its path is removed first, while no
/// other process can have bound it.
fn release(bound: Bound) {
    if let Listen::Unix(path) = &bound.listen {
        let _ = fs::remove_file(path);
    }
    let _ = rustix::net::shutdown(&bound.socket, rustix::net::Shutdown::Both);
}

/// A function that accepts a connection. The stream's type does not matter for reading and writing,
/// so TCP connections are returned as `UnixStream`, too.
fn acceptor(bound: Bound) -> Box<dyn Fn() -> io::Result<UnixStream>> {
    let stream = |socket: OwnedFd| UnixStream::from(socket);
    match bound.listen {
        Listen::Tcp(_) => {
            let listener = TcpListener::from(bound.socket);
            Box::new(move || listener.accept().map(|(socket, _)| stream(socket.into())))
        }
        Listen::Unix(_) => {
            let listener = UnixListener::from(bound.socket);
            Box::new(move || listener.accept().map(|(socket, _)| socket))
        }
    }
}

/// The address of the metrics for log lines.
fn url(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("http://{address}{PATH}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn answer(server: &Server, mut stream: UnixStream) -> io::Result<()> {
    let head = head(&mut stream)?;
    let mut words = head.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let (status, kind, body) = match (method, http::path(target)) {
        ("GET" | "HEAD", PATH) => (
            "200 OK",
            CONTENT_TYPE,
            site::metrics::text(server.app(), server.connections()),
        ),
        _ => (
            "404 Not Found",
            "text/plain; charset=utf-8",
            format!("there is only {PATH}\n"),
        ),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if method != "HEAD" {
        answer += &body;
    }
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(answer.as_bytes())
}

/// Reads the head of a request.
fn head(stream: &mut UnixStream) -> io::Result<String> {
    let since = Instant::now();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = TIMEOUT
            .checked_sub(since.elapsed())
            .filter(|left| !left.is_zero())
            .ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece)?;
        if count == 0 || head.len() + count > MAX_HEAD {
            return Err(ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&piece[..count]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
