//! The command line: one table of commands and options, from which they are read and explained.

use crate::config;
use crate::failure::Failure;
use crate::serve::{self, child};
use lexopt::{Arg, Parser, ValueExt};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

/// A command.
struct Command {
    name: &'static str,
    doc: &'static str,
    options: &'static [Opt],
}

/// An option with a value.
#[derive(Clone, Copy)]
struct Opt {
    name: &'static str,
    value: &'static str,
    doc: &'static str,
}

const DATA: Opt = Opt {
    name: "data",
    value: "DIR",
    doc: "the folder with everything that lasts: config.json, accountd.db, avatars/ (default: ./data)",
};
const LISTEN: Opt = Opt {
    name: "listen",
    value: "ADDR",
    doc: "IP:PORT or unix:PATH instead of what is configured; port 0 picks a free one",
};
const CAPTCHA_ANSWER: Opt = Opt {
    name: "captcha-answer",
    value: "TEXT",
    doc: "give every captcha this answer: for smoke tests, refused where others can connect",
};

/// The first one is meant where none is named.
const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        doc: "answer requests until SIGTERM or SIGINT; the default",
        options: &[DATA, LISTEN, CAPTCHA_ANSWER],
    },
    Command {
        name: "config",
        doc: "print the settings in force and where each comes from; secrets stay hidden",
        options: &[DATA],
    },
];

/// What the supervisor starts; not for people.
const CHILD: Command = Command { name: "child", doc: "", options: COMMANDS[0].options };

/// Does what the arguments (without the program's name) say.
///
/// # Errors
/// A [`Failure`].
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let usage = |sentence: String| Failure::new(2, format!("{sentence}; see accountd --help"));
    let mut parser = Parser::from_args(arguments);
    let mut command: Option<&Command> = None;
    let mut values: HashMap<&str, OsString> = HashMap::new();
    while let Some(argument) = parser.next().map_err(|error| usage(error.to_string()))? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => {
                println!("{}", help());
                return Ok(());
            }
            Arg::Long("version") | Arg::Short('V') => {
                println!("accountd {}", env!("CARGO_PKG_VERSION"));
                return Ok(());
            }
            Arg::Long(name) => {
                let known = COMMANDS.iter().flat_map(|command| command.options).find(|option| option.name == name);
                let option = known.ok_or_else(|| usage(format!("--{name} is no option")))?;
                let value = parser.value().map_err(|error| usage(error.to_string()))?;
                values.insert(option.name, value);
            }
            Arg::Value(name) if command.is_none() => {
                let known = COMMANDS.iter().chain([&CHILD]).find(|command| name == command.name);
                command = Some(known.ok_or_else(|| usage(format!("{} is no command", name.display())))?);
            }
            other => return Err(usage(other.unexpected().to_string())),
        }
    }
    let command = command.unwrap_or(&COMMANDS[0]);
    if let Some(name) = values.keys().find(|name| !command.options.iter().any(|option| option.name == **name)) {
        return Err(usage(format!("{} has no option --{name}", command.name)));
    }
    let data = values.remove("data").map_or_else(|| PathBuf::from("data"), PathBuf::from);
    let mut text = |name: &str| {
        values.remove(name).map(|value| value.string().map_err(|error| usage(error.to_string()))).transpose()
    };
    match command.name {
        "config" => {
            let (_, given) = config::load(&data, &config::variable, &[]).map_err(|error| Failure::new(2, error))?;
            given.iter().for_each(|one| println!("{one}"));
            Ok(())
        }
        "child" => child::run(&data, text("listen")?, text("captcha-answer")?),
        _ => serve::serve(&data, text("listen")?, text("captcha-answer")?),
    }
}

/// What `--help` prints.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "accountd: an account server for one box: one binary, one SQLite file, one command.\n\n\
         Usage: accountd [COMMAND] [OPTIONS]\n\nCommands:\n",
    );
    for command in COMMANDS {
        let _ = writeln!(text, "  {:<10} {}", command.name, command.doc);
    }
    text += "\nOptions:\n";
    for option in COMMANDS[0].options {
        let only: Vec<&str> = COMMANDS
            .iter()
            .filter(|command| command.options.iter().any(|one| one.name == option.name))
            .map(|command| command.name)
            .collect();
        let shown = format!("--{} {}", option.name, option.value);
        let of = if only.len() == COMMANDS.len() { String::new() } else { format!(" [{}]", only.join(", ")) };
        let _ = writeln!(text, "  {shown:<22} {}{of}", option.doc);
    }
    text += "  -h, --help             print this\n  -V, --version          print the version\n\n\
             Settings stand in DIR/config.json, which the first start writes; each can also be given as\n\
             ACCOUNTD_<NAME> in the environment, a secret as ACCOUNTD_<NAME>_FILE too. README.md lists them.\n\n\
             Exit status: 0 after a stop by SIGTERM or SIGINT, 2 on bad usage or configuration, 1 on failure.\n\n\
             Examples:\n  \
             accountd                                    serve ./data on http://127.0.0.1:9999\n  \
             accountd --data /srv/accounts --listen unix:/run/accountd.sock\n  \
             accountd config --data /srv/accounts\n";
    text.trim_end().into()
}
