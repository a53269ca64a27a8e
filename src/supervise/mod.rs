//! The supervisor: holds the listening socket, and keeps a process that serves it, whatever becomes of each one.
//!
//! A serving process that dies is replaced at once, since connections wait in the socket meanwhile. One that says it
//! can't go on for long, or does not answer, hands over: the next one opens everything, the old one stops accepting and
//! says its state, the next one goes on with it, and the old one ends when it has answered what it had. So does a reload,
//! with the program and the configuration that are there now; where they are no good, the old process goes on.

pub mod line;

use crate::config;
use crate::failure::Failure;
use crate::limits;
use crate::log::{self, Level};
use crate::metrics::{Renewal, Renewals};
use crate::notify;
use crate::question;
use crate::socket::{Bound, activation};
use line::{Line, Message};
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Between two questions whether the serving process answers, at the least; and how much later the next one is where
/// nobody is seen to wait.
const ROUND: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(10);
/// How long an answer may take until the process counts as deaf.
const DEAF: Duration = Duration::from_secs(2);
/// How long a process that hands over may take to say its state.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long a process that starts or is to end may take, before it is killed.
const GRACE: Duration = Duration::from_secs(35);
/// Between two starts at the least, unless nobody serves; and between two where nobody does.
const PAUSE: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(100)];
/// Stack of the threads that tiny_http starts for connections, in bytes: they only read heads.
const STACK: &str = "131072";

/// What happens to a supervisor.
pub enum Event {
    /// It is to stop.
    Stop,
    /// It is to go on with what program and configuration are now.
    Reload,
    /// A serving process, by its number, says something.
    Said(u64, Message),
    /// A serving process is gone.
    Gone(u64),
    /// The serving process does not answer.
    Deaf,
}

/// Takes a text of the configuration over as far as the supervisor's process goes by it, and names the settings that need
/// a restart.
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Opens everything.
    Starting,
    /// Has everything open.
    Ready,
    /// Serves.
    Serving,
    /// Accepts nothing more; its state is still to come.
    HandingOver,
    /// Answers what it had.
    Ending,
}

struct Child {
    process: process::Child,
    line: Arc<Line>,
    stage: Stage,
    since: Instant,
    /// The text that it was started with, if that is not in force yet.
    fresh: Option<String>,
    /// Why it could not start.
    failure: String,
}

struct Supervisor {
    plan: Plan,
    events: Sender<Event>,
    children: HashMap<u64, Child>,
    started: u64,
    last_start: Instant,
    wanted: bool,
    /// The text that a reload has read, for the next process.
    fresh: Option<String>,
    renewals: Renewals,
}

