//! The list of commands, the options that several have, and the rows of `serve` and `config`.

use super::completions::COMPLETIONS;
use super::man::MAN;
use super::{Command, Opt, print};
use crate::admin::{audit, backup, check, harden, health, import_medusa, restore, user};
use crate::config;
use crate::failure::Failure;
use crate::process::{serve, worker};

/// The data folder; every command has it.
pub const DATA: Opt = Opt {
    name: "data",
    value: "DIR",
    doc: "the folder with everything that lasts: config.json, accountd.db, avatars/ (default: ./data)",
};
/// An address in place of the configured one.
pub const LISTEN: Opt = Opt {
    name: "listen",
    value: "ADDR",
    doc: "IP:PORT or unix:PATH instead of what is configured; port 0 picks a free one",
};
/// Output for programs.
pub const JSON: Opt = Opt {
    name: "json",
    value: "",
    doc: "print a JSON object, of a list one a line; times are Unix seconds",
};
/// A user by id, which no name can be taken for.
pub const ID: Opt = Opt {
    name: "id",
    value: "N",
    doc: "the user with this id, in place of USER",
};
const CAPTCHA_ANSWER: Opt = Opt {
    name: "captcha-answer",
    value: "TEXT",
    doc: "give every captcha this answer: for smoke tests, refused where others can connect",
};

/// Every command, in the order of the help; the first one is meant where none is named. A row
/// stands beside the function that does it.
pub const COMMANDS: &[&Command] = &[
    &SERVE,
    &CONFIG,
    &health::HEALTH,
    &user::LIST,
    &user::SHOW,
    &user::ADD,
    &user::SET_PASSWORD,
    &user::RENAME,
    &user::DISABLE,
    &user::ENABLE,
    &user::LOGOUT,
    &user::DELETE,
    &audit::AUDIT,
    &check::CHECK,
    &backup::BACKUP,
    &restore::RESTORE,
    &import_medusa::IMPORT_MEDUSA,
    &harden::HARDEN,
    &MAN,
    &COMPLETIONS,
];

const SERVE: Command = Command {
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
    run: |given| {
        serve::serve(
            &given.data(),
            given.text(LISTEN.name)?,
            given.text(CAPTCHA_ANSWER.name)?,
        )
    },
};

const CONFIG: Command = Command {
    name: "config",
    doc: "print the settings in force and where each comes from; secrets stay hidden",
    about: "A value comes from the command line, the environment, config.json or the program, in this order. A setting \
            that is not right is an error that names its place and what would be right, as at a start.",
    arguments: &[],
    options: &[DATA],
    exit: &[],
    examples: &[(
        "config --data /srv/accounts",
        "print what a server on this folder would go by",
    )],
    run: |given| {
        let loaded =
            config::environment().and_then(|found| config::load(&given.data(), &found, &[]));
        let (_, settings) = loaded.map_err(|error| Failure::new(2, error))?;
        print(
            &settings
                .iter()
                .map(|one| format!("{one}\n"))
                .collect::<String>(),
        )
    },
};

/// What the supervisor starts; not for people, and so not in the list.
pub(super) const WORKER: Command = Command {
    name: "worker",
    doc: "",
    about: "",
    arguments: &[],
    options: SERVE.options,
    exit: &[],
    examples: &[],
    run: |given| {
        worker::run(
            &given.data(),
            given.text(LISTEN.name)?,
            given.text(CAPTCHA_ANSWER.name)?,
        )
    },
};
