//! The supervisor: owns the listening socket and keeps a worker running that serves it. The state
//! machine in [`lifecycle`](super::lifecycle) makes its decisions.
//!
//! While a dead worker is replaced, connections wait in the backlog of the listening socket. A
//! reload starts a second worker with the current program and configuration. When that is ready,
//! the old one sends its state and its idle connections, the new one continues with them, and the
//! old one drains: it answers its last requests and exits. If the new one cannot start, the old one
//! stays.

use super::activation;
use super::channel::{Channel, Message};
use super::lifecycle::{Action, Event, Lifecycle};
use super::limits;
use super::probe;
use super::systemd;
use crate::command::Failure;
use crate::config;
use crate::log::{self, Level};
use crate::metrics::{RestartReason, Restarts};
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

/// Time between two probes while connections wait to be accepted, and the additional time
/// otherwise.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const QUIET_INTERVAL: Duration = Duration::from_secs(10);
/// How long a worker may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long workers may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// Default stack size of threads in bytes. It is for tiny_http's, which only read request lines.
const STACK_SIZE: &str = "131072";

/// An input of the supervisor: a signal, or news of a worker.
pub enum Input {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: continue with the current program and configuration.
    Reload,
    /// A message from the worker with this number, with an optional socket.
    Message(u64, Message, Option<OwnedFd>),
    /// The worker with this number has exited.
    Exited(u64),
    /// The serving worker does not answer probes.
    Unresponsive,
}

/// Applies the text of a configuration to the supervisor's process, and returns the settings that
/// need a restart.
pub type ApplyConfig = Box<dyn Fn(&str) -> Vec<&'static str>>;

/// How workers are started.
pub struct WorkerSpec {
    /// The listening socket.
    pub bound: Bound,
    /// The program of the workers.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The data folder.
    pub data: PathBuf,
    /// The text of the configuration's file that is in force. The file may have changed since.
    pub text: String,
    /// Called with the new text after a reload.
    pub apply_config: ApplyConfig,
}

struct Worker {
    process: Child,
    channel: Arc<Channel>,
    /// The text of its configuration.
    text: String,
    /// Why it could not start.
    failure: String,
}

struct Supervisor {
    spec: WorkerSpec,
    inputs: Sender<Input>,
    lifecycle: Lifecycle,
    workers: HashMap<u64, Worker>,
    /// The worker that was last told to serve.
    serving: Option<u64>,
    /// The new text of the configuration, for the worker of a pending reload.
    reload: Option<String>,
    /// The state that a worker has sent and that no other one has received yet.
    state: Option<Box<RawValue>>,
    connections: Vec<(Message, OwnedFd)>,
    restarts: Restarts,
    /// The exit status and the error of the worker that exited last.
    ended: Option<(Option<ExitStatus>, String)>,
}

/// Keeps a worker running until [`Input::Stop`]. Calls `on_serving` when the first worker serves,
/// and fails if that cannot start.
pub fn run(
    spec: WorkerSpec,
    inputs: (Sender<Input>, Receiver<Input>),
    on_serving: impl FnOnce(),
) -> Result<(), Failure> {
    let (sender, receiver) = inputs;
    let bound = spec
        .bound
        .try_clone()
        .map_err(|error| Failure::new(1, format!("the listening socket: {error}")))?;
    let mut supervisor = Supervisor {
        spec,
        inputs: sender.clone(),
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
    supervisor.handle(Event::Tick, true)?;
    loop {
        let timeout = supervisor
            .lifecycle
            .timeout(Instant::now())
            .unwrap_or(Duration::from_secs(3600));
        let event = match receiver.recv_timeout(timeout) {
            Ok(Input::Stop) => {
                systemd::notify(systemd::STOPPING);
                supervisor.stop(&receiver);
                return Ok(());
            }
            Ok(Input::Reload) => supervisor.read_configuration(),
            Ok(Input::Unresponsive) => Some(Event::Unresponsive),
            Ok(Input::Message(id, message, socket)) => supervisor.on_message(id, message, socket),
            Ok(Input::Exited(id)) => {
                supervisor.reap(id);
                Some(Event::Exited(id))
            }
            Err(RecvTimeoutError::Timeout) => Some(Event::Tick),
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("the supervisor holds a sender")
            }
        };
        if let Some(event) = event {
            supervisor.handle(event, first.is_some())?;
        }
        if supervisor.lifecycle.is_serving()
            && let Some((on_serving, bound)) = first.take()
        {
            on_serving();
            supervisor
                .workers
                .values()
                .for_each(|worker| worker.channel.send(&Message::Sweep));
            probe_periodically(bound, sender.clone());
        }
    }
}

