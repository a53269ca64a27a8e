//! Completion by a shell: `completions` prints the shell's part, a stub, and the hidden command
//! `complete`, which the stub calls, answers from the table of commands.

use super::help::{VERSION, with_help};
use super::{Argument, COMMANDS, Command, Opt, family, print, usage};
use crate::command::Failure;
use std::ffi::OsString;
use std::io::{self, Write};

/// The row of `completions`.
pub const COMPLETIONS: Command = Command {
    name: "completions",
    doc: "print a shell's completion script for accountd",
    about: "Write it to a file that the shell loads; the examples name the usual ones. At each Tab the script asks the \
            accountd that is first in PATH, so it stays right after an upgrade.",
    arguments: &[Argument {
        name: "SHELL",
        doc: "bash, zsh or fish",
    }],
    options: &[],
    exit: &[],
    examples: &[
        (
            "completions bash >/usr/share/bash-completion/completions/accountd",
            "for bash with bash-completion",
        ),
        (
            "completions zsh >/usr/local/share/zsh/site-functions/_accountd",
            "for zsh",
        ),
        (
            "completions fish >~/.config/fish/completions/accountd.fish",
            "for fish",
        ),
    ],
    run: |args| {
        let shell = args.argument("SHELL")?;
        match STUBS.iter().find(|(name, _)| *name == shell) {
            Some((_, stub)) => print(stub),
            None => Err(usage(
                "completions",
                format!("SHELL is {shell:?}; it should be bash, zsh or fish"),
            )),
        }
    },
};

/// Each shell and its stub.
const STUBS: [(&str, &str); 3] = [
    ("bash", include_str!("stub.bash")),
    ("zsh", include_str!("stub.zsh")),
    ("fish", include_str!("stub.fish")),
];

/// The hidden command that a stub calls. Its arguments are the words of a command line after
/// `accountd`, including the word at the cursor, which may be empty.
pub const COMPLETE: &str = "complete";

/// Answers that ask the shell to complete the names of files or of folders.
const FILES: &str = ":files";
const FOLDERS: &str = ":folders";

/// Prints the answer to a stub. It is not printed with [`print`], which would escape the tab before
/// a description; all of its text comes from the tables.
pub fn complete(words: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // A shell that has stopped reading needs no answer, and an error text would disturb its line.
    let _ = io::stdout().write_all(answer(&words).as_bytes());
    Ok(())
}

/// One line per candidate, with its description after a tab; or [`FILES`] or [`FOLDERS`].
fn answer(words: &[String]) -> String {
    let words = rejoined(words);
    let Some((current, before)) = words.split_last() else {
        return String::new();
    };
    // Of the words before the cursor: those that are neither options nor values of options, the
    // option whose value comes next, and whether `--` has ended the options.
    let (mut positional, mut pending, mut ended) = (Vec::new(), None, false);
    for word in before {
        if pending.take().is_some() {
            continue;
        }
        match word.as_str() {
            "--" if !ended => ended = true,
            word if !ended && word.starts_with('-') => {
                pending = option(word).filter(|option| !option.value.is_empty());
            }
            word => positional.push(word),
        }
    }
    let candidates = match (pending, current.split_once('=')) {
        (Some(option), _) => values(option.value),
        (None, Some((name, _))) if !ended && name.starts_with("--") => {
            // The value in `--data=DIR`. The shell completes the names of files and folders itself.
            return option(name)
                .map_or_else(String::new, |option| lines(&values(option.value), ""));
        }
        _ if !ended && current.starts_with('-') => options(&positional),
        _ => arguments(&positional),
    };
    lines(&candidates, current)
}

/// A candidate and its description.
type Candidate = (String, String);

/// The lines of the candidates that begin with `start`, and of [`FILES`] and [`FOLDERS`].
fn lines(candidates: &[Candidate], start: &str) -> String {
    let fits = |(name, _): &&Candidate| name.starts_with(start) || name.starts_with(':');
    let line = |(name, doc): &Candidate| match doc.as_str() {
        "" => format!("{name}\n"),
        doc => format!("{name}\t{doc}\n"),
    };
    candidates.iter().filter(fits).map(line).collect()
}

/// Bash splits `--data=DIR` and `id:7` into three words each; this undoes it.
fn rejoined(words: &[String]) -> Vec<String> {
    let is_separator = |word: &str| !word.is_empty() && word.chars().all(|c| "=:".contains(c));
    let mut joined: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let joins = at > 0 && (is_separator(word) || is_separator(&words[at - 1]));
        match joined.last_mut().filter(|_| joins) {
            Some(last) => last.push_str(word),
            None => joined.push(word.clone()),
        }
    }
    joined
}

/// The option that a word such as `--data` names. An option means the same in all commands.
fn option(word: &str) -> Option<&'static Opt> {
    COMMANDS
        .iter()
        .flat_map(|command| command.options)
        .find(|option| word.strip_prefix("--") == Some(option.name))
}

/// The command that these words begin with, and how many words its name has.
fn command(positional: &[&str]) -> Option<(&'static Command, usize)> {
    (1..=positional.len().min(2)).rev().find_map(|count| {
        let name = positional[..count].join(" ");
        let command = COMMANDS.iter().find(|command| command.name == name)?;
        Some((*command, count))
    })
}

