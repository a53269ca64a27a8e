//! What `--help` prints for the program, a family and a command.

use super::{COMMANDS, Command, Opt, family};
use std::ffi::OsString;
use std::fmt::Write;

/// The longest line, in columns.
const WIDTH: usize = 100;
/// The exit codes of all commands.
pub(super) const EXIT: [(u8, &str); 3] = [
    (0, "done"),
    (1, "not done; standard error gives the reason"),
    (2, "bad usage or configuration"),
];
const HELP: Opt = Opt {
    name: "help",
    value: "",
    doc: "print this help",
};
/// The option that only the program itself has.
pub(super) const VERSION: Opt = Opt {
    name: "version",
    value: "",
    doc: "print the version",
};
/// Where settings come from.
pub(super) const SETTINGS_INTRO: &str = "Settings are read from DIR/config.json, which the first start writes. The environment \
     variable ACCOUNTD_<NAME> overrides a setting; a secret can also be in the file that ACCOUNTD_<NAME>_FILE names.";

/// The help of the command or family that these words name, or of the program if they name none.
pub fn help_of(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let command = (1..=words.len().min(2)).rev().find_map(|count| {
        let name = words[..count].join(" ");
        COMMANDS.iter().find(|command| command.name == name)
    });
    match (command, words.first()) {
        (Some(command), _) => one(command),
        (None, Some(word)) if family(word).next().is_some() => {
            let mut text = format!("Usage: accountd {word} COMMAND [OPTIONS]\n\nCommands:\n");
            table(
                &mut text,
                family(word).map(|command| (command.name.into(), command.doc)),
            );
            let _ = writeln!(
                text,
                "\n`accountd {word} COMMAND --help` explains a command."
            );
            text
        }
        _ => help(),
    }
}

/// What `accountd --help` prints.
pub fn help() -> String {
    let mut text = String::from(
        "accountd: an account server for one box: one binary, one SQLite file, one command.\n\n\
         Usage: accountd [COMMAND] [OPTIONS]\n\nCommands:\n",
    );
    table(
        &mut text,
        COMMANDS
            .iter()
            .map(|command| (command.name.into(), command.doc)),
    );
    text += "\n`accountd COMMAND --help` explains a command with its arguments and options.\n\nOptions:\n";
    let options = with_help(COMMANDS[0].options).chain([&VERSION]);
    table(&mut text, options.map(|option| (shown(option), option.doc)));
    text += "\n";
    wrap(
        &mut text,
        "",
        "",
        &format!("{SETTINGS_INTRO} docs/settings.md lists them."),
    );
    text += "\nExit status:\n";
    table(
        &mut text,
        EXIT.map(|(code, doc)| (code.to_string(), doc)).into_iter(),
    );
    text += "\nExamples:\n";
    COMMANDS[..2]
        .iter()
        .for_each(|command| examples(&mut text, command));
    text
}

fn one(command: &Command) -> String {
    let Command {
        name,
        doc,
        about,
        arguments,
        options,
        exit,
        ..
    } = command;
    let mut text = format!("accountd {name}: {doc}\n\nUsage: accountd {name}");
    arguments
        .iter()
        .for_each(|argument| _ = write!(text, " {}", argument.name));
    text += " [OPTIONS]\n";
    for paragraph in about.lines() {
        text += "\n";
        wrap(&mut text, "", "", paragraph);
    }
    if !arguments.is_empty() {
        text += "\nArguments:\n";
        table(
            &mut text,
            arguments
                .iter()
                .map(|argument| (argument.name.into(), argument.doc)),
        );
    }
    text += "\nOptions:\n";
    table(
        &mut text,
        with_help(options).map(|option| (shown(option), option.doc)),
    );
    text += "\nExit status:\n";
    table(
        &mut text,
        exit_of(exit).map(|(code, doc)| (code.to_string(), doc)),
    );
    text += "\nExamples:\n";
    examples(&mut text, command);
    text
}

/// A command's options and `--help`.
pub(super) fn with_help(options: &'static [Opt]) -> impl Iterator<Item = &'static Opt> {
    options.iter().chain([&HELP])
}

/// The exit codes of a command: [`EXIT`], with its own descriptions if it has any.
pub(super) fn exit_of(
    own: &'static [(u8, &'static str)],
) -> impl Iterator<Item = (u8, &'static str)> {
    EXIT.into_iter().map(move |row| {
        own.iter()
            .find(|(code, _)| *code == row.0)
            .copied()
            .unwrap_or(row)
    })
}

/// An option as the help shows it.
pub(super) fn shown(option: &Opt) -> String {
    let short = match option.name {
        "help" => "-h, ",
        "version" => "-V, ",
        _ => "",
    };
    format!("{short}--{} {}", option.name, option.value)
        .trim_end()
        .into()
}

/// Appends names and descriptions in two columns.
fn table<'a>(text: &mut String, rows: impl Iterator<Item = (String, &'a str)>) {
    let rows: Vec<_> = rows.collect();
    let width = rows
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    for (name, doc) in rows {
        wrap(
            text,
            &format!("  {name:width$}  "),
            &" ".repeat(width + 4),
            doc,
        );
    }
}

fn examples(text: &mut String, command: &Command) {
    for (line, doc) in command.examples {
        let _ = writeln!(text, "  {}", format!("accountd {line}").trim_end());
        wrap(text, "      ", "      ", doc);
    }
}

/// Appends words in lines of at most [`WIDTH`]. The first line is indented by `first`, the others
/// by `others`.
fn wrap(text: &mut String, first: &str, others: &str, words: &str) {
    let mut line = first.to_string();
    let mut start = first.len();
    for word in words.split(' ') {
        if line.len() > start && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            (line, start) = (others.into(), others.len());
        }
        if line.len() > start {
            line.push(' ');
        }
        line += word;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}
