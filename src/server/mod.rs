//! The HTTP server: an event loop that reads clients, a queue, and threads that answer requests.

mod answer;
mod body;
mod chunked;
mod connection;
mod event_loop;
mod eviction;
mod fair_queue;
mod head;
pub mod listener;
pub mod metrics_listener;
mod outgoing;
mod queue;
mod refusals;
pub mod unix;

pub use connection::transfer_timeout;
pub use event_loop::Transfer;

use crate::api::{self, BodyKind};
use crate::app::App;
use crate::clock;
use crate::contract::{self, Cost, outside};
use crate::http::network::Source;
use crate::http::{self, Reply, Request};
use crate::log::{self, Level};
use crate::site::Site;
use crate::sync::{Permit, Semaphore, lock};
pub use answer::answer;
use body::BodyReader;
use connection::{Body, Connection, PendingRequest, Phase, Remaining};
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

/// Concurrent uploads. Further ones get HTTP 503.
static UPLOADS: Semaphore<Source> = Semaphore::new(128);
/// Concurrent requests that hash passwords with Argon2id or wait to. Further ones get HTTP 503.
static HASHING: Semaphore<Source> = Semaphore::new(128);
/// Concurrent changes that wait for a slow disk in threads of their own, so that readers need not
/// wait for them. Further ones occupy the answering threads.
static WRITING: Semaphore<Source> = Semaphore::new(32);
/// Stack size in bytes of a thread that answers requests: a JSON body may be 128 levels deep.
const STACK_SIZE: usize = 512 * 1024;
/// How long a stop waits for requests in progress.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a worker that drains waits for requests in progress before it sends its state.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A running server.
pub struct Server {
    app: App,
    site: Site,
    events: EventLoop,
    threads: Mutex<Vec<JoinHandle<()>>>,
    refusals: Refusals,
    /// Whether each connection is closed after its reply.
    closing: AtomicBool,
    /// Whether the answering threads end once the queue is empty.
    stopping: AtomicBool,
}

impl Server {
    /// Starts the event loop and the answering threads.
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
                .stack_size(STACK_SIZE)
                .spawn(move || work(&server))
        };
        let answering = (0..threads)
            .map(|_| spawn(Server::run_thread))
            .collect::<io::Result<Vec<_>>>();
        let answering = answering.map_err(|error| error.to_string())?;
        spawn(|server| {
            let waits = || server.app.last_seen.is_waiting();
            server.events.run(|| server.keep_house(), waits);
        })
        .map_err(|error| error.to_string())?;
        *lock(&server.threads) = answering;
        Ok(server)
    }

    /// The state that requests share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Answers the requests that were received, then stops.
    pub fn stop(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.events.pause();
        self.wait_until_no(STOP_TIMEOUT, |phase| {
            matches!(
                phase,
                Phase::Queued(_) | Phase::Busy | Phase::DrainingBody(_) | Phase::Sending(_)
            )
        });
        self.stopping.store(true, Ordering::SeqCst);
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.iter().for_each(|_| self.events.queue.unblock());
        for thread in threads {
            let _ = thread.join();
        }
        self.write_last_seen();
        self.events.stop();
    }

    /// Stops accepting connections and reading requests. Returns when the requests in progress
    /// except uploads are answered, or after a time limit; what only this process knows of sessions
    /// is written then.
    pub fn pause(&self) {
        self.events.pause();
        self.wait_until_no(PAUSE_TIMEOUT, |phase| {
            matches!(phase, Phase::Queued(_) | Phase::Busy)
        });
        self.write_last_seen();
    }

    /// After [`Server::pause`]: removes and returns the idle connections, and whether others are
    /// left.
    pub fn export_idle(&self) -> (Vec<Transfer>, bool) {
        (self.events.export_idle(), self.events.count() > 0)
    }

    /// After [`Server::pause`]: waits, at most for `timeout`, until a connection is idle or all
    /// have ended.
    pub fn wait_for_change(&self, timeout: Duration) {
        let waits = |phase: &Phase| matches!(phase, Phase::Head | Phase::Body(_));
        self.events.wait_until(timeout, |all| {
            all.is_empty() || all.iter().any(|one| waits(&one.state().phase))
        });
    }

    fn wait_until_no(&self, timeout: Duration, busy: fn(&Phase) -> bool) {
        self.events.wait_until(timeout, |all| {
            !all.iter().any(|one| busy(&one.state().phase))
        });
    }

    /// Takes over a connection from another worker.
    pub fn import(&self, transfer: Transfer) {
        self.events.import(transfer);
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.events.count()
    }

    /// What is done once a second at most. Writes in a thread of its own: the event loop never waits
    /// for the disk.
    fn keep_house(self: &Arc<Server>) {
        self.refusals.flush();
        if self.app.last_seen.is_due(Instant::now()) {
            let server = self.clone();
            let writer = thread::Builder::new().stack_size(STACK_SIZE);
            drop(writer.spawn(move || server.write_last_seen()));
        }
    }

    /// Writes when sessions were last used.
    pub fn write_last_seen(&self) {
        if let Err(fault) = self.app.write_last_seen() {
            log::line(Level::Error, &format!("last seen: {}", fault.cause()));
        }
    }

    fn run_thread(self: &Arc<Server>) {
        loop {
            match self.events.queue.pop() {
                // Handlers catch their own panics. Any other panic must not end the thread.
                Some(job) => drop(catch_unwind(AssertUnwindSafe(|| self.dispatch(job)))),
                None if self.stopping.load(Ordering::SeqCst) => return,
                None => {}
            }
        }
    }

    /// Answers a request in this thread, or in a new one if its body or its work may take long.
    fn dispatch(self: &Arc<Server>, job: Job) {
        let Some((connection, exchange)) = self.events.take(job.connection) else {
            return;
        };
        let PendingRequest {
            query,
            headers,
            client,
            body,
            keep_alive,
        } = exchange;
        let proxies = &self.app.config.trusted_proxies;
        let request = Request {
            method: job.method,
            path: job.path,
            query,
            headers,
            client,
            from_proxy: proxies.iter().any(|proxy| proxy.matches(connection.peer)),
            now: clock::now(),
            uptime: clock::uptime(),
        };
        let task = Task {
            server: self.clone(),
            connection,
            keep_alive,
            began: Instant::now(),
            answered: false,
        };
        let source = Source::of(client);
        let whole = if let Body::Complete(bytes) = &body {
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
                    task.reply(&request, reply, After::LingeringClose, remaining_of(body));
                } else if let Some(permit) = UPLOADS.try_acquire(source) {
                    in_background(permit, move || task.answer(request, body));
                } else {
                    task.refuse(&request, 503, body);
                }
            }
        }
    }
}

