//! The listener for `/metrics` at the address of `metrics_listen`, apart from everything that
//! proxies reach.

use super::Server;
use crate::config::{Config, Listen};
use crate::http;
use crate::log::{self, Level};
use crate::metrics::{CONTENT_TYPE, PATH};
use crate::server::listener::{self, Bound};
use crate::server::unix::Access;
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

/// How long a request or its answer may take; others wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest head in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Between two attempts to listen, while the process before still does.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The listener, until [`MetricsListener::stop`].
#[derive(Default)]
pub struct MetricsListener(Mutex<State>);

#[derive(Default)]
struct State {
    stopped: bool,
    bound: Option<Bound>,
}

impl MetricsListener {
    /// Answers on this address, in a thread of its own.
    #[must_use]
    pub fn start(server: Arc<Server>, listen: Listen) -> Arc<MetricsListener> {
        let listener = Arc::new(MetricsListener::default());
        let this = listener.clone();
        thread::spawn(move || {
            let Some(bound) = this.listen(&server.app().config, &listen) else {
                return;
            };
            let accept = acceptor(bound);
            while !this.state().stopped {
                // A client that breaks off is its own affair; a listener that fails has stopped, or
                // lacks descriptors.
                match accept() {
                    Ok(stream) => drop(answer(&server, stream)),
                    Err(_) => thread::sleep(RETRY_INTERVAL),
                }
            }
        });
        listener
    }

    /// Leaves the address to the next process, if there is one.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        if let Some(bound) = state.bound.take() {
            release(bound);
        }
    }

    /// Listens as soon as no other process does; nothing if that is not wanted any more.
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

/// Whether this process could listen there, before it starts others that do.
///
/// # Errors
/// A sentence that says why not.
pub fn check(config: &Config) -> Result<(), String> {
    let Some(listen) = &config.metrics_listen else {
        return Ok(());
    };
    let bound = bind(config, listen);
    bound
        .map(release)
        .map_err(|error| format!("metrics_listen: cannot listen on {}: {error}", url(listen)))
}

/// A listening socket; one in the file system has the permissions of the other one.
fn bind(config: &Config, listen: &Listen) -> io::Result<Bound> {
    listener::bind(
        listen,
        &Access {
            mode: config.socket_mode.0,
            group: config.socket_group.clone(),
        },
    )
}

/// Ends a listening socket, and with it the wait for a connection there. Its path goes first: the
/// next process can't have bound it before.
fn release(bound: Bound) {
    if let Listen::Unix(path) = &bound.listen {
        let _ = fs::remove_file(path);
    }
    let _ = rustix::net::shutdown(&bound.socket, rustix::net::Shutdown::Both);
}

/// Waits for a connection. Reads, writes and their limits are the same calls for every kind of
/// socket.
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

/// Where the metrics are, for a line of the log.
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

/// The head of a request.
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
