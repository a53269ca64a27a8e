//! The command `serve`, and the hidden one by which the supervisor starts a worker.

use crate::command::{Command, DATA, LISTEN, Opt};
use crate::process::{serve, worker};

const CAPTCHA_ANSWER: Opt = Opt {
    name: "captcha-answer",
    value: "TEXT",
    doc: "give every captcha this answer: for smoke tests, refused where others can connect",
};

/// `serve`
pub const SERVE: Command = Command {
    name: "serve",
    doc: "answer requests until SIGTERM or SIGINT; the default",
    about: "Makes the data folder if it is not there, and in it config.json with fresh random keys. Says on standard \
            error where it listens, then a line for each request.\n\
            SIGTERM and SIGINT end it once everything that has begun is answered. One server works on a folder; a second \
            one is refused.",
    arguments: &[],
    options: &[DATA, LISTEN, CAPTCHA_ANSWER],
    exit: &[(0, "after a stop by SIGTERM or SIGINT")],
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

/// What the supervisor starts; not for people, and so not in the list.
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