/// Keeps the plan served until [`Event::Stop`] comes; `serving` is called when the first process does.
///
/// # Errors
/// If the first one can't start; it has said why on standard error.
pub fn run(plan: Plan, events: (Sender<Event>, Receiver<Event>), serving: impl FnOnce()) -> Result<(), Failure> {
    let (sender, receiver) = events;
    let cannot = |error: io::Error| Failure::new(1, format!("a serving process cannot be started: {error}"));
    let bound = plan.bound.try_clone().map_err(cannot)?;
    let mut supervisor = Supervisor {
        plan,
        events: sender.clone(),
        children: HashMap::new(),
        started: 0,
        last_start: Instant::now(),
        wanted: false,
        fresh: None,
        renewals: Renewals::default(),
    };
    supervisor.start().map_err(cannot)?;
    let mut serving = Some((serving, bound));
    loop {
        match receiver.recv_timeout(supervisor.pause()) {
            Ok(Event::Stop) => {
                notify::say(notify::STOPPING);
                return supervisor.stop(&receiver);
            }
            Ok(Event::Reload) => supervisor.reload(),
            Ok(Event::Deaf) => supervisor.renew(Renewal::Deaf, "it does not answer"),
            Ok(Event::Said(id, message)) => supervisor.heard(id, message),
            Ok(Event::Gone(id)) => {
                let (status, sentence) = supervisor.bury(id, serving.is_some());
                if serving.is_some() {
                    let code = status.and_then(|status| u8::try_from(status).ok()).unwrap_or(1);
                    return Err(Failure::new(code, sentence));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is ours"),
        }
        supervisor.advance();
        if supervisor.is(Stage::Serving)
            && let Some((serving, bound)) = serving.take()
        {
            serving();
            supervisor.children.values().for_each(|child| child.line.say(&Message::Sweep));
            watch(bound, sender.clone());
        }
    }
}

impl Supervisor {
    fn start(&mut self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.plan.program);
        // What is said to this process alone.
        for name in [notify::VARIABLE].iter().chain(&activation::VARIABLES) {
            command.env_remove(name);
        }
        let mut process = command
            .args(&self.plan.arguments)
            .env("RUST_MIN_STACK", STACK)
            .env("GLIBC_TUNABLES", limits::tunables(std::env::var("GLIBC_TUNABLES").ok()))
            .stdin(Stdio::from(self.plan.bound.socket.try_clone()?))
            .stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()?;
        self.started += 1;
        self.last_start = Instant::now();
        self.wanted = false;
        let fresh = self.fresh.take();
        let (id, line, events) = (self.started, Arc::new(Line::new(ours)), self.events.clone());
        let ear = line.clone();
        let listening = thread::Builder::new().spawn(move || {
            while let Some(message) = ear.hear() {
                let _ = events.send(Event::Said(id, message));
            }
            let _ = events.send(Event::Gone(id));
        });
        if let Err(error) = listening {
            let _ = process.kill().and_then(|()| process.wait());
            return Err(error);
        }
        line.say(&Message::Configure(fresh.as_ref().unwrap_or(&self.plan.text).clone().into_bytes()));
        let (stage, since, failure) = (Stage::Starting, Instant::now(), String::new());
        self.children.insert(id, Child { process, line, stage, since, fresh, failure });
        Ok(())
    }

    fn heard(&mut self, id: u64, message: Message) {
        match message {
            Message::Failed(why) => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.failure = String::from_utf8_lossy(&why).into_owned();
                }
            }
            Message::Ready => self.enter(id, Stage::Ready),
            Message::Renew if self.stage(id) == Some(Stage::Serving) => self.renew(Renewal::Limit, "it nears a limit"),
            Message::State(state) if self.stage(id) == Some(Stage::HandingOver) => {
                self.enter(id, Stage::Ending);
                self.hand_to_next(state);
            }
            _ => {}
        }
    }

    /// Reads the configuration again, for a process that is to take over.
    fn reload(&mut self) {
        notify::reloading();
        match config::file(&self.plan.data) {
            Ok(text) => (self.fresh, self.wanted) = (Some(text), true),
            Err(why) => self.reload_failed(&why),
        }
    }

    fn reload_failed(&self, why: &str) {
        log::line(Level::Error, &format!("reload failed: {why}; what was in force stays"));
        self.reload_ended();
    }

    /// Tells the service manager, unless another reload has come meanwhile.
    fn reload_ended(&self) {
        if self.fresh.is_none() {
            notify::say(notify::READY);
        }
    }

    /// Replaces the process that serves.
    fn renew(&mut self, reason: Renewal, why: &str) {
        if !self.wanted && !self.is(Stage::Starting) && !self.is(Stage::Ready) {
            log::line(Level::Info, &format!("the serving process is renewed: {why}"));
            self.wanted = true;
            self.renewals[reason as usize] += 1;
        }
    }

    /// Does what the stages of the processes ask for.
    fn advance(&mut self) {
        let coming = self.is(Stage::Starting) || self.is(Stage::Ready);
        let nobody = !self.is(Stage::Serving);
        if !coming
            && (self.wanted || nobody)
            && self.last_start.elapsed() >= PAUSE[usize::from(nobody)]
            && let Err(error) = self.start()
        {
            self.last_start = Instant::now();
            if self.fresh.take().is_some() {
                self.wanted = false;
                self.reload_failed(&format!("{} cannot be started: {error}", self.plan.program.display()));
            }
        }
        if self.is(Stage::Ready) && !self.is(Stage::HandingOver) {
            match self.find(Stage::Serving) {
                Some(id) => {
                    self.enter(id, Stage::HandingOver);
                    self.children[&id].line.say(&Message::Retire);
                }
                None => self.hand_to_next(Vec::new()),
            }
        }
        if let Some(id) = self.find(Stage::HandingOver)
            && self.children[&id].since.elapsed() > HANDOVER
        {
            self.enter(id, Stage::Ending);
            self.hand_to_next(Vec::new());
        }
        for child in self.children.values_mut() {
            if matches!(child.stage, Stage::Ending | Stage::Starting) && child.since.elapsed() > GRACE {
                let _ = child.process.kill();
            }
        }
    }

    fn hand_to_next(&mut self, state: Vec<u8>) {
        if let Some(id) = self.find(Stage::Ready) {
            let fresh = self.children.get_mut(&id).and_then(|child| child.fresh.take());
            self.renewals[Renewal::Reload as usize] += u64::from(fresh.is_some());
            self.children[&id].line.say(&Message::Start(self.renewals, state));
            self.enter(id, Stage::Serving);
            if let Some(text) = fresh {
                let left: String =
                    (self.plan.adopt)(&text).iter().map(|name| format!("; {name} needs a restart")).collect();
                self.plan.text = text;
                log::line(Level::Info, &format!("reloaded{left}"));
                self.reload_ended();
            }
        }
    }

    /// Takes note of a process that is gone, and says its exit code and why it could not start, if so. Of the `first` one
    /// nothing is written.
    fn bury(&mut self, id: u64, first: bool) -> (Option<i32>, String) {
        let Some(mut child) = self.children.remove(&id) else { return (None, String::new()) };
        // It may have closed its line and still live.
        let _ = child.process.kill();
        let Ok(status) = child.process.wait() else { return (None, child.failure) };
        if matches!(child.stage, Stage::Starting | Stage::Ready) && !first {
            let why = Some(&*child.failure).filter(|why| !why.is_empty()).map(String::from);
            let why = why.unwrap_or_else(|| format!("the new process ended ({status})"));
            match child.fresh {
                Some(_) => self.reload_failed(&why),
                None => log::line(Level::Error, &format!("a serving process could not start: {why}")),
            }
        } else if !matches!(child.stage, Stage::Ending | Stage::Starting) {
            log::line(Level::Error, &format!("a serving process ended ({status}); open captchas are lost"));
            self.renewals[Renewal::Death as usize] += 1;
        }
        if child.stage == Stage::HandingOver {
            self.hand_to_next(Vec::new());
        }
        (status.code(), child.failure)
    }

    fn stop(&mut self, receiver: &Receiver<Event>) -> Result<(), Failure> {
        let since = Instant::now();
        for child in self.children.values_mut() {
            child.line.say(&Message::Stop);
            child.stage = Stage::Ending;
        }
        while !self.children.is_empty() && since.elapsed() < GRACE {
            match receiver.recv_timeout(GRACE.saturating_sub(since.elapsed())) {
                Ok(Event::Gone(id)) => drop(self.bury(id, true)),
                // A second signal: whoever sends it does not want to wait.
                Ok(Event::Stop) => break,
                _ => {}
            }
        }
        for child in self.children.values_mut() {
            let _ = child.process.kill();
            let _ = child.process.wait();
        }
        Ok(())
    }

    /// How long nothing has to be done unless something happens.
    fn pause(&self) -> Duration {
        let settled = self.children.len() == 1 && self.is(Stage::Serving) && !self.wanted;
        if settled { Duration::from_secs(3600) } else { Duration::from_millis(20) }
    }

    fn find(&self, stage: Stage) -> Option<u64> {
        self.children.iter().find(|(_, child)| child.stage == stage).map(|(id, _)| *id)
    }

    fn is(&self, stage: Stage) -> bool {
        self.find(stage).is_some()
    }

    fn stage(&self, id: u64) -> Option<Stage> {
        self.children.get(&id).map(|child| child.stage)
    }

    fn enter(&mut self, id: u64, stage: Stage) {
        if let Some(child) = self.children.get_mut(&id) {
            (child.stage, child.since) = (stage, Instant::now());
        }
    }
}

/// Asks again and again whether requests are answered: often while somebody waits to be accepted, as all do whom a deaf
/// process leaves waiting, and seldom when all is quiet.
fn watch(bound: Bound, events: Sender<Event>) {
    thread::spawn(move || {
        loop {
            thread::sleep(ROUND);
            let _ = bound.wait(REST);
            // Whatever the answer is, there is somebody who gives it. HEAD asks nothing of the database: one that fails is
            // no reason to renew the process.
            if question::ask(&bound.listen, "HEAD", DEAF).is_err() && events.send(Event::Deaf).is_err() {
                return;
            }
        }
    });
}

/// A channel of events.
#[must_use]
pub fn events() -> (Sender<Event>, Receiver<Event>) {
    channel()
}
