//! The supervisor: holds the listening socket, and keeps a worker that serves it;
//! [`lifecycle`](super::lifecycle) decides when.
//!
//! Connections wait in the listening socket while a worker that died is replaced. A reload starts
//! another worker with the program and the configuration that are there now. When that has opened
//! everything, the old one gives away its state, the new one goes on with it and with the
//! connections that wait for a request, and the old one ends when it has answered what it had
//! begun. If the new one cannot start, the old one goes on.

use super::activation;
use super::channel::{Channel, Message};
use super::lifecycle::{Action, Event, Lifecycle};
use super::limits;
use super::probe;
use super::systemd;
use crate::command::Failure;
use crate::config;
use crate::log::{self, Level};
use crate::metrics::{Reason, Restarts};
use crate::server::listener::Bound;
use rustix::fd::OwnedFd;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Between two probes, while connections are seen to wait; without any, this much later.
const PROBE: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_secs(10);
/// How long a worker may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the workers may take to stop.
const STOP: Duration = Duration::from_secs(35);
/// Stack of threads of which nothing else is said, in bytes: tiny_http's only read request lines.
const STACK: &str = "131072";

/// What happens to a supervisor.
pub enum Signal {
    /// It is to stop.
    Stop,
    /// It is to go on with what program and configuration are now.
    Reload,
    /// A worker, by its number, sends a message, perhaps with a socket.
    Message(u64, Message, Option<OwnedFd>),
    /// A worker is gone.
    Gone(u64),
    /// The worker that serves does not answer.
    Unresponsive,
}

/// Takes a text of the configuration over as far as the supervisor's process goes by it, and
/// returns the settings that need a restart.
pub type Adopt = Box<dyn Fn(&str) -> Vec<&'static str>>;

/// What it keeps serving.
pub struct Plan {
    /// The listening socket.
    pub bound: Bound,
    /// The program that serves.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The folder with the configuration's file.
    pub data: PathBuf,
    /// The text of that file which is in force, whatever it is now.
    pub text: String,
    /// Called with a text that is in force now.
    pub adopt: Adopt,
}

struct Worker {
    process: Child,
    channel: Arc<Channel>,
    /// The text of the configuration that it was started with.
    text: String,
    /// Why it could not start.
    failure: String,
}

struct Supervisor {
    plan: Plan,
    signals: Sender<Signal>,
    lifecycle: Lifecycle,
    workers: HashMap<u64, Worker>,
    /// The worker that was told to serve last.
    serving: Option<u64>,
    /// The text that a reload has read, for the next worker.
    reload: Option<String>,
    /// What a worker has given away and no other one has yet.
    state: Option<Box<RawValue>>,
    connections: Vec<(Message, OwnedFd)>,
    restarts: Restarts,
    /// How the worker ended that ended last.
    ended: Option<(Option<ExitStatus>, String)>,
}

/// Keeps the plan served until [`Signal::Stop`] comes; `on_serving` is called when the first worker
/// serves.
///
/// # Errors
/// If the first one cannot start; it has said why on standard error.
pub fn run(
    plan: Plan,
    signals: (Sender<Signal>, Receiver<Signal>),
    on_serving: impl FnOnce(),
) -> Result<(), Failure> {
    let (sender, receiver) = signals;
    let bound = plan
        .bound
        .try_clone()
        .map_err(|error| Failure::new(1, format!("the listening socket: {error}")))?;
    let mut supervisor = Supervisor {
        plan,
        signals: sender.clone(),
        lifecycle: Lifecycle::empty(),
        workers: HashMap::new(),
        serving: None,
        reload: None,
        state: None,
        connections: Vec::new(),
        restarts: Restarts::default(),
        ended: None,
    };
    let mut first = Some((on_serving, bound));
    supervisor.tell(Event::Time, true)?;
    loop {
        let timeout = supervisor
            .lifecycle
            .timeout(Instant::now())
            .unwrap_or(Duration::from_secs(3600));
        let event = match receiver.recv_timeout(timeout) {
            Ok(Signal::Stop) => {
                systemd::notify(systemd::STOPPING);
                supervisor.stop(&receiver);
                return Ok(());
            }
            Ok(Signal::Reload) => supervisor.read_configuration(),
            Ok(Signal::Unresponsive) => Some(Event::Unresponsive),
            Ok(Signal::Message(id, message, socket)) => supervisor.on_message(id, message, socket),
            Ok(Signal::Gone(id)) => {
                supervisor.reap(id);
                Some(Event::Gone(id))
            }
            Err(RecvTimeoutError::Timeout) => Some(Event::Time),
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("the supervisor itself holds a sender")
            }
        };
        if let Some(event) = event {
            supervisor.tell(event, first.is_some())?;
        }
        if supervisor.lifecycle.is_serving()
            && let Some((on_serving, bound)) = first.take()
        {
            on_serving();
            supervisor
                .workers
                .values()
                .for_each(|worker| worker.channel.send(&Message::Sweep));
            watch(bound, sender.clone());
        }
    }
}

