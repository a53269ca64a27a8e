//! `man`: the manual page accountd(1), made from the tables of commands and settings, in the macros
//! of man(7).

use super::help::{EXIT, SETTINGS_STAND, exit_of, shown, with_help};
use super::{Argument, COMMANDS, Command, Opt, print};
use crate::config::SETTINGS;
use std::fmt::Write;

/// The row of `man`.
pub const MAN: Command = Command {
    name: "man",
    doc: "print the manual page, for man(1)",
    about: "It says what --help says of all commands, and lists the settings.",
    arguments: &[],
    options: &[],
    exit: &[],
    examples: &[(
        "man >/usr/local/share/man/man1/accountd.1",
        "make it known to man(1)",
    )],
    run: |_| print(&page()),
};

/// The manual page.
#[must_use]
pub fn page() -> String {
    let mut page = format!(
        ".TH ACCOUNTD 1 \"\" \"accountd {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    );
    page += ".SH NAME\naccountd \\- an account server for one box: one binary, one SQLite file, one command\n";
    page += ".SH SYNOPSIS\n.B accountd\n[\\fICOMMAND\\fR] [\\fIOPTIONS\\fR]\n";
    page += ".SH DESCRIPTION\n";
    page += "Programs and shell scripts talk to it over HTTP and JSON: register, log in with a captcha, read and change \
             one's account, reset a forgotten password, upload a picture.\nIts data folder holds everything that lasts.\n";
    page += ".SH COMMANDS\n";
    COMMANDS.iter().for_each(|command| one(&mut page, command));
    let _ = write!(page, ".SH SETTINGS\n{}\n", escaped(SETTINGS_STAND));
    for setting in SETTINGS {
        let default = if setting.default == "null" {
            String::new()
        } else {
            format!(", by default {}", setting.default)
        };
        let (kind, doc) = (setting.kind.to_string(), setting.doc.replace('`', ""));
        item(
            &mut page,
            setting.name,
            &format!("{doc} It is {kind}{default}."),
        );
    }
    page += ".SH SIGNALS\nSIGTERM and SIGINT end it once everything that has begun is answered.\n";
    page += ".SH EXIT STATUS\n";
    EXIT.iter()
        .for_each(|(code, doc)| item(&mut page, &code.to_string(), doc));
    page
}

fn one(page: &mut String, command: &Command) {
    let Command {
        name,
        doc,
        about,
        arguments,
        options,
        exit,
        examples,
        ..
    } = command;
    let _ = write!(page, ".SS accountd {}", escaped(name));
    arguments
        .iter()
        .for_each(|Argument { name, .. }| _ = write!(page, " {name}"));
    let _ = writeln!(page, "\n{}.", escaped(&capital(doc)));
    about
        .lines()
        .for_each(|paragraph| _ = write!(page, ".PP\n{}\n", escaped(paragraph)));
    arguments
        .iter()
        .for_each(|Argument { name, doc }| item(page, name, doc));
    with_help(options).for_each(|option: &Opt| item(page, &shown(option), option.doc));
    // Where it means more than it does of all commands.
    exit_of(exit)
        .filter(|row| !EXIT.contains(row))
        .for_each(|(code, doc)| item(page, &format!("exit status {code}"), doc));
    for (line, doc) in *examples {
        let _ = write!(
            page,
            ".PP\n.EX\n{}\n.EE\n{}.\n",
            escaped(format!("accountd {line}").trim_end()),
            escaped(&capital(doc))
        );
    }
}

/// A word, and behind or below it what it is.
fn item(page: &mut String, word: &str, doc: &str) {
    let _ = write!(page, ".TP\n.B {}\n{}\n", escaped(word), escaped(doc));
}

fn capital(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next()
        .map(|first| first.to_uppercase().chain(rest).collect())
        .unwrap_or_default()
}

/// A text that no line of which is taken for a macro, with hyphens that can be copied. Each
/// sentence begins a line.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace(". ", ".\n");
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with(['.', '\'']) {
                format!("\\&{line}")
            } else {
                line.into()
            }
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_the_tables_say() {
        let page = page();
        for command in COMMANDS {
            assert!(
                page.contains(&format!(".SS accountd {}", escaped(command.name))),
                "{}",
                command.name
            );
            for option in command.options {
                assert!(
                    page.contains(&format!(
                        ".B {}\n{}\n",
                        escaped(&shown(option)),
                        escaped(option.doc)
                    )),
                    "{}",
                    option.name
                );
            }
        }
        for setting in SETTINGS {
            assert!(
                page.contains(&format!(".B {}\n", setting.name)),
                "{}",
                setting.name
            );
        }
        assert_eq!(escaped("a -b. .c\\\n'd"), "a \\-b.\n\\&.c\\e\n\\&'d");
    }
}