/// A request in progress. If it is dropped without a reply, its connection is closed.
struct Task {
    server: Arc<Server>,
    connection: Arc<Connection>,
    keep_alive: Option<&'static str>,
    began: Instant,
    answered: bool,
}

impl Task {
    /// Runs the request and sends the reply.
    fn answer(self, request: Request, body: Body) {
        let server = self.server.clone();
        let app = &server.app;
        let upload = api::body_kind(&request.method, &request.path) == BodyKind::Upload;
        let answered = |body: &mut dyn Read| answer(app, &server.site, &request, body);
        let (reply, complete, rest) = match body {
            Body::Complete(bytes) => (
                answered(&mut Cursor::new(bytes)),
                true,
                Remaining::Length(0),
            ),
            Body::Truncated(bytes) => {
                let mut truncated =
                    Cursor::new(bytes).chain(FailingReader(ErrorKind::UnexpectedEof));
                (answered(&mut truncated), false, Remaining::Unknown)
            }
            Body::Unread {
                framing,
                expects_continue,
            } if upload => {
                let mut body =
                    BodyReader::new(&server.events, &self.connection, framing, expects_continue);
                let reply = answered(&mut body);
                (reply, body.is_complete(), body.remaining())
            }
            body => (
                answered(&mut FailingReader(ErrorKind::FileTooLarge)),
                false,
                remaining_of(body),
            ),
        };
        let after = match complete {
            false => After::LingeringClose,
            true if self.keep_alive.is_some() && !server.closing.load(Ordering::Relaxed) => {
                After::KeepAlive
            }
            true => After::Close,
        };
        self.reply(&request, reply, after, rest);
    }

    /// Replies with an HTTP status without reading the body.
    fn refuse(self, request: &Request, status: u16, body: Body) {
        self.reply(
            request,
            outside(status).into(),
            After::LingeringClose,
            remaining_of(body),
        );
    }

    /// Counts and logs a reply, and sends it after the rest of the body was received.
    fn reply(mut self, request: &Request, reply: Reply, after: After, rest: Remaining) {
        self.answered = true;
        let (status, code, elapsed) = (reply.status, reply.code, self.began.elapsed());
        let app = &self.server.app;
        // Probes of the supervisor are not counted as requests.
        let health = request.path == contract::HEALTH.path;
        if !health || request.method != "HEAD" {
            app.metrics.count(&request.path, status, code, elapsed);
        }
        let connection = self
            .keep_alive
            .filter(|_| after == After::KeepAlive)
            .unwrap_or("close");
        let cors = http::cors(&app.config.cors_origins, &request.headers.origin);
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
            let milliseconds = elapsed.as_secs_f64() * 1e3;
            log::line(
                Level::Info,
                &format!("{client} {method} {path} {status}{code} {milliseconds:.1}ms"),
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

/// The part of an unused body that was not received yet.
fn remaining_of(body: Body) -> Remaining {
    match body {
        Body::Complete(_) => Remaining::Length(0),
        Body::Unread {
            framing,
            expects_continue,
        } => Remaining::of(framing, expects_continue),
        Body::TooLarge(rest) => rest,
        Body::Truncated(_) | Body::Malformed => Remaining::Unknown,
    }
}

/// A body that cannot be read for this reason.
struct FailingReader(ErrorKind);

impl Read for FailingReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

/// Runs work in a new thread, which holds the permit until it has finished.
fn in_background(permit: Permit<Source>, work: impl FnOnce() + Send + 'static) {
    // If no thread can be started, `work` is dropped, which closes the connection.
    drop(
        thread::Builder::new()
            .stack_size(STACK_SIZE)
            .spawn(move || {
                work();
                drop(permit);
            }),
    );
}