/// The options that can follow these words.
fn options(positional: &[&str]) -> Vec<Candidate> {
    let candidate = |option: &Opt| (format!("--{}", option.name), option.doc.to_string());
    match command(positional) {
        Some((command, _)) => with_help(command.options).map(candidate).collect(),
        None if positional.is_empty() => with_help(COMMANDS[0].options)
            .chain([&VERSION])
            .map(candidate)
            .collect(),
        None => with_help(&[]).map(candidate).collect(),
    }
}

/// The candidates for the next word that is not an option: a command, its second word, or an
/// argument.
fn arguments(positional: &[&str]) -> Vec<Candidate> {
    match (command(positional), positional) {
        (None, []) => names(),
        (Some((command, 1)), [first]) if command.arguments.is_empty() => second_words(first),
        (Some((command, count)), _) => command
            .arguments
            .get(positional.len() - count)
            .map_or_else(Vec::new, |argument| values(argument.name)),
        (None, [first]) => second_words(first),
        (None, _) => Vec::new(),
    }
}

/// The second words of a family's commands.
fn second_words(first: &str) -> Vec<Candidate> {
    family(first)
        .filter_map(|command| {
            let (_, second) = command.name.split_once(' ')?;
            Some((second.to_string(), command.doc.to_string()))
        })
        .collect()
}

/// The first words of all commands. A family is described by its commands' second words, unless its
/// first word is a command.
fn names() -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for command in COMMANDS {
        match command.name.split_once(' ') {
            None => found.push((command.name.into(), command.doc.into())),
            Some((first, _)) if COMMANDS.iter().any(|command| command.name == first) => {}
            Some((first, second)) => match found.last_mut() {
                Some((name, doc)) if name == first => *doc += &format!(", {second}"),
                _ => found.push((first.into(), second.into())),
            },
        }
    }
    found
}

/// The candidates for a value, by its name in the help. Most values have none.
fn values(name: &str) -> Vec<Candidate> {
    let bare = |text: &str| (text.to_string(), String::new());
    match name {
        "DIR" | "FOLDER" => vec![bare(FOLDERS)],
        "FILE" => vec![bare(FILES)],
        "SHELL" => STUBS.map(|(shell, _)| bare(shell)).into(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a line whose words are parted by single spaces; the last one may be empty.
    fn answer_to(line: &str) -> String {
        answer(&line.split(' ').map(String::from).collect::<Vec<_>>())
    }

    fn candidates(line: &str) -> Vec<String> {
        let answer = answer_to(line);
        let name = |line: &str| line.split('\t').next().unwrap_or_default().to_string();
        answer.lines().map(name).collect()
    }

    #[test]
    fn candidates_fit_the_words_before_the_cursor() {
        for (line, expected) in [
            ("con", &["config"][..]),
            ("user set", &["set-password"]),
            ("--data x user set", &["set-password"]),
            ("--data=x user set", &["set-password"]),
            ("--data = x user set", &["set-password"]),
            ("--json user set", &["set-password"]),
            ("--unknown con", &["config"]),
            ("-- con", &["config"]),
            ("user show rei --js", &["--json"]),
            ("user show id : 7 --js", &["--json"]),
            ("user --", &["--help"]),
            ("--ver", &["--version"]),
            ("config --", &["--data", "--help"]),
            ("completions ", &["bash", "zsh", "fish"]),
            ("completions z", &["zsh"]),
            ("inv", &["invite"]),
            ("invite ", &["list", "revoke"]),
            ("invite revoke --", &["--data", "--help"]),
            ("user group rei +media -guests --i", &["--id"]),
        ] {
            assert_eq!(candidates(line), expected, "{line}");
        }
        for line in [
            "unknown ",
            "user unknown ",
            "user show ",
            "completions zsh ",
            "--captcha-answer con",
            "--listen unix : con",
            "-- --da",
            "--unknown=con",
            // Hidden commands stay hidden.
            "complete",
            "work",
        ] {
            assert_eq!(candidates(line), [""; 0], "{line}");
        }
        assert_eq!(answer(&[]), "");
    }

    #[test]
    fn the_shell_is_asked_for_names_of_files_and_folders() {
        for (line, expected) in [
            ("--data ", FOLDERS),
            ("--data fold", FOLDERS),
            ("--data=fold", FOLDERS),
            ("--data =", FOLDERS),
            ("--data = fold", FOLDERS),
            ("user show rei --data ", FOLDERS),
            ("backup ", FOLDERS),
            ("--data x restore ", FOLDERS),
            ("import-medusa ", FILES),
            ("import-medusa Med", FILES),
            ("import-medusa Medusa.db --avatars ", FOLDERS),
        ] {
            assert_eq!(candidates(line), [expected], "{line}");
        }
    }

    #[test]
    fn every_command_and_option_is_offered_and_described() {
        for command in COMMANDS {
            let (before, last) = command.name.rsplit_once(' ').unwrap_or(("", command.name));
            let line = format!("{before} ");
            let answer = answer_to(line.trim_start());
            let row = format!("{last}\t{}\n", command.doc);
            assert!(answer.contains(&row), "{} in {answer}", command.name);
            let answer = answer_to(&format!("{} --", command.name));
            for option in with_help(command.options) {
                let row = format!("--{}\t{}\n", option.name, option.doc);
                assert!(answer.contains(&row), "{row} in {answer}");
            }
        }
        assert!(answer_to("us").starts_with("user\tlist, show, add, "));
    }
}
