//! The command line: a table of commands, from which they are parsed, explained and run.

mod completions;
mod help;
mod man;
mod table;

pub use help::{help, help_of};
pub use table::COMMANDS;

use crate::command::{Args, Argument, Command, DATA, Failure, ID, Opt, print, usage};
use crate::commands::serve::WORKER;
use completions::COMPLETE;
use lexopt::{Arg, Parser};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

/// Arguments that an option can replace.
const REPLACED_BY: [(&str, Opt); 1] = [("USER", ID)];

/// Runs the command that the arguments name. They do not include the program's name.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == COMPLETE).is_some() {
        return completions::complete(arguments);
    }
    let mut parser = Parser::from_args(arguments);
    let mut words: Vec<OsString> = Vec::new();
    let mut values: HashMap<&str, Vec<OsString>> = HashMap::new();
    let mut asks_for_help = false;
    loop {
        let raw = parser.try_raw_args();
        if let Some(word) =
            raw.and_then(|mut raw| raw.next_if(|word| is_dashed_argument(&words, word)))
        {
            words.push(word);
            continue;
        }
        let next = parser.next();
        let Some(argument) = next.map_err(|error| usage("", error.to_string()))? else {
            break;
        };
        match argument {
            Arg::Long("help") | Arg::Short('h') => asks_for_help = true,
            Arg::Long("version") | Arg::Short('V') => {
                return print(concat!("accountd ", env!("CARGO_PKG_VERSION"), "\n"));
            }
            Arg::Long(name) => {
                let known = COMMANDS
                    .iter()
                    .flat_map(|command| command.options)
                    .find(|option| option.name == name);
                let option =
                    known.ok_or_else(|| usage("", format!("--{name} is not an option")))?;
                let value = if option.value.is_empty() {
                    Ok(OsString::new())
                } else {
                    parser.value()
                };
                let value = value.map_err(|error| usage("", error.to_string()))?;
                // A script may have expanded an unset variable. An empty path would mean the
                // current folder.
                if option.name == DATA.name && value.is_empty() {
                    return Err(usage("", format!("--{} is empty", option.name)));
                }
                values.entry(option.name).or_default().push(value);
            }
            Arg::Value(word) => words.push(word),
            other @ Arg::Short(_) => return Err(usage("", other.unexpected().to_string())),
        }
    }
    if asks_for_help {
        return print(&help_of(&words));
    }
    let (command, rest) = find_command(words)?;
    if let Some(name) = values
        .keys()
        .find(|name| !command.options.iter().any(|option| option.name == **name))
    {
        return Err(usage(
            command.name,
            format!("{} has no option --{name}", command.name),
        ));
    }
    let mut rest = rest.into_iter();
    let replaced = |argument: &&Argument| {
        REPLACED_BY
            .iter()
            .any(|(name, option)| *name == argument.name && values.contains_key(option.name))
    };
    let expected: Vec<&Argument> = command
        .arguments
        .iter()
        .filter(|argument| !replaced(argument))
        .collect();
    for argument in expected {
        let missing = || {
            usage(
                command.name,
                format!("{}: {} is missing", command.name, argument.name),
            )
        };
        let mut given = vec![rest.next().ok_or_else(missing)?];
        if argument.repeats() {
            given.extend(rest.by_ref());
        }
        values.insert(argument.name, given);
    }
    match rest.next() {
        Some(word) => Err(usage(command.name, format!("unexpected argument {word:?}"))),
        None => (command.run)(&Args::new(command, values)),
    }
}

/// Whether a word that begins with a dash is an argument of the command that the words before it
/// name. `-h` and `-V` are options in any case.
fn is_dashed_argument(before: &[OsString], word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    let is_dashed = text.len() > 1 && text.starts_with('-') && !text.starts_with("--");
    let takes_words = || {
        let (command, _) = find_command(before.to_vec()).ok()?;
        command.arguments.last().filter(|last| last.repeats())
    };
    is_dashed && !matches!(&*text, "-h" | "-V") && takes_words().is_some()
}

/// The command that these words name, and its arguments.
fn find_command(mut words: Vec<OsString>) -> Result<(&'static Command, Vec<OsString>), Failure> {
    let Some(first) = words.first() else {
        return Ok((COMMANDS[0], words));
    };
    let command_called = |name: &str| {
        COMMANDS
            .iter()
            .chain([&&WORKER])
            .find(|command| command.name == name)
    };
    let first = first.to_string_lossy().into_owned();
    let second = words
        .get(1)
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    if let Some(command) = command_called(&format!("{first} {second}")) {
        return Ok((command, words.split_off(2)));
    }
    if let Some(command) = command_called(&first) {
        return Ok((command, words.split_off(1)));
    }
    let family: Vec<&str> = family(&first)
        .filter_map(|command| command.name.split(' ').nth(1))
        .collect();
    if family.is_empty() {
        return Err(usage("", format!("{first} is not a command")));
    }
    Err(usage(
        &first,
        format!("{first} must be followed by one of {}", family.join(", ")),
    ))
}

/// The commands of a family: those of two words that begin with this one.
fn family(word: &str) -> impl Iterator<Item = &'static &'static Command> {
    COMMANDS.iter().filter(move |command| {
        command
            .name
            .split_once(' ')
            .is_some_and(|(first, _)| first == word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_same_name_take_the_same_value() {
        let all: Vec<&Opt> = COMMANDS
            .iter()
            .flat_map(|command| command.options)
            .collect();
        for option in &all {
            let other = all
                .iter()
                .find(|other| other.name == option.name && other.value != option.value);
            assert!(
                other.is_none(),
                "--{} takes different values in two commands",
                option.name
            );
        }
    }

    #[test]
    fn every_command_has_a_description_and_examples_of_itself() {
        for command in COMMANDS {
            assert!(
                !command.doc.is_empty() && !command.about.is_empty(),
                "{}",
                command.name
            );
            assert!(!command.examples.is_empty(), "{}", command.name);
            assert!(command.name.split(' ').count() <= 2, "{}", command.name);
            for (line, _) in command.examples {
                let fits = line.starts_with(command.name) || command.name == COMMANDS[0].name;
                assert!(fits, "{line} is not an example of {}", command.name);
            }
        }
    }
}
