//! The command `serve`: a data folder, its lock, what is in it, and a server over it until a
//! signal.

use super::supervisor::{self, Adopt, Plan, Signal};
use super::{activation, limits, start, systemd};
use crate::command::Failure;
use crate::config::{self, Config, Listen};
use crate::contract;
use crate::crypto;
use crate::log::{self, Level};
use crate::server::Server;
use crate::server::listener::{self, Bound};
use crate::server::metrics_listener::{self, MetricsListener};
use crate::server::unix::Access;
use crate::store::Store;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::SystemTime;

/// The file whose lock says that a server works on the folder; its text is the server's pid.
const LOCK: &str = "accountd.lock";

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Code 2 if the configuration is not right, 1 if something else is in the way.
pub fn serve(
    data: &Path,
    listen: Option<String>,
    captcha_answer: Option<String>,
) -> Result<(), Failure> {
    let failed =
        |what: &Path, error: io::Error| Failure::new(1, format!("{}: {error}", what.display()));
    if data.to_str().is_none() {
        let why = "the path of the data folder is not UTF-8; give the folder another name";
        return Err(Failure::new(2, format!("{}: {why}", data.display())));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| failed(data, error))?;
    let _lock = lock(data)?;
    let secrets = [
        crypto::random_alphanumeric(contract::KEY_LENGTH),
        crypto::random_alphanumeric(contract::KEY_LENGTH),
    ];
    config::write_first(data, secrets).map_err(|error| failed(&data.join(config::FILE), error))?;
    let text = config::file(data).map_err(|error| Failure::new(2, error))?;
    let config = start::load(data, &text, listen.clone())?;
    let passed =
        activation::passed().map_err(|error| Failure::new(1, format!("LISTEN_FDS: {error}")))?;
    let activated = passed.is_some();
    if let Some(answer) = &captcha_answer {
        refuse_public(
            passed
                .as_ref()
                .map_or(&config.listen, |bound| &bound.listen),
            answer,
        )?;
    }
    inspect(data)?;
    limits::raise_descriptors().map_err(|error| Failure::new(1, error))?;
    let access = Access {
        mode: config.socket_mode.0,
        group: config.socket_group.clone(),
    };
    let bound = passed
        .map_or_else(|| listener::bind(&config.listen, &access), Ok)
        .map_err(|error| {
            Failure::new(
                1,
                format!("cannot listen on {}: {error}", address(&config.listen)),
            )
        })?;
    // A socket that was passed is somebody else's.
    let path = if let Listen::Unix(path) = &bound.listen {
        Some(path.clone()).filter(|_| !activated)
    } else {
        None
    };
    // The process that serves listens there itself, and can't refuse to start any more.
    metrics_listener::check(&config).map_err(|error| {
        let _ = path.as_ref().map(fs::remove_file);
        Failure::new(1, error)
    })?;

    let signals = supervisor::signals();
    // Before the first line is written: whoever waits for it may send a signal at once.
    forward_signals(&signals.0).map_err(|error| failed(data, error))?;
    start::report_panics();
    log::start(config.log);
    if let Some(warning) = open_folder(data) {
        log::line(Level::Error, &warning);
    }
    let greeting = greeting(data, &config, &bound.listen, captcha_answer.is_some());
    let end = if config.supervise {
        let (folder, before) = (data.to_path_buf(), config.clone());
        let adopt =
            Box::new(move |text: &str| adopt(&folder, text, listen.clone(), &before, activated));
        let plan =
            plan(data, bound, captcha_answer, text, adopt).map_err(|error| failed(data, error))?;
        supervisor::run(plan, signals, || welcome(&greeting))
    } else {
        alone(data, config, bound, captcha_answer, &signals.1, &greeting)
    };
    if let Some(path) = path {
        let _ = fs::remove_file(path);
    }
    log::flush();
    end
}

/// Serves without a supervisor.
fn alone(
    data: &Path,
    config: Config,
    bound: Bound,
    captcha_answer: Option<String>,
    receiver: &Receiver<Signal>,
    greeting: &str,
) -> Result<(), Failure> {
    let began = SystemTime::now();
    let app = start::open(data, config, captcha_answer)?;
    let server = Server::start(app, bound).map_err(|error| Failure::new(1, error))?;
    let metrics = server.app().config.metrics_listen.clone();
    let metrics = metrics.map(|listen| MetricsListener::start(server.clone(), listen));
    welcome(greeting);
    start::sweep(server.app(), began);
    while matches!(receiver.recv(), Ok(Signal::Reload)) {
        systemd::reloading();
        log::line(
            Level::Error,
            "reload failed: it takes `supervise`; what was in force stays",
        );
        systemd::notify(systemd::READY);
    }
    systemd::notify(systemd::STOPPING);
    server.stop();
    metrics.inspect(|metrics| metrics.stop());
    server.app().settle();
    Ok(())
}

fn plan(
    folder: &Path,
    bound: Bound,
    captcha_answer: Option<String>,
    text: String,
    adopt: Adopt,
) -> io::Result<Plan> {
    let data = folder
        .to_str()
        .ok_or_else(|| io::Error::other("its path is not UTF-8"))?;
    let listen = match &bound.listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    let mut arguments = ["worker", "--data", data, "--listen", &listen]
        .map(String::from)
        .to_vec();
    if let Some(answer) = captcha_answer {
        arguments.extend(["--captcha-answer".into(), answer]);
    }
    Ok(Plan {
        bound,
        program: program()?,
        arguments,
        data: folder.into(),
        text,
        adopt,
    })
}

