//! The command `serve`: prepares a data folder and a listening socket, and serves until a signal.

use super::data_folder::{self, Purpose, failed};
use super::supervisor::{self, ApplyConfig, Input, WorkerSpec};
use super::{activation, limits, startup, systemd};
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
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::SystemTime;

/// A service that is ready to start: its configuration is loaded and its socket is bound.
struct Service<'a> {
    data: &'a Path,
    /// The options of the command line.
    listen: Option<String>,
    captcha_answer: Option<String>,
    /// The text of the configuration's file.
    text: String,
    config: Config,
    bound: Bound,
    /// Whether the service manager has bound the socket.
    inherited: bool,
}

/// Serves until SIGTERM or SIGINT. Fails with code 2 if the configuration is invalid, and with code
/// 1 if the start fails for another reason.
pub fn serve(
    data: &Path,
    listen: Option<String>,
    captcha_answer: Option<String>,
) -> Result<(), Failure> {
    data_folder::create(data)?;
    // Before the lock: `accountd reload` and `accountd stop` signal the process that holds it.
    let inputs = supervisor::inputs();
    forward_signals(&inputs.0).map_err(|error| failed(data, error))?;
    let _lock = data_folder::lock(data, Purpose::Serve)?;
    let text = read_config(data)?;
    let config = startup::load_config(data, &text, listen.clone())?;
    let inherited = activation::inherited_socket()
        .map_err(|error| Failure::new(1, format!("LISTEN_FDS: {error}")))?;
    if let Some(answer) = &captcha_answer {
        let listen = inherited.as_ref().map(|bound| &bound.listen);
        check_captcha_answer(listen.unwrap_or(&config.listen), answer)?;
    }
    inspect_database(data)?;
    limits::raise_descriptors().map_err(|error| Failure::new(1, error))?;
    let service = Service {
        inherited: inherited.is_some(),
        bound: inherited.map_or_else(|| bind(&config), Ok)?,
        data,
        listen,
        captcha_answer,
        text,
        config,
    };
    // A socket of the service manager is not removed.
    let path = match &service.bound.listen {
        Listen::Unix(path) if !service.inherited => Some(path.clone()),
        _ => None,
    };
    let remove_socket = || drop(path.map(fs::remove_file));
    // A worker listens there itself, when it is too late to refuse to start.
    if let Err(error) = metrics_listener::check(&service.config) {
        remove_socket();
        return Err(Failure::new(1, error));
    }
    let result = service.run(inputs);
    remove_socket();
    log::flush();
    result
}

/// Reads the text of the configuration's file, and writes the file at the first start.
fn read_config(data: &Path) -> Result<String, Failure> {
    let secrets = [(); 3].map(|()| crypto::random_alphanumeric(contract::KEY_LENGTH));
    config::write_initial(data, secrets)
        .map_err(|error| failed(&data.join(config::FILE), error))?;
    config::file(data).map_err(|error| Failure::new(2, error))
}

fn bind(config: &Config) -> Result<Bound, Failure> {
    let access = Access {
        mode: config.socket_mode.0,
        group: config.socket_group.clone(),
    };
    listener::bind(&config.listen, &access).map_err(|error| {
        let address = address(&config.listen);
        Failure::new(1, format!("cannot listen on {address}: {error}"))
    })
}

/// Checks the database before anything is started on it. It does so in a thread of its own, which
/// saves 0.5 MB in the supervisor's process, since that does not use the database again.
fn inspect_database(data: &Path) -> Result<(), Failure> {
    let inspected = thread::scope(|scope| scope.spawn(|| Store::inspect(data)).join());
    inspected
        .expect("an inspection does not panic")
        .map_err(|error| Failure::new(1, error))
}