impl Supervisor {
    /// Passes an event to the lifecycle and performs its actions. Before the first worker serves, a
    /// failure ends the supervisor.
    fn handle(&mut self, event: Event, first: bool) -> Result<(), Failure> {
        let actions = self.lifecycle.on(event, Instant::now());
        for action in actions {
            match action {
                Action::StartFailed { .. } | Action::Report(_) if first => {
                    let (status, why) = self.ended.take().unwrap_or_default();
                    let code = status
                        .and_then(|status| status.code())
                        .and_then(|code| u8::try_from(code).ok());
                    return Err(Failure::new(code.unwrap_or(1), why));
                }
                Action::Start { id, reload } => {
                    if let Err(error) = self.start(id, reload) {
                        let why =
                            format!("{} cannot be started: {error}", self.spec.program.display());
                        self.ended = Some((None, why));
                        self.handle(Event::Exited(id), first)?;
                    }
                }
                Action::HandOver(id) => self.send(id, &Message::HandOver),
                Action::Serve { id, reload, .. } => self.serve(id, reload),
                Action::Kill(id) => {
                    if let Some(worker) = self.workers.get_mut(&id) {
                        let _ = worker.process.kill();
                    }
                }
                Action::StartFailed { reload, .. } => {
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
        let mut command = Command::new(&self.spec.program);
        // These variables are only for this process.
        for name in [systemd::VARIABLE].iter().chain(&activation::VARIABLES) {
            command.env_remove(name);
        }
        let mut process = command
            .args(&self.spec.arguments)
            .env("RUST_MIN_STACK", STACK_SIZE)
            .env(
                "GLIBC_TUNABLES",
                limits::malloc_tunables(std::env::var("GLIBC_TUNABLES").ok()),
            )
            .stdin(Stdio::from(self.spec.bound.socket.try_clone()?))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let text = self
            .reload
            .take()
            .filter(|_| reload)
            .unwrap_or_else(|| self.spec.text.clone());
        let (channel, inputs) = (Arc::new(Channel::new(ours)), self.inputs.clone());
        let receiving = channel.clone();
        let thread = thread::Builder::new().spawn(move || {
            while let Some((message, socket)) = receiving.receive() {
                let _ = inputs.send(Input::Message(id, message, socket));
            }
            let _ = inputs.send(Input::Exited(id));
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

    /// Stores the content of a message, and returns the event that it means.
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
                // A draining worker sends them at any time. The serving worker gets them.
                self.connections.push((message, socket?));
                self.pass_connections();
                None
            }
            _ => None,
        }
    }

    /// Tells a worker to serve, and passes it the state and connections of the previous one.
    fn serve(&mut self, id: u64, reload: bool) {
        if reload {
            self.restarts.count(RestartReason::Reload);
        }
        let (restarts, state) = (self.restarts.clone(), self.state.take());
        self.send(id, &Message::Serve { restarts, state });
        self.serving = Some(id);
        self.pass_connections();
        if reload && let Some(worker) = self.workers.get(&id) {
            self.spec.text.clone_from(&worker.text);
            let left: String = (self.spec.apply_config)(&self.spec.text)
                .iter()
                .map(|name| format!("; {name} needs a restart"))
                .collect();
            RestartReason::Reload.log(&left);
            self.finish_reload();
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
            // If the worker has just exited, its connections are lost, and so is this one.
            let _ = worker.channel.send_with(&message, Some(&socket));
        }
    }

    fn send(&self, id: u64, message: &Message) {
        if let Some(worker) = self.workers.get(&id) {
            worker.channel.send(message);
        }
    }

    /// Reads the configuration for the worker of a reload.
    fn read_configuration(&mut self) -> Option<Event> {
        systemd::notify_reloading();
        match config::file(&self.spec.data) {
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
            &format!("reload failed: {why}; the previous configuration stays in force"),
        );
        self.finish_reload();
    }

    /// Notifies the service manager, unless another reload is pending.
    fn finish_reload(&self) {
        if self.reload.is_none() {
            systemd::notify(systemd::READY);
        }
    }

    /// Waits for a worker that has exited, and stores its exit status.
    fn reap(&mut self, id: u64) {
        let Some(mut worker) = self.workers.remove(&id) else {
            return;
        };
        // It may have closed its channel without exiting.
        let _ = worker.process.kill();
        self.ended = Some((worker.process.wait().ok(), worker.failure));
    }

    fn stop(&mut self, receiver: &Receiver<Input>) {
        let since = Instant::now();
        self.workers
            .values()
            .for_each(|worker| worker.channel.send(&Message::Stop));
        while !self.workers.is_empty() && since.elapsed() < STOP_TIMEOUT {
            match receiver.recv_timeout(STOP_TIMEOUT.saturating_sub(since.elapsed())) {
                Ok(Input::Exited(id)) => self.reap(id),
                // A second signal: its sender does not want to wait.
                Ok(Input::Stop) => break,
                _ => {}
            }
        }
        for worker in self.workers.values_mut() {
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
    }
}

/// Probes the serving worker: every second while connections wait to be accepted, as they do if the
/// worker is unresponsive, and rarely otherwise.
fn probe_periodically(bound: Bound, inputs: Sender<Input>) {
    thread::spawn(move || {
        loop {
            thread::sleep(PROBE_INTERVAL);
            let _ = bound.wait_for_connection(QUIET_INTERVAL);
            // Any answer shows that the worker is alive. HEAD does not query the database, since a
            // database error is not a reason to replace the worker.
            let answer = probe::status(&bound.listen, "HEAD", PROBE_TIMEOUT);
            if answer.is_err() && inputs.send(Input::Unresponsive).is_err() {
                return;
            }
        }
    });
}

/// Creates the channel of inputs.
pub fn inputs() -> (Sender<Input>, Receiver<Input>) {
    channel()
}
