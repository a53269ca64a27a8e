//! The command `serve`, and the hidden command with which the supervisor starts a worker.

use crate::command::{Command, DATA, LISTEN, Opt};
use crate::process::{serve, worker};

const CAPTCHA_ANSWER: Opt = Opt {
    name: "captcha-answer",
    value: "TEXT",
    doc: "use this answer for every captcha; for tests, refused unless the address is local",
};

/// `serve`
pub const SERVE: Command = Command {
    name: "serve",
    doc: "answer requests until SIGTERM or SIGINT; the default",
    about: "If the data folder does not exist, it is created, with a config.json that has fresh random keys. Standard error \
            has the address that the server listens on, then one line per request.\n\
            SIGTERM and SIGINT stop the server once the requests that have begun are answered. A second server on the \
            same folder is refused.",
    arguments: &[],
    options: &[DATA, LISTEN, CAPTCHA_ANSWER],
    exit: &[(0, "stopped by SIGTERM or SIGINT")],
    examples: &[
        ("", "serve ./data on http://127.0.0.1:9999"),
        (
            "--data /srv/accounts --listen unix:/run/accountd.sock",
            "serve on a unix socket, behind a proxy",
        ),
    ],
    run: |args| {
        serve::serve(
            &args.data(),
            args.text(LISTEN.name)?,
            args.text(CAPTCHA_ANSWER.name)?,
        )
    },
};

/// The hidden command that the supervisor starts. It is not in the table of commands.
pub const WORKER: Command = Command {
    name: "worker",
    doc: "",
    about: "",
    arguments: &[],
    options: SERVE.options,
    exit: &[],
    examples: &[],
    run: |args| {
        worker::run(
            &args.data(),
            args.text(LISTEN.name)?,
            args.text(CAPTCHA_ANSWER.name)?,
        )
    },
};
