//! The server: listens, hands requests to threads, and stops when it has answered what it has.

mod connections;
mod heartbeat;
pub mod janitor;
pub mod scrape;

pub use connections::Connections;

use crate::api::{self, Pace};
use crate::app::App;
use crate::config::Listen;
use crate::contract::outside;
use crate::http::{self, Arrived, Framing, Incoming, Outgoing, Reply};
use crate::log::{self, Level};
use crate::places::{Place, Places};
use crate::socket::{self, Bound, Knock};
use connections::Turn;
use heartbeat::Heartbeat;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Uploads and other long work at the same time; whoever comes on top is told that the server is busy.
static WORK: Places = Places::new(64);
/// Changes that wait for a slow disk at the same time, so that who only reads need not; more wait where they are.
static WRITING: Places = Places::new(32);
/// Answers that are being read slowly, at the same time; of those on top the connection ends.
static SENDING: Places = Places::new(64);
/// What the supervisor and monitors ask for again and again: no line in the log.
const HEALTH: &str = "/health";
/// Stack of a thread that answers requests, in bytes: a JSON body may be 128 levels deep.
const STACK: usize = 512 * 1024;
/// How long a stop waits for work that has begun.
const FAREWELL: Duration = Duration::from_secs(30);
/// Connections of our own that outlast the accept loop, each with a thread of its own: tiny_http starts one for it if
/// there is time between them.
const RESERVE: usize = 24;
const GAP: Duration = Duration::from_micros(500);
/// So many connections that could not be ended, each a thread and two descriptors, are reason enough to start anew.
const FORGOTTEN: usize = 64;
/// How long a server that has retired leaves those that are connected to send what they began.
const LINGER: Duration = Duration::from_secs(1);

/// Whether the thread that accepts connections has panicked: for want of a descriptor, say.
pub static DEAF: AtomicBool = AtomicBool::new(false);

/// Why a server can't go on for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It accepts nothing more.
    Deaf,
    /// It nears a limit, or keeps what it does not need.
    Worn,
}

/// A running server.
pub struct Server {
    app: App,
    socket: Bound,
    http: tiny_http::Server,
    heartbeat: Heartbeat,
    /// Called when the server can't go on for long, once for each trouble.
    trouble: Box<dyn Fn(Trouble) + Send + Sync>,
    /// Whether it was called, by trouble.
    troubled: [AtomicBool; 2],
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// The accept loop has ended.
    deaf: AtomicBool,
    /// Each answer is the last one of its connection.
    closing: AtomicBool,
    /// Workers end when nothing waits.
    stopping: AtomicBool,
    /// Held by the worker that waits for a request.
    order: Mutex<()>,
    connections: Connections<Arrived>,
    /// Requests that waited behind another one of their connection and have their turn now; for each, a worker is woken.
    turns: Mutex<VecDeque<(Arrived, SocketAddr)>>,
}

impl Server {
    /// Starts to answer requests. `trouble` is called when it can't go on for long.
    ///
    /// # Errors
    /// Whatever tiny_http says.
    pub fn start(app: App, bound: Bound, trouble: Box<dyn Fn(Trouble) + Send + Sync>) -> Result<Arc<Server>, String> {
        // As a process that ended while it handed over may have left it.
        bound.block(true).map_err(|error| error.to_string())?;
        let socket = bound.socket.try_clone().map_err(|error| error.to_string())?;
        let listener: tiny_http::Listener = match bound.listen {
            Listen::Tcp(_) => TcpListener::from(socket).into(),
            Listen::Unix(_) => UnixListener::from(socket).into(),
        };
        let threads = app.config.threads;
        let server = Arc::new(Server {
            app,
            http: tiny_http::Server::from_listener(listener, None).map_err(|error| error.to_string())?,
            heartbeat: Heartbeat::start(bound.listen.clone()),
            socket: bound,
            trouble,
            workers: Mutex::default(),
            troubled: [AtomicBool::new(false), AtomicBool::new(false)],
            deaf: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            order: Mutex::new(()),
            connections: Connections::new(),
            turns: Mutex::default(),
        });
        let work = || {
            let server = server.clone();
            thread::Builder::new().stack_size(STACK).spawn(move || server.work())
        };
        let workers =
            (0..threads).map(|_| work()).collect::<io::Result<Vec<_>>>().map_err(|error| error.to_string())?;
        server.workers.lock().unwrap_or_else(PoisonError::into_inner).extend(workers);
        Ok(server)
    }

