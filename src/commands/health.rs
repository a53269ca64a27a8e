//! The command `health`: checks whether the server answers.

use crate::command::{Args, Command, DATA, Failure, JSON, LISTEN, print};
use crate::commands::terminal::table::json;
use crate::config::{self, Config, Listen};
use crate::process::{probe, serve};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long the command waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `health`
pub const HEALTH: Command = Command {
    name: "health",
    doc: "check whether the running server answers and can use its database",
    about: "Sends GET /health to the configured address and waits at most 5 seconds for the answer. Use it in monitors, \
            in containers, and in scripts that wait for the server to start.",
    arguments: &[],
    options: &[LISTEN, JSON, DATA],
    exit: &[
        (0, "the server is healthy"),
        (1, "the server does not answer or is unhealthy"),
    ],
    examples: &[
        (
            "health --data /srv/accounts",
            "check the server of this data folder",
        ),
        (
            "health --listen unix:/run/accountd.sock",
            "check the server at this address",
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
            "the configured port is 0, which is a different port at each start; name the address with --listen".into(),
        ));
    }
    let health = check(&listen);
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
        } if !args.has(JSON.name) => {
            print(&format!("{address}: healthy, answered in {took:.1} ms\n"))
        }
        _ => Ok(()),
    }
}

fn check(listen: &Listen) -> Health {
    let since = Instant::now();
    let answer = probe::status(listen, "GET", TIMEOUT);
    let took = since.elapsed().as_secs_f64() * 1e3;
    let error = match &answer {
        Ok(200) => None,
        Ok(status) => Some(format!(
            "unhealthy, HTTP {status}; the server's log has the reason"
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
