//! The server: listens, hands requests to threads, and stops when it has answered what it has.

use crate::api;
use crate::app::App;
use crate::config::Listen;
use crate::connections::{Connections, Turn};
use crate::contract::outside;
use crate::heartbeat::Heartbeat;
use crate::http::{self, Framing, Incoming, Outgoing, Reply};
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
/// Connections with several requests at once that are answered at the same time; those on top end.
static CHAINS: Places = Places::new(8);
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
    order: Mutex<()>,
    connections: Connections<tiny_http::Request>,
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
            order: Mutex::new(()),
            connections: Connections::new(),
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
            match self.next() {
                Ok(Some((request, peer))) => self.dispatch(request, peer),
                Ok(None) => {}
                Err(_) if self.stopping.load(Ordering::SeqCst) => return Ok(()),
                Err(error) => {
                    deaf();
                    return Err(error);
                }
            }
        }
    }

    /// Waits for a request that is to be answered now. One thread at a time, since the requests of a connection must
    /// enter in their order: the second can't be answered before the first.
    fn next(&self) -> io::Result<Option<(tiny_http::Request, Option<SocketAddr>)>> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let request = self.http.recv()?;
        self.heartbeat.stir();
        let Some(peer) = request.remote_addr().copied() else { return Ok(Some((request, None))) };
        match self.connections.enter(peer, request) {
            Turn::Now(request) => return Ok(Some((request, Some(peer)))),
            Turn::Later => {}
            Turn::Shut => drop(socket::shut(peer)),
        }
        Ok(None)
    }

    /// Answers a request here and now, or in a thread of its own if its body or its work may take long.
    fn dispatch(self: &Arc<Server>, request: tiny_http::Request, peer: Option<SocketAddr>) {
        let framing = http::framing(&request);
        let place = match framing {
            Framing::Broken => None,
            Framing::AtHand if !api::takes_long(&self.app, request.url()) => {
                let rest = self.answer(request, framing);
                return self.send(rest, peer);
            }
            _ => WORK.take(),
        };
        let Some(place) = place else {
            self.refuse(request, if framing == Framing::Broken { 400 } else { 503 });
            return self.leave(peer);
        };
        let server = self.clone();
        in_background(place, move || {
            if let Some(outgoing) = server.answer(request, framing) {
                let _ = outgoing.finish();
            }
            server.leave(peer);
        });
    }

    /// Sends an answer here and now as far as the kernel takes it, and the rest from a thread that can wait for the client.
    fn send(self: &Arc<Server>, outgoing: Option<Outgoing>, peer: Option<SocketAddr>) {
        // A client that is gone needs no answer.
        let rest = outgoing
            .and_then(|mut outgoing| (!outgoing.is_small() || !outgoing.push().unwrap_or(true)).then_some(outgoing));
        match rest.and_then(|rest| Some((rest, SENDING.take()?))) {
            Some((rest, place)) => {
                let server = self.clone();
                in_background(place, move || {
                    let _ = rest.finish();
                    server.leave(peer);
                });
            }
            None => self.leave(peer),
        }
    }

    /// Goes on with what waits behind a request that is answered, in a thread of its own: nobody else is to wait for it.
    fn leave(self: &Arc<Server>, peer: Option<SocketAddr>) {
        let Some(peer) = peer else { return };
        let Some(mut request) = self.connections.leave(peer) else { return };
        let Some(place) = CHAINS.take() else {
            self.refuse(request, 503);
            self.connections.leave(peer);
            return;
        };
        let server = self.clone();
        in_background(place, move || {
            loop {
                match http::framing(&request) {
                    Framing::Broken => server.refuse(request, 400),
                    framing => drop(server.answer(request, framing).map(Outgoing::finish)),
                }
                match server.connections.leave(peer) {
                    Some(next) => request = next,
                    None => return,
                }
            }
        });
    }

    /// Does what a request asks for. The answer is on its way, or nothing is left to send.
    fn answer(&self, mut request: tiny_http::Request, framing: Framing) -> Option<Outgoing> {
        let since = Instant::now();
        let mut head = http::head(&request);
        let mut body = Incoming::new(&mut request, framing);
        let reply = api::answer(&self.app, &mut head, &mut body);
        let whole = body.drain();
        let (status, code) = (reply.status, reply.code);
        let cors = http::cors(&self.app.config.cors_origins, &head.origin);
        let outgoing = if whole {
            Some(Outgoing::new(request, reply, &cors))
        } else {
            self.abandon(request, reply, &cors);
            None
        };
        if log::wants(Level::Info) {
            let client = head.client.map_or_else(|| "-".into(), |client| client.to_string());
            let code = code.filter(|code| *code != status).map(|code| format!(" {code}")).unwrap_or_default();
            let path: String = head.path.chars().take(200).collect();
            let took = since.elapsed().as_secs_f64() * 1e3;
            log::line(Level::Info, &format!("{client} {} {path} {status}{code} {took:.1}ms", head.method));
        }
        outgoing
    }

    /// Answers about HTTP itself, without having read the body, and ends the connection.
    fn refuse(&self, request: tiny_http::Request, status: u16) {
        let head = http::head(&request);
        self.abandon(request, outside(status).into(), &http::cors(&self.app.config.cors_origins, &head.origin));
        let client = head.client.map_or_else(|| "-".into(), |client| client.to_string());
        log::line(Level::Debug, &format!("{client} refused {status}"));
    }

    fn abandon(&self, request: tiny_http::Request, reply: Reply, cors: &[(&str, &str)]) {
        if let Some(peer) = request.remote_addr() {
            self.connections.end(*peer);
        }
        http::abandon(request, reply, cors);
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