    /// What is known of its connections.
    #[must_use]
    pub fn connections(&self) -> &Connections<Arrived> {
        &self.connections
    }

    /// What its requests share.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Answers what has come, and nothing more.
    pub fn stop(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.stopping.store(true, Ordering::SeqCst);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        // One call wakes one worker, behind the requests that wait already.
        workers.iter().for_each(|_| self.http.unblock());
        for worker in workers {
            let _ = worker.join();
        }
        for places in [&WORK, &WRITING, &SENDING] {
            places.wait_empty(FAREWELL);
        }
    }

    /// Accepts no more connections: those that come are left to whoever else has the listening socket.
    pub fn retire(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let knock = || Knock::new(&self.socket.listen).ok();
        let hold = |knock: Knock| {
            thread::sleep(GAP);
            knock.hold()
        };
        let (reserve, last): (Vec<_>, _) = ((0..RESERVE).filter_map(|_| knock()).map(hold).collect(), knock());
        // tiny_http ends its accept loop when accept() fails. Where it must not wait, it fails as soon as nobody is left;
        // the last knock wakes it.
        if self.socket.block(false).is_ok() {
            if let Some(last) = last {
                last.knock();
            }
            let since = Instant::now();
            while !self.deaf.load(Ordering::SeqCst) && since.elapsed() < LINGER {
                thread::sleep(Duration::from_millis(1));
            }
        }
        // The next process waits for connections on the same socket.
        let _ = self.socket.block(true);
        // Each one that ends gives its thread to a connection that waits for one, as the heartbeat did until now.
        drop(reserve);
    }

    /// Waits until every connection that was accepted had time for its request, and has its answer.
    pub fn linger(&self) {
        let since = Instant::now();
        while since.elapsed() < LINGER || (self.connections.busy() > 0 && since.elapsed() < FAREWELL) {
            thread::sleep(Duration::from_millis(20));
        }
        self.stop();
    }

    fn work(self: &Arc<Server>) {
        loop {
            match self.next() {
                // Handlers catch their own panics; none at all may cost a worker.
                Ok((request, peer)) => drop(catch_unwind(AssertUnwindSafe(|| self.dispatch(request, peer)))),
                Err(_) if self.stopping.load(Ordering::SeqCst) => return,
                // Nothing can be accepted any more, but what is connected is still answered.
                Err(_) => {
                    self.deaf.store(true, Ordering::SeqCst);
                    self.ask_for_help(Trouble::Deaf);
                }
            }
        }
    }