/// Where this program is, and where an upgrade puts the next one: as it was called, since that may
/// be a link to one version of several.
fn program() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let called = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .filter(|path| path.components().count() > 1);
    let called = called.and_then(|path| std::path::absolute(path).ok());
    if let Some(path) = called.filter(|path| path.canonicalize().is_ok_and(|real| real == this)) {
        return Ok(path);
    }
    // Linux says so of a file that was replaced since.
    let replaced = this
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"))
        .map(PathBuf::from);
    Ok(replaced.filter(|path| path.exists()).unwrap_or(this))
}

/// Takes a new configuration over as far as the supervisor goes by one, and names the settings that
/// need a restart.
fn adopt(
    data: &Path,
    text: &str,
    listen: Option<String>,
    before: &Config,
    activated: bool,
) -> Vec<&'static str> {
    // One that a newer program alone can read is nothing to this one.
    let Ok(now) = start::load(data, text, listen) else {
        return Vec::new();
    };
    log::set(now.log);
    let changed = [
        ("listen", before.listen != now.listen && !activated),
        (
            "socket_mode",
            before.socket_mode != now.socket_mode && !activated,
        ),
        (
            "socket_group",
            before.socket_group != now.socket_group && !activated,
        ),
        ("supervise", before.supervise != now.supervise),
    ];
    changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| name)
        .collect()
}

/// Requests are answered.
fn welcome(greeting: &str) {
    log::raw(greeting);
    systemd::notify(systemd::READY);
}

fn forward_signals(events: &Sender<Signal>) -> io::Result<()> {
    for (signals, event) in [
        (&[SIGTERM, SIGINT][..], (|| Signal::Stop) as fn() -> Signal),
        (&[SIGHUP], || Signal::Reload),
    ] {
        let (mut wake, woken) = UnixStream::pair()?;
        for signal in signals {
            pipe::register(*signal, woken.try_clone()?)?;
        }
        let events = events.clone();
        thread::spawn(
            move || while wake.read_exact(&mut [0]).is_ok() && events.send(event()).is_ok() {},
        );
    }
    Ok(())
}

/// Takes the data folder for this process alone, until the result is dropped.
///
/// # Errors
/// A [`Failure`] that names the process that has it.
pub fn lock(data: &Path) -> Result<File, Failure> {
    let path = data.join(LOCK);
    let failed = |error: io::Error| Failure::new(1, format!("{}: {error}", path.display()));
    let mut options = File::options();
    let options = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        // As older versions made it. It is no worse a lock for that: where the mode can't be set,
        // it stays.
        let _ = file.set_permissions(Permissions::from_mode(0o600));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let sentence = format!(
                "{}: an accountd with pid {} works on this folder already",
                data.display(),
                pid.trim()
            );
            return Err(Failure::new(1, sentence));
        }
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

/// Looks at the database before anything is started on it. In a thread of its own: the supervisor,
/// which asks no database again, keeps 0.5 MB less.
fn inspect(data: &Path) -> Result<(), Failure> {
    let inspected = thread::scope(|scope| scope.spawn(|| Store::inspect(data)).join());
    inspected
        .expect("a look does not panic")
        .map_err(|error| Failure::new(1, error))
}

/// What there is to say of a data folder that other users of the machine can use: everyone in any
/// way, or its group for writing. A group may read, since a proxy may be in it for a unix socket
/// there.
fn open_folder(data: &Path) -> Option<String> {
    let mode = fs::metadata(data).ok()?.permissions().mode() & 0o777;
    (mode & 0o027 != 0).then(|| {
        let shown = data.display();
        format!(
            "the mode of the data folder {shown}, 0{mode:03o}, lets other users of this machine in; `chmod 700 {shown}` \
             keeps them out"
        )
    })
}

fn refuse_public(listen: &Listen, answer: &str) -> Result<(), Failure> {
    let letters =
        (1..=12).contains(&answer.len()) && answer.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !letters {
        return Err(Failure::new(
            2,
            "--captcha-answer takes 1 to 12 letters and digits".into(),
        ));
    }
    match listen {
        Listen::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            let sentence = format!(
                "--captcha-answer is for tests and refused on {address}: listen on 127.0.0.1 or a unix socket"
            );
            Err(Failure::new(2, sentence))
        }
        _ => Ok(()),
    }
}

/// An address as a client would write it.
#[must_use]
pub fn address(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// What is said once requests are answered.
fn greeting(data: &Path, config: &Config, listen: &Listen, fixed_captcha: bool) -> String {
    let mut text = String::new();
    if fixed_captcha {
        text += "WARNING: every captcha has the answer of --captcha-answer; this is for tests, never for people\n";
    }
    let file = data.join(config::FILE);
    let _ = match config.secret_key_required_for_account_registration {
        Some(_) => {
            writeln!(
                text,
                "registration key: secret_key_required_for_account_registration in {}",
                file.display()
            )
        }
        None => writeln!(
            text,
            "registration key: not set; add secret_key_required_for_account_registration to {}",
            file.display()
        ),
    };
    let _ = writeln!(text, "listening on {}", address(listen));
    text
}