impl Supervisor {
    /// Tells the lifecycle what has happened, and does what it says. Before the first worker
    /// serves, a fault is the end.
    fn tell(&mut self, event: Event, first: bool) -> Result<(), Failure> {
        let actions = self.lifecycle.on(event, Instant::now());
        for action in actions {
            match action {
                Action::CannotStart { .. } | Action::Report(_) if first => {
                    let (status, why) = self.ended.take().unwrap_or_default();
                    let code = status
                        .and_then(|status| status.code())
                        .and_then(|code| u8::try_from(code).ok());
                    return Err(Failure::new(code.unwrap_or(1), why));
                }
                Action::Start { id, reload } => {
                    if let Err(error) = self.start(id, reload) {
                        let why =
                            format!("{} cannot be started: {error}", self.plan.program.display());
                        self.ended = Some((None, why));
                        self.tell(Event::Gone(id), first)?;
                    }
                }
                Action::HandOver(id) => self.send(id, &Message::HandOver),
                Action::Serve { id, reload, .. } => self.serve(id, reload),
                Action::Kill(id) => {
                    if let Some(worker) = self.workers.get_mut(&id) {
                        let _ = worker.process.kill();
                    }
                }
                Action::CannotStart { reload, .. } => {
                    let (status, why) = self.ended.take().unwrap_or_default();
                    let ended = || {
                        format!(
                            "the new worker ended ({})",
                            status.map(|s| s.to_string()).unwrap_or_default()
                        )
                    };
                    let why = if why.is_empty() { ended() } else { why };
                    if reload {
                        self.reload_failed(&why);
                    } else {
                        log::line(Level::Error, &format!("a worker could not start: {why}"));
                    }
                }
                Action::Report(reason) => {
                    let status = self.ended.take().and_then(|(status, _)| status);
                    let status = status.map(|status| status.to_string()).unwrap_or_default();
                    self.restarts.count(reason);
                    reason.log(&status);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, id: u64, reload: bool) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.plan.program);
        // These are for this process alone.
        for name in [systemd::VARIABLE].iter().chain(&activation::VARIABLES) {
            command.env_remove(name);
        }
        let mut process = command
            .args(&self.plan.arguments)
            .env("RUST_MIN_STACK", STACK)
            .env(
                "GLIBC_TUNABLES",
                limits::tunables(std::env::var("GLIBC_TUNABLES").ok()),
            )
            .stdin(Stdio::from(self.plan.bound.socket.try_clone()?))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let text = self
            .reload
            .take()
            .filter(|_| reload)
            .unwrap_or_else(|| self.plan.text.clone());
        let (channel, signals) = (Arc::new(Channel::new(ours)), self.signals.clone());
        let receiving = channel.clone();
        let thread = thread::Builder::new().spawn(move || {
            while let Some((message, socket)) = receiving.receive() {
                let _ = signals.send(Signal::Message(id, message, socket));
            }
            let _ = signals.send(Signal::Gone(id));
        });
        if let Err(error) = thread {
            let _ = process.kill().and_then(|()| process.wait());
            return Err(error);
        }
        channel.send(&Message::Configure(text.clone()));
        self.workers.insert(
            id,
            Worker {
                process,
                channel,
                text,
                failure: String::new(),
            },
        );
        Ok(())
    }

    /// Keeps what a message brings, and returns what it means.
    fn on_message(&mut self, id: u64, message: Message, socket: Option<OwnedFd>) -> Option<Event> {
        match message {
            Message::Failed(why) => {
                self.workers.get_mut(&id)?.failure = why;
                None
            }
            Message::Ready => Some(Event::Ready(id)),
            Message::State(state) => {
                self.state = Some(state);
                Some(Event::State(id))
            }
            Message::Connection(_) => {
                // Those that a draining worker is finished with go to the one that serves
                // meanwhile.
                self.connections.push((message, socket?));
                self.pass_connections();
                None
            }
            _ => None,
        }
    }

    /// Tells a worker to serve, and to go on with what the one before has given away.
    fn serve(&mut self, id: u64, reload: bool) {
        if reload {
            self.restarts.count(Reason::Reload);
        }
        let (restarts, state) = (self.restarts.clone(), self.state.take());
        self.send(id, &Message::Serve { restarts, state });
        self.serving = Some(id);
        self.pass_connections();
        if reload && let Some(worker) = self.workers.get(&id) {
            self.plan.text.clone_from(&worker.text);
            let left: String = (self.plan.adopt)(&self.plan.text)
                .iter()
                .map(|name| format!("; {name} needs a restart"))
                .collect();
            Reason::Reload.log(&left);
            self.reload_ended();
        }
    }

    fn pass_connections(&mut self) {
        if !self.lifecycle.is_serving() {
            return;
        }
        let Some(worker) = self.serving.and_then(|id| self.workers.get(&id)) else {
            return;
        };
        for (message, socket) in self.connections.drain(..) {
            // A worker that is gone takes its connections along; there is no other one to give it
            // to.
            let _ = worker.channel.send_with(&message, Some(&socket));
        }
    }

    fn send(&self, id: u64, message: &Message) {
        if let Some(worker) = self.workers.get(&id) {
            worker.channel.send(message);
        }
    }

    /// Reads the configuration again, for a worker that is to take over.
    fn read_configuration(&mut self) -> Option<Event> {
        systemd::reloading();
        match config::file(&self.plan.data) {
            Ok(text) => {
                self.reload = Some(text);
                Some(Event::Reload)
            }
            Err(why) => {
                self.reload_failed(&why);
                None
            }
        }
    }

    fn reload_failed(&self, why: &str) {
        log::line(
            Level::Error,
            &format!("reload failed: {why}; what was in force stays"),
        );
        self.reload_ended();
    }

    /// Tells the service manager, unless another reload has come meanwhile.
    fn reload_ended(&self) {
        if self.reload.is_none() {
            systemd::notify(systemd::READY);
        }
    }

    /// Takes note of how a worker has ended.
    fn reap(&mut self, id: u64) {
        let Some(mut worker) = self.workers.remove(&id) else {
            return;
        };
        // It may have closed its channel and still live.
        let _ = worker.process.kill();
        self.ended = Some((worker.process.wait().ok(), worker.failure));
    }

    fn stop(&mut self, receiver: &Receiver<Signal>) {
        let since = Instant::now();
        self.workers
            .values()
            .for_each(|worker| worker.channel.send(&Message::Stop));
        while !self.workers.is_empty() && since.elapsed() < STOP {
            match receiver.recv_timeout(STOP.saturating_sub(since.elapsed())) {
                Ok(Signal::Gone(id)) => self.reap(id),
                // A second signal: its sender does not want to wait.
                Ok(Signal::Stop) => break,
                _ => {}
            }
        }
        for worker in self.workers.values_mut() {
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
    }
}

/// Probes again and again whether requests are answered: often while connections wait to be
/// accepted, as all do that an unresponsive worker leaves waiting, and seldom when all is quiet.
fn watch(bound: Bound, signals: Sender<Signal>) {
    thread::spawn(move || {
        loop {
            thread::sleep(PROBE);
            let _ = bound.wait_for_connection(QUIET);
            // Any answer shows that the worker lives. HEAD does not ask the database: one that
            // fails is not a reason to replace the worker.
            let answer = probe::status(&bound.listen, "HEAD", PROBE_TIMEOUT);
            if answer.is_err() && signals.send(Signal::Unresponsive).is_err() {
                return;
            }
        }
    });
}

/// A channel of signals.
#[must_use]
pub fn signals() -> (Sender<Signal>, Receiver<Signal>) {
    channel()
}