/// Accepts the option `--captcha-answer` only on addresses that other machines cannot reach.
fn check_captcha_answer(listen: &Listen, answer: &str) -> Result<(), Failure> {
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

impl Service<'_> {
    fn run(self, inputs: (Sender<Input>, Receiver<Input>)) -> Result<(), Failure> {
        let data = self.data;
        startup::log_panics();
        log::start(self.config.log);
        let warnings = [
            data_folder::mode_warning(data),
            proxy_warning(&self.bound.listen, &self.config),
        ];
        for warning in warnings.into_iter().flatten() {
            log::line(Level::Error, &warning);
        }
        let message = self.startup_message();
        if !self.config.supervise {
            return self.run_unsupervised(&inputs.1, &message);
        }
        let worker = self.worker_spec().map_err(|error| failed(data, error))?;
        supervisor::run(worker, inputs, || report_ready(&message))
    }

    /// Serves in this process, without a supervisor.
    fn run_unsupervised(self, inputs: &Receiver<Input>, message: &str) -> Result<(), Failure> {
        let start = SystemTime::now();
        let app = startup::open_app(self.data, self.config, self.captcha_answer)?;
        let server = Server::start(app, self.bound).map_err(|error| Failure::new(1, error))?;
        let metrics = server.app().config.metrics_listen.clone();
        let metrics = metrics.map(|listen| MetricsListener::start(server.clone(), listen));
        report_ready(message);
        startup::remove_leftovers(server.app(), start);
        while matches!(inputs.recv(), Ok(Input::Reload)) {
            systemd::notify_reloading();
            log::line(
                Level::Error,
                "reload failed: it needs the setting `supervise`; the previous configuration stays in force",
            );
            systemd::notify(systemd::READY);
        }
        systemd::notify(systemd::STOPPING);
        server.stop();
        metrics.inspect(|metrics| metrics.stop());
        server.app().checkpoint();
        Ok(())
    }

    fn worker_spec(self) -> io::Result<WorkerSpec> {
        let data = self
            .data
            .to_str()
            .ok_or_else(|| io::Error::other("its path is not UTF-8"))?;
        let listen = match &self.bound.listen {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        let mut arguments = ["worker", "--data", data, "--listen", &listen]
            .map(String::from)
            .to_vec();
        if let Some(answer) = self.captcha_answer {
            arguments.extend(["--captcha-answer".into(), answer]);
        }
        Ok(WorkerSpec {
            bound: self.bound,
            program: program()?,
            arguments,
            data: self.data.into(),
            text: self.text,
            apply_config: apply_config(self.data.into(), self.listen, self.config, self.inherited),
        })
    }

    /// The text that is logged once requests are answered.
    fn startup_message(&self) -> String {
        let mut text = String::new();
        if self.captcha_answer.is_some() {
            text += "WARNING: every captcha has the answer of --captcha-answer; use this option only for tests\n";
        }
        let file = self.data.join(config::FILE);
        let name = "secret_key_required_for_account_registration";
        let _ = match self.config.secret_key_required_for_account_registration {
            Some(_) => writeln!(text, "registration key: {name} in {}", file.display()),
            None => writeln!(
                text,
                "registration key: not set, so only invitations work; add {name} to {}",
                file.display()
            ),
        };
        let _ = writeln!(text, "listening on {}", address(&self.bound.listen));
        text
    }
}

/// A warning if other machines reach the server and no proxy is trusted. A container listens like
/// that, and its clients come through a proxy.
fn proxy_warning(listen: &Listen, config: &Config) -> Option<String> {
    let is_open = matches!(listen, Listen::Tcp(address) if address.ip().is_unspecified());
    (is_open && config.trusted_proxies.is_empty()).then(|| {
        "accountd listens on all addresses and trusts no proxy: without a proxy, passwords cross the network \
         unencrypted; behind one, all clients have the proxy's address until `trusted_proxies` names it"
            .into()
    })
}

/// The path of this program, where an upgrade puts the next version. It is the path in the command
/// line if that works, since it may be a link to one of several versions.
fn program() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let invoked = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .filter(|path| path.components().count() > 1);
    let invoked = invoked.and_then(|path| std::path::absolute(path).ok());
    if let Some(path) = invoked.filter(|path| path.canonicalize().is_ok_and(|real| real == this)) {
        return Ok(path);
    }
    // Linux appends this to the path of a file that was replaced.
    let replaced = this
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"))
        .map(PathBuf::from);
    Ok(replaced.filter(|path| path.exists()).unwrap_or(this))
}

/// Applies a new configuration to the supervisor's process and returns the settings that need a
/// restart.
fn apply_config(
    data: PathBuf,
    listen: Option<String>,
    before: Config,
    inherited: bool,
) -> ApplyConfig {
    Box::new(move |text| {
        // A newer program may have accepted a configuration that this one cannot read.
        let Ok(now) = startup::load_config(&data, text, listen.clone()) else {
            return Vec::new();
        };
        log::set_level(now.log);
        let changed = [
            ("listen", before.listen != now.listen && !inherited),
            (
                "socket_mode",
                before.socket_mode != now.socket_mode && !inherited,
            ),
            (
                "socket_group",
                before.socket_group != now.socket_group && !inherited,
            ),
            ("supervise", before.supervise != now.supervise),
        ];
        changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(name, _)| name)
            .collect()
    })
}

/// Reports that requests are answered, in the log and to the service manager.
fn report_ready(message: &str) {
    log::raw(message);
    systemd::notify(systemd::READY);
}

fn forward_signals(inputs: &Sender<Input>) -> io::Result<()> {
    for (signals, input) in [
        (&[SIGTERM, SIGINT][..], (|| Input::Stop) as fn() -> Input),
        (&[SIGHUP], || Input::Reload),
    ] {
        let (mut receiver, sender) = UnixStream::pair()?;
        for signal in signals {
            pipe::register(*signal, sender.try_clone()?)?;
        }
        let inputs = inputs.clone();
        thread::spawn(move || {
            while receiver.read_exact(&mut [0]).is_ok() && inputs.send(input()).is_ok() {}
        });
    }
    Ok(())
}

/// An address as clients write it.
pub fn address(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}
