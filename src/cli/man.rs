//! `man`: the manual page accountd(1), written from the tables of commands and settings in the
//! macros of man(7).

use super::help::{EXIT, SETTINGS_INTRO, exit_of, shown, with_help};
use super::{Argument, COMMANDS, Command, Opt, print};
use crate::config::SETTINGS;
use std::fmt::Write;

/// The row of `man`.
pub const MAN: Command = Command {
    name: "man",
    doc: "print the manual page accountd(1)",
    about: "The page has the help of all commands, and the settings.",
    arguments: &[],
    options: &[],
    exit: &[],
    examples: &[(
        "man >/usr/local/share/man/man1/accountd.1",
        "install it for man(1)",
    )],
    run: |_| print(&page()),
};

/// The manual page.
pub fn page() -> String {
    let mut page = format!(
        ".TH ACCOUNTD 1 \"\" \"accountd {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    );
    page += ".SH NAME\naccountd \\- an account server for one box: one binary, one SQLite file, one command\n";
    page += ".SH SYNOPSIS\n.B accountd\n[\\fICOMMAND\\fR] [\\fIOPTIONS\\fR]\n";
    page += ".SH DESCRIPTION\n";
    page += "accountd keeps user accounts and serves them over HTTP and JSON.\n\
             Clients register, log in with a captcha, read and change their account, reset a forgotten password, and \
             upload a picture.\nEverything that it stores is in one data folder.\n";
    page += ".SH COMMANDS\n";
    COMMANDS.iter().for_each(|command| one(&mut page, command));
    let _ = write!(page, ".SH SETTINGS\n{}\n", escaped(SETTINGS_INTRO));
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
    page += ".SH SIGNALS\nSIGTERM and SIGINT stop the server once the requests that have begun are answered.\nSIGHUP makes it read its settings again.\n";
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
    let _ = writeln!(page, "\n{}.", escaped(&capitalized(doc)));
    about
        .lines()
        .for_each(|paragraph| _ = write!(page, ".PP\n{}\n", escaped(paragraph)));
    arguments
        .iter()
        .for_each(|Argument { name, doc }| item(page, name, doc));
    with_help(options).for_each(|option: &Opt| item(page, &shown(option), option.doc));
    // Those of all commands are listed once, at the end of the page.
    exit_of(exit)
        .filter(|row| !EXIT.contains(row))
        .for_each(|(code, doc)| item(page, &format!("exit status {code}"), doc));
    for (line, doc) in *examples {
        let _ = write!(
            page,
            ".PP\n.EX\n{}\n.EE\n{}.\n",
            escaped(format!("accountd {line}").trim_end()),
            escaped(&capitalized(doc))
        );
    }
}

/// Appends a word with its description beside or below it.
fn item(page: &mut String, word: &str, doc: &str) {
    let _ = write!(page, ".TP\n.B {}\n{}\n", escaped(word), escaped(doc));
}

fn capitalized(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next()
        .map(|first| first.to_uppercase().chain(rest).collect())
        .unwrap_or_default()
}

/// A text in which no line is taken for a macro and hyphens can be copied. Each sentence begins a
/// new line, as man(7) asks.
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
    fn the_page_has_every_command_option_and_setting() {
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
