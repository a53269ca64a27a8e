//! The server: an event loop that reads clients, a queue, and the threads that answer.

mod answer;
mod body;
mod chunked;
mod connection;
mod crowd;
mod event_loop;
mod fair;
mod head;
pub mod listener;
pub mod metrics_listener;
mod outgoing;
mod queue;
mod refusals;
pub mod unix;

pub use event_loop::Handed;

use crate::account::throttle::Source;
use crate::api::{self, BodyKind};
use crate::app::App;
use crate::clock;
use crate::contract::{self, Cost, outside};
use crate::http::{self, Reply, Request};
use crate::log::{self, Level};
use crate::site::Site;
use crate::sync::lock;
use crate::sync::{Permit, Semaphore};
pub use answer::answer;
use body::Lent;
use connection::{Body, Connection, Exchange, Phase, Rest};
use event_loop::EventLoop;
use head::Framing;
use listener::Bound;
use outgoing::{After, Outgoing};
use queue::Job;
use refusals::Refusals;
use std::io::{self, Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Uploads at the same time; what comes on top is told that the server is busy.
static UPLOADS: Semaphore = Semaphore::new(128);
/// Requests that hash passwords with Argon2id, or wait for their turn to, at the same time.
static HASHING: Semaphore = Semaphore::new(128);
/// Changes that wait for a slow disk at the same time, so that readers do not wait; more wait where
/// they are.
static WRITING: Semaphore = Semaphore::new(32);
/// Stack of a thread that answers requests, in bytes: a JSON body may be 128 levels deep.
const STACK: usize = 512 * 1024;
/// How long a stop waits for work that has begun.
const STOP: Duration = Duration::from_secs(30);
/// How long a worker that hands over waits for requests that are being answered, before it gives
/// away its state.
const SETTLE: Duration = Duration::from_secs(3);

/// A running server.
pub struct Server {
    app: App,
    site: Site,
    events: EventLoop,
    threads: Mutex<Vec<JoinHandle<()>>>,
    refusals: Refusals,
    /// Each answer is the last one of its connection.
    closing: AtomicBool,
    /// The threads that answer end when nothing waits.
    stopping: AtomicBool,
}

impl Server {
    /// Starts to answer requests.
    ///
    /// # Errors
    /// A sentence with what the operating system says.
    pub fn start(app: App, bound: Bound) -> Result<Arc<Server>, String> {
        let threads = app.config.threads;
        let proxies = app.config.trusted_proxies.clone();
        let site = Site::new(&app.data, &app.config);
        let server = Arc::new(Server {
            app,
            site,
            events: EventLoop::new(bound.socket, proxies, threads)?,
            threads: Mutex::default(),
            refusals: Refusals::default(),
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let spawn = |work: fn(&Arc<Server>)| {
            let server = server.clone();
            thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || work(&server))
        };
        let answering = (0..threads)
            .map(|_| spawn(Server::work))
            .collect::<io::Result<Vec<_>>>();
        let answering = answering.map_err(|error| error.to_string())?;
        spawn(|server| server.events.run(|| server.refusals.flush()))
            .map_err(|error| error.to_string())?;
        *lock(&server.threads) = answering;
        Ok(server)
    }

    /// What its requests share.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Answers what has come, and nothing more.
    pub fn stop(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.events.pause();
        self.wait_until_none(STOP, |phase| {
            matches!(
                phase,
                Phase::Queued(_) | Phase::Busy | Phase::Absorbing(_) | Phase::Sending(_)
            )
        });
        self.stopping.store(true, Ordering::SeqCst);
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.iter().for_each(|_| self.events.queue.unblock());
        for thread in threads {
            let _ = thread.join();
        }
        self.events.stop();
    }

    /// Accepts nothing more and begins no further request; returns when those that were begun are
    /// answered, uploads apart, or after a while.
    pub fn pause(&self) {
        self.events.pause();
        self.wait_until_none(SETTLE, |phase| {
            matches!(phase, Phase::Queued(_) | Phase::Busy)
        });
    }

    /// After [`Server::pause`]: gives away every connection that waits for a request, and says
    /// whether others are left.
    pub fn hand_over(&self) -> (Vec<Handed>, bool) {
        (self.events.hand_over(), self.events.count() > 0)
    }

    /// After [`Server::pause`]: waits until a connection can be given away or has ended, but not
    /// longer than this.
    pub fn wait_for_change(&self, timeout: Duration) {
        let waits = |phase: &Phase| matches!(phase, Phase::Head | Phase::Body(_));
        self.events.wait_until(timeout, |all| {
            all.is_empty() || all.iter().any(|one| waits(&one.state().phase))
        });
    }

    fn wait_until_none(&self, timeout: Duration, busy: fn(&Phase) -> bool) {
        self.events.wait_until(timeout, |all| {
            !all.iter().any(|one| busy(&one.state().phase))
        });
    }

    /// Goes on with a connection of another worker.
    pub fn adopt(&self, handed: Handed) {
        self.events.adopt(handed);
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.events.count()
    }

    fn work(self: &Arc<Server>) {
        loop {
            match self.events.queue.pop() {
                // Handlers catch their own panics; no panic may cost a thread.
                Some(job) => drop(catch_unwind(AssertUnwindSafe(|| self.dispatch(job)))),
                None if self.stopping.load(Ordering::SeqCst) => return,
                None => {}
            }
        }
    }

    /// Answers a request here and now, or in a thread of its own if its body or its work may take
    /// long.
    fn dispatch(self: &Arc<Server>, job: Job) {
        let Some((connection, exchange)) = self.events.take(job.connection) else {
            return;
        };
        let Exchange {
            headers,
            client,
            body,
            keep_alive,
        } = exchange;
        let request = Request::new(
            job.method,
            job.path,
            headers,
            client,
            clock::now(),
            clock::uptime(),
        );
        let task = Task {
            server: self.clone(),
            connection,
            keep_alive,
            began: Instant::now(),
            answered: false,
        };
        let source = Source::of(client);
        let whole = if let Body::Whole(bytes) = &body {
            Some(&**bytes)
        } else {
            None
        };
        match api::cost(&self.app, &request, whole) {
            _ if matches!(body, Body::Malformed) => task.refuse(&request, 400, body),
            Cost::Quick => task.answer(request, body),
            Cost::Write => match WRITING.try_acquire(source) {
                Some(permit) => in_background(permit, move || task.answer(request, body)),
                None => task.answer(request, body),
            },
            Cost::Hash => match HASHING.try_acquire(source) {
                Some(permit) => in_background(permit, move || task.answer(request, body)),
                None => task.refuse(&request, 503, body),
            },
            Cost::Upload => {
                let announced = if let Body::Unread {
                    framing: Framing::Length(bytes),
                    ..
                } = body
                {
                    bytes
                } else {
                    0
                };
                if let Some(reply) = api::refuse_upload(&self.app, &request, announced) {
                    task.reply(&request, reply, After::Discard, rest_of(body));
                } else if let Some(permit) = UPLOADS.try_acquire(source) {
                    in_background(permit, move || task.answer(request, body));
                } else {
                    task.refuse(&request, 503, body);
                }
            }
        }
    }
}

/// A request that is being answered. If it is dropped without an answer, its connection ends.
struct Task {
    server: Arc<Server>,
    connection: Arc<Connection>,
    keep_alive: Option<&'static str>,
    began: Instant,
    answered: bool,
}

impl Task {
    /// Does what a request asks for, and sends the answer.
    fn answer(self, request: Request, body: Body) {
        let server = self.server.clone();
        let app = &server.app;
        let upload = api::body_kind(&request.method, &request.path) == BodyKind::Upload;
        let answered = |body: &mut dyn Read| answer(app, &server.site, &request, body);
        let (reply, whole, rest) = match body {
            Body::Whole(bytes) => (answered(&mut Cursor::new(bytes)), true, Rest::Length(0)),
            Body::Broken(bytes) => {
                let mut broken = Cursor::new(bytes).chain(Failing(ErrorKind::UnexpectedEof));
                (answered(&mut broken), false, Rest::Unknown)
            }
            Body::Unread {
                framing,
                expects_continue,
            } if upload => {
                let mut body =
                    Lent::new(&server.events, &self.connection, framing, expects_continue);
                let reply = answered(&mut body);
                (reply, body.is_whole(), body.rest())
            }
            body => (
                answered(&mut Failing(ErrorKind::FileTooLarge)),
                false,
                rest_of(body),
            ),
        };
        let after = match whole {
            false => After::Discard,
            true if self.keep_alive.is_some() && !server.closing.load(Ordering::Relaxed) => {
                After::KeepAlive
            }
            true => After::Close,
        };
        self.reply(&request, reply, after, rest);
    }

    /// Answers about HTTP itself, without having read the body.
    fn refuse(self, request: &Request, status: u16, body: Body) {
        self.reply(
            request,
            outside(status).into(),
            After::Discard,
            rest_of(body),
        );
    }

    /// Counts, logs and sends a reply, once the rest of the body has come.
    fn reply(mut self, request: &Request, reply: Reply, after: After, rest: Rest) {
        self.answered = true;
        let (status, code, took) = (reply.status, reply.code, self.began.elapsed());
        let app = &self.server.app;
        // The supervisor's probe is not a client's request.
        let health = request.path == contract::HEALTH.path;
        if !health || request.method != "HEAD" {
            app.metrics.count(&request.path, status, code, took);
        }
        let connection = self
            .keep_alive
            .filter(|_| after == After::KeepAlive)
            .unwrap_or("close");
        let cors = http::cors(&app.config.cors_origins, &request.origin);
        let (bytes, file) = reply.into_wire(request.method == "HEAD", connection, &cors);
        self.server
            .events
            .answer(&self.connection, Outgoing::new(bytes, file, after), rest);
        if matches!(status, 429 | 503) {
            self.server.refusals.count(status, request);
        } else if log::wants(Level::Info) && !health {
            let code = code
                .filter(|code| *code != status)
                .map(|code| format!(" {code}"))
                .unwrap_or_default();
            let (client, method, path) = (
                request.source(),
                &request.method,
                http::path_for_log(&request.path),
            );
            let took = took.as_secs_f64() * 1e3;
            log::line(
                Level::Info,
                &format!("{client} {method} {path} {status}{code} {took:.1}ms"),
            );
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.answered {
            self.server.events.abort(&self.connection);
        }
    }
}

/// What is still to come of a body that is not looked at.
fn rest_of(body: Body) -> Rest {
    match body {
        Body::Whole(_) => Rest::Length(0),
        Body::Unread {
            framing,
            expects_continue,
        } => Rest::of(framing, expects_continue),
        Body::TooLarge(rest) => rest,
        Body::Broken(_) | Body::Malformed => Rest::Unknown,
    }
}

/// A body of which nothing can be read, and why.
struct Failing(ErrorKind);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

/// Does some work in a thread of its own, which keeps the permit until then.
fn in_background(permit: Permit, work: impl FnOnce() + Send + 'static) {
    // If the system has no more threads, the connection ends with the work that is dropped.
    drop(thread::Builder::new().stack_size(STACK).spawn(move || {
        work();
        drop(permit);
    }));
}
