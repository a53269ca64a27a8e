//! The server: listens, hands requests to threads, and stops when it has answered what it has.

use crate::api;
use crate::app::App;
use crate::config::Listen;
use crate::contract::outside;
use crate::expiring::Expiring;
use crate::heartbeat::Heartbeat;
use crate::http::{self, Framing, Incoming, Outgoing};
use crate::log::{self, Level};
use crate::places::{Place, Places};
use crate::socket;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Uploads and other long work at the same time; whoever comes on top is told that the server is busy.
static WORK: Places = Places::new(64);
/// Answers that are being read slowly, at the same time; of those on top the connection ends.
static SENDING: Places = Places::new(64);
/// The largest answer in bytes that a worker begins itself: it goes into the kernel's buffer even if nobody reads.
const SMALL: u64 = 128 * 1024;
/// How many seconds the end of a connection is remembered, and how many ends at the most.
const ENDED: (i64, usize) = (5, 1024);
/// How long a stop waits for work that has begun.
const FAREWELL: Duration = Duration::from_secs(30);

/// A listening socket with its options, and the address that it got.
pub struct Bound {
    listener: tiny_http::Listener,
    /// Where it listens; a port that was 0 is the one that was picked.
    pub listen: Listen,
}

/// Binds an address.
///
/// # Errors
/// Whatever the operating system says.
pub fn bind(listen: &Listen) -> io::Result<Bound> {
    match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            socket::prepare(&listener)?;
            socket::prepare_tcp(&listener)?;
            let listen = Listen::Tcp(listener.local_addr()?);
            Ok(Bound { listener: listener.into(), listen })
        }
        Listen::Unix(path) => {
            remove_stale(path)?;
            let listener = UnixListener::bind(path)?;
            socket::prepare(&listener)?;
            Ok(Bound { listener: listener.into(), listen: listen.clone() })
        }
    }
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    match UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// A running server.
pub struct Server {
    app: App,
    http: tiny_http::Server,
    heartbeat: Heartbeat,
    stopping: AtomicBool,
    /// Connections that were ended: what had already been read of them is not answered.
    ended: Mutex<Expiring<SocketAddr, ()>>,
    any_ended: AtomicBool,
}

impl Server {
    /// Answers requests until `wait` returns, and then those that have come by then.
    ///
    /// # Errors
    /// If nothing can be accepted any more; `deaf` was called then.
    pub fn run(
        app: App,
        bound: Bound,
        wait: impl FnOnce(),
        deaf: impl Fn() + Send + Sync + Clone + 'static,
    ) -> Result<(), String> {
        let threads = app.config.threads;
        let http = tiny_http::Server::from_listener(bound.listener, None).map_err(|error| error.to_string())?;
        let server = Arc::new(Server {
            app,
            http,
            heartbeat: Heartbeat::start(bound.listen),
            stopping: AtomicBool::new(false),
            ended: Mutex::new(Expiring::new(ENDED.0, ENDED.1)),
            any_ended: AtomicBool::new(false),
        });
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (server, deaf) = (server.clone(), deaf.clone());
                thread::spawn(move || server.work(&deaf))
            })
            .collect();
        wait();
        server.stop();
        let end = workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())));
        WORK.wait_empty(FAREWELL);
        SENDING.wait_empty(FAREWELL);
        end.map_err(|error| format!("connections can no longer be accepted: {error}"))
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        // One call wakes one worker, behind the requests that wait already.
        for _ in 0..self.app.config.threads {
            self.http.unblock();
        }
    }

    fn work(self: &Arc<Server>, deaf: &dyn Fn()) -> io::Result<()> {
        loop {
            match self.http.recv() {
                Ok(request) => self.take(request),
                Err(_) if self.stopping.load(Ordering::SeqCst) => return Ok(()),
                Err(error) => {
                    deaf();
                    return Err(error);
                }
            }
        }
    }

    /// Answers a request here and now, or in a thread of its own if its body or its work may take long.
    fn take(self: &Arc<Server>, request: tiny_http::Request) {
        self.heartbeat.stir();
        let framing = if self.has_ended(&request) { Framing::Broken } else { http::framing(&request) };
        match framing {
            Framing::Broken => self.refuse(request, 400),
            Framing::AtHand if !api::takes_long(&self.app, request.url()) => self.answer(request, framing),
            _ => match WORK.take() {
                Some(place) => {
                    let server = self.clone();
                    in_background(place, move || server.answer(request, framing));
                }
                None => self.refuse(request, 503),
            },
        }
    }

    fn answer(&self, mut request: tiny_http::Request, framing: Framing) {
        let since = Instant::now();
        let mut head = http::head(&request);
        let mut body = Incoming::new(&mut request, framing);
        let reply = api::answer(&self.app, &mut head, &mut body);
        let whole = body.drain();
        let (status, code, size) = (reply.status, reply.code, reply.size());
        let cors = http::cors(&self.app.config.cors_origins, &head.origin);
        if whole {
            send(Outgoing::new(request, reply, &cors), size);
        } else {
            http::abandon(request, reply, &cors);
        }
        if log::wants(Level::Info) {
            let client = head.client.map_or_else(|| "-".into(), |client| client.to_string());
            let code = code.filter(|code| *code != status).map(|code| format!(" {code}")).unwrap_or_default();
            let path: String = head.path.chars().take(200).collect();
            let took = since.elapsed().as_secs_f64() * 1e3;
            log::line(Level::Info, &format!("{client} {} {path} {status}{code} {took:.1}ms", head.method));
        }
    }

    /// Answers about HTTP itself, without having read the body.
    fn refuse(&self, request: tiny_http::Request, status: u16) {
        let head = http::head(&request);
        let cors = http::cors(&self.app.config.cors_origins, &head.origin);
        if let Some(peer) = request.remote_addr() {
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).put(*peer, (), head.now);
            self.any_ended.store(true, Ordering::Release);
        }
        http::abandon(request, outside(status).into(), &cors);
        let client = head.client.map_or_else(|| "-".into(), |client| client.to_string());
        log::line(Level::Debug, &format!("{client} refused {status}"));
    }

    /// Whether a request comes from behind one that ended its connection.
    fn has_ended(&self, request: &tiny_http::Request) -> bool {
        if !self.any_ended.load(Ordering::Acquire) {
            return false;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let known = request.remote_addr().is_some_and(|peer| ended.has(peer, http::now()));
        self.any_ended.store(!ended.is_empty(), Ordering::Release);
        known
    }
}

/// Sends an answer here and now as far as the kernel takes it, and the rest from a thread that can wait for the client.
fn send(mut outgoing: Outgoing, size: u64) {
    // A client that is gone needs no answer.
    if size <= SMALL && outgoing.push().unwrap_or(true) {
        return;
    }
    if let Some(place) = SENDING.take() {
        in_background(place, move || drop(outgoing.finish()));
    }
}

/// Does some work in a thread of its own, which keeps the place until then.
fn in_background(place: Place, work: impl FnOnce() + Send + 'static) {
    // Where the system has no more threads, the connection ends with the work that is dropped.
    drop(thread::Builder::new().spawn(move || {
        work();
        drop(place);
    }));
}
