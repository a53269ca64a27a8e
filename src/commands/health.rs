//! The command `health`: whether the server of a data folder answers.

use crate::command::{Args, Command, DATA, Failure, JSON, LISTEN, print};
use crate::commands::terminal::table::json;
use crate::config::{self, Config, Listen};
use crate::process::{probe, serve};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// `health`
pub const HEALTH: Command = Command {
    name: "health",
    doc: "ask the running server whether it answers and its database can be asked",
    about: "Asks with GET /health at the configured address and waits 5 seconds for the answer. For monitors, \
            containers and scripts that wait for a start.",
    arguments: &[],
    options: &[LISTEN, JSON, DATA],
    exit: &[
        (0, "it is well"),
        (1, "it does not answer, or says that it is not well"),
    ],
    examples: &[
        (
            "health --data /srv/accounts",
            "ask the server whose config.json is in /srv/accounts",
        ),
        (
            "health --listen unix:/run/accountd.sock",
            "ask at an address that the server was started with",
        ),
    ],
    run: health,
};

#[derive(Serialize)]
struct Health {
    address: String,
    well: bool,
    status: Option<u16>,
    milliseconds: Option<f64>,
    error: Option<String>,
}

fn health(args: &Args) -> Result<(), Failure> {
    let arguments: Vec<_> = args
        .text(LISTEN.name)?
        .map(|text| ("listen", "--listen", text))
        .into_iter()
        .collect();
    let loaded =
        config::environment().and_then(|found| config::load(&args.data(), &found, &arguments));
    let (Config { listen, .. }, _) = loaded.map_err(|error| Failure::new(2, error))?;
    if matches!(listen, Listen::Tcp(address) if address.port() == 0) {
        return Err(Failure::new(
            2,
            "port 0 is another one at each start: name the address with --listen".into(),
        ));
    }
    let health = ask(&listen);
    if args.has(JSON.name) {
        print(&json(&health))?;
    }
    match health {
        Health {
            error: Some(error),
            address,
            ..
        } => Err(Failure::new(1, format!("{address}: {error}"))),
        Health {
            address,
            milliseconds: Some(took),
            ..
        } if !args.has(JSON.name) => print(&format!("{address}: well, answered in {took:.1} ms\n")),
        _ => Ok(()),
    }
}

fn ask(listen: &Listen) -> Health {
    let since = Instant::now();
    let answer = probe::status(listen, "GET", PATIENCE);
    let took = since.elapsed().as_secs_f64() * 1e3;
    let error = match &answer {
        Ok(200) => None,
        Ok(status) => Some(format!(
            "not well, HTTP {status}; the server's log says why"
        )),
        Err(error) => Some(format!("does not answer: {error}")),
    };
    Health {
        address: serve::address(listen),
        well: error.is_none(),
        status: answer.as_ref().ok().copied(),
        milliseconds: answer.is_ok().then_some((took * 10.0).round() / 10.0),
        error,
    }
}