    /// Waits for a request that is to be answered now. One thread at a time, since the requests of a connection must
    /// enter in their order: the second can't be answered before the first. It goes on to the one that is, so that a flood
    /// of others is not handed from thread to thread.
    fn next(&self) -> io::Result<(Arrived, Option<SocketAddr>)> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let request = match self.http.recv() {
                Ok(request) => Arrived::new(request),
                Err(error) => {
                    let turn = self.turns().pop_front();
                    return turn.map(|(request, peer)| (request, Some(peer))).ok_or(error);
                }
            };
            if request.url() != HEALTH {
                self.heartbeat.stir();
            }
            let Some(peer) = request.remote_addr().copied() else { return Ok((request, None)) };
            match self.connections.enter(peer, request) {
                Turn::Now(request) => return Ok((request, Some(peer))),
                Turn::Later => {}
                Turn::Shut => socket::cut(peer),
            }
        }
    }

    /// Answers a request here and now, or in a thread of its own if its body or its work may take long.
    fn dispatch(self: &Arc<Server>, request: Arrived, peer: Option<SocketAddr>) {
        let framing = http::framing(&request);
        let pace = match framing {
            Framing::AtHand => api::pace(&self.app, http::path(request.url())),
            _ => Pace::Long,
        };
        let place = match pace {
            _ if framing == Framing::Broken => None,
            Pace::Long => WORK.take(),
            Pace::Waiting => WRITING.take(),
            Pace::Quick => None,
        };
        if place.is_none() && pace != Pace::Long {
            let rest = self.answer(request, framing);
            return self.send(rest, peer);
        }
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

    /// A request is answered: what waits behind it has its turn when those that have come meanwhile had theirs. A client
    /// that is quick may have asked again before this worker gets here; one that sends many ahead is no quicker for it.
    fn leave(&self, peer: Option<SocketAddr>) {
        if let Some(peer) = peer
            && let Some(request) = self.connections.leave(peer)
        {
            self.turns().push_back((request, peer));
            self.http.unblock();
        }
    }

    fn turns(&self) -> MutexGuard<'_, VecDeque<(Arrived, SocketAddr)>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a request asks for. The answer is on its way, or nothing is left to send.
    fn answer(&self, mut request: Arrived, framing: Framing) -> Option<Outgoing> {
        let since = Instant::now();
        let mut head = http::head(&request, &self.app.config.trusted_proxies);
        let mut body = Incoming::new(&mut request, framing);
        let reply = api::answer(&self.app, &mut head, &mut body);
        // A chunked body is the last one of its connection: tiny_http takes lengths with a sign or spaces, which a proxy
        // before it may take otherwise.
        let whole = body.drain() && framing != Framing::Chunked;
        let (status, code, took) = (reply.status, reply.code, since.elapsed());
        // The supervisor's question is nobody's request.
        if head.path != HEALTH || head.method != "HEAD" {
            self.app.metrics.count(&head.path, status, code, took);
        }
        let cors = http::cors(&self.app.config.cors_origins, &head.origin);
        let outgoing = if whole {
            Some(Outgoing::new(request, reply, &cors, self.closing.load(Ordering::Relaxed)))
        } else {
            self.abandon(request, reply, &cors);
            None
        };
        if log::wants(Level::Info) && head.path != HEALTH {
            let client = head.client.map_or_else(|| "-".into(), |client| client.to_string());
            let code = code.filter(|code| *code != status).map(|code| format!(" {code}")).unwrap_or_default();
            let path: String = head.path.chars().take(200).collect();
            let took = took.as_secs_f64() * 1e3;
            log::line(Level::Info, &format!("{client} {} {path} {status}{code} {took:.1}ms", head.method));
        }
        outgoing
    }

    /// Answers about HTTP itself, without having read the body, and ends the connection.
    fn refuse(&self, request: Arrived, status: u16) {
        let head = http::head(&request, &self.app.config.trusted_proxies);
        self.app.metrics.count(&head.path, status, None, Duration::ZERO);
        self.abandon(request, outside(status).into(), &http::cors(&self.app.config.cors_origins, &head.origin));
        let client = head.client.map_or_else(|| "-".into(), |client| client.to_string());
        log::line(Level::Debug, &format!("{client} refused {status}"));
    }

    /// Whether no request is in hand.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.connections.busy() == 0 && WORK.is_empty() && WRITING.is_empty()
    }

    /// Calls `trouble`, once, unless the server is about to end anyway.
    pub fn ask_for_help(&self, trouble: Trouble) {
        if !self.closing.load(Ordering::SeqCst) && !self.troubled[trouble as usize].swap(true, Ordering::SeqCst) {
            (self.trouble)(trouble);
        }
    }

    fn abandon(&self, request: Arrived, reply: Reply, cors: &[(&str, &str)]) {
        if let Some(peer) = request.remote_addr()
            && (http::framing(&request) == Framing::Chunked || !http::holds_connection(&request))
        {
            self.connections.end(*peer);
        }
        http::abandon(request, reply, cors);
        if http::forgotten() >= FORGOTTEN {
            self.ask_for_help(Trouble::Worn);
        }
    }
}

/// Does some work in a thread of its own, which keeps the place until then.
fn in_background(place: Place, work: impl FnOnce() + Send + 'static) {
    // Where the system has no more threads, the connection ends with the work that is dropped.
    drop(thread::Builder::new().stack_size(STACK).spawn(move || {
        work();
        drop(place);
    }));
}
