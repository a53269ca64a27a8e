//! `completions`: what a shell completes behind `accountd`, made from the table of commands.
//!
//! All three scripts do the same: they look for the words before the cursor that are neither
//! options nor values of options, and offer what stands in the [`Place`] that these words name.

use super::help::{VERSION, with_help};
use super::{Argument, COMMANDS, Command, Opt, family, print, usage};
use std::fmt::Write;

/// The row of `completions`.
pub const COMPLETIONS: Command = Command {
    name: "completions",
    doc: "print what makes a shell complete accountd's commands and options",
    about: "Bash, zsh and fish read it from a file in a folder of theirs; the examples name the usual ones.",
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
        let script = SHELLS
            .iter()
            .find(|(name, _)| *name == shell)
            .map(|(_, script)| script);
        let names = NAMES.join(", ");
        print(&script.ok_or_else(|| {
            usage(
                "completions",
                format!("SHELL is one of {names}, not {shell:?}"),
            )
        })?())
    },
};

/// The words that SHELL may be.
const NAMES: [&str; 3] = ["bash", "zsh", "fish"];

/// What makes a script.
type Maker = fn() -> String;

/// The shells, and what makes the script of each.
const SHELLS: [(&str, Maker); 3] = [(NAMES[0], bash), (NAMES[1], zsh), (NAMES[2], fish)];

/// What can stand behind some words of a command line.
struct Place {
    /// These words.
    behind: &'static str,
    /// Words that go on with a command's name, and what each is.
    words: Vec<(&'static str, String)>,
    options: Vec<Opt>,
    /// What its next argument is.
    argument: Value,
}

/// What a shell may offer as a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Folder,
    File,
    Word(&'static [&'static str]),
    /// Something that only a person knows.
    Unknown,
}

impl Value {
    fn of(name: &str) -> Value {
        match name {
            "DIR" | "FOLDER" => Value::Folder,
            "FILE" => Value::File,
            "SHELL" => Value::Word(&NAMES),
            _ => Value::Unknown,
        }
    }
}

/// The start, each family, each command.
fn places() -> Vec<Place> {
    let firsts = COMMANDS
        .iter()
        .map(|command| command.name.split(' ').next().unwrap_or_default());
    let (mut start, mut families) = (Vec::new(), Vec::new());
    for first in firsts {
        match COMMANDS.iter().find(|command| command.name == first) {
            Some(command) => start.push((first, command.doc.to_string())),
            None if start.iter().all(|(known, _)| *known != first) => {
                let words: Vec<_> = family(first)
                    .filter_map(|command| {
                        Some((command.name.split_once(' ')?.1, command.doc.to_string()))
                    })
                    .collect();
                start.push((
                    first,
                    words
                        .iter()
                        .map(|(word, _)| *word)
                        .collect::<Vec<_>>()
                        .join(", "),
                ));
                families.push(Place {
                    behind: first,
                    words,
                    options: with_help(&[]).copied().collect(),
                    argument: Value::Unknown,
                });
            }
            None => {}
        }
    }
    let options = with_help(COMMANDS[0].options)
        .chain([&VERSION])
        .copied()
        .collect();
    let mut places = vec![Place {
        behind: "",
        words: start,
        options,
        argument: Value::Unknown,
    }];
    places.append(&mut families);
    places.extend(COMMANDS.iter().map(|command| {
        Place {
            behind: command.name,
            words: Vec::new(),
            options: with_help(command.options).copied().collect(),
            argument: command
                .arguments
                .first()
                .map_or(Value::Unknown, |argument| Value::of(argument.name)),
        }
    }));
    places
}

impl Place {
    /// Whether further words may stand between these and the cursor: arguments.
    fn goes_on(&self) -> bool {
        self.words.is_empty()
    }
}

/// Options that have a value, each once.
fn with_value() -> Vec<Opt> {
    let mut found: Vec<Opt> = Vec::new();
    for option in COMMANDS
        .iter()
        .flat_map(|command| command.options)
        .filter(|option| !option.value.is_empty())
    {
        if found.iter().all(|known| known.name != option.name) {
            found.push(*option);
        }
    }
    found
}

fn flags<'a>(options: impl IntoIterator<Item = &'a Opt>, between: &str) -> String {
    options
        .into_iter()
        .map(|option| format!("--{}", option.name))
        .collect::<Vec<_>>()
        .join(between)
}

/// A text in single quotes; `escape` is what stands for one within.
fn quoted(text: &str, escape: &str) -> String {
    format!("'{}'", text.replace('\'', escape))
}

fn bash() -> String {
    let valued = with_value();
    let mut script = format!(
        "# bash completion for accountd: accountd completions bash\n\
         _accountd() {{\n    \
             local current=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}} command= i\n    \
             local words= options= value=\n    \
             # Bash takes --data=DIR for three words.\n    \
             [[ $current != = ]] || current=\n    \
             [[ $option != = ]] || option=${{COMP_WORDS[COMP_CWORD - 2]}}\n    \
             for ((i = 1; i < COMP_CWORD; i++)); do\n        \
                 case ${{COMP_WORDS[i]}} in\n        \
                 {})\n            \
                     [[ ${{COMP_WORDS[i + 1]}} != = ]] || ((i++))\n            \
                     ((i++)) ;;\n        \
                 -*) ;;\n        \
                 *) command+=${{command:+ }}${{COMP_WORDS[i]}} ;;\n        \
                 esac\n    \
             done\n    \
             case $command in\n",
        flags(&valued, " | ")
    );
    for place in places() {
        let behind = quoted(place.behind, "");
        let more = if place.goes_on() {
            format!(" | '{} '*", place.behind)
        } else {
            String::new()
        };
        let words: Vec<&str> = match place.argument {
            Value::Word(words) => words.to_vec(),
            _ => place.words.iter().map(|(word, _)| *word).collect(),
        };
        let value = match place.argument {
            Value::Folder => " value=-d",
            Value::File => " value=-f",
            _ => "",
        };
        let _ = writeln!(
            script,
            "    {behind}{more}) words='{}' options='{}'{value} ;;",
            words.join(" "),
            flags(&place.options, " ")
        );
    }
    script += "    esac\n    case $option in\n";
    for option in valued {
        let value = match Value::of(option.value) {
            Value::Folder => "-d",
            Value::File => "-f",
            _ => "",
        };
        let _ = writeln!(
            script,
            "    --{}) words= options= value={value} ;;",
            option.name
        );
    }
    script += "    esac\n    \
        [[ $current != -* ]] || words=$options value=\n    \
        if [[ $value ]]; then\n        \
            compopt -o filenames\n        \
            mapfile -t COMPREPLY < <(compgen \"$value\" -- \"$current\")\n    \
        else\n        \
            mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n    \
        fi\n\
        }\n\
        complete -F _accountd accountd\n";
    script
}

fn zsh() -> String {
    let mut script = format!(
        "#compdef accountd\n\
         # zsh completion for accountd: accountd completions zsh\n\
         _accountd() {{\n    \
             local command=\n    \
             local -i i\n    \
             local -a names flags\n    \
             for ((i = 2; i < CURRENT; i++)); do\n        \
                 case $words[i] in\n        \
                 ({}) ((i++)) ;;\n        \
                 (-*) ;;\n        \
                 (*) command+=${{command:+ }}$words[i] ;;\n        \
                 esac\n    \
             done\n    \
             case $command in\n",
        flags(&with_value(), "|")
    );
    let action = |value| match value {
        Value::Folder => "_directories".into(),
        Value::File => "_files".into(),
        Value::Word(words) => format!("({})", words.join(" ")),
        Value::Unknown => "_nothing".into(),
    };
    for place in places() {
        let behind = quoted(place.behind, "");
        let more = if place.goes_on() {
            format!("|'{} '*", place.behind)
        } else {
            String::new()
        };
        let _ = writeln!(script, "    ({behind}{more})");
        for (word, doc) in &place.words {
            let _ = writeln!(
                script,
                "        names+=({})",
                quoted(&format!("{word}:{doc}"), "'\\''")
            );
        }
        for Opt { name, value, doc } in &place.options {
            let doc = doc
                .replace('[', "\\[")
                .replace(']', "\\]")
                .replace(':', "\\:");
            let value = if value.is_empty() {
                String::new()
            } else {
                format!(":{value}:{}", action(Value::of(value)))
            };
            let equals = if value.is_empty() { "" } else { "=" };
            let _ = writeln!(
                script,
                "        flags+=({})",
                quoted(&format!("--{name}{equals}[{doc}]{value}"), "'\\''")
            );
        }
        let rest = if place.words.is_empty() {
            action(place.argument)
        } else {
            "{_describe command names}".into()
        };
        let _ = writeln!(script, "        _arguments $flags '*: :{rest}' ;;");
    }
    script += "    esac\n}\n\
        if [[ $funcstack[1] == _accountd ]]; then _accountd \"$@\"; else compdef _accountd accountd; fi\n";
    script
}

fn fish() -> String {
    let quoted = |text: &str| quoted(&text.replace('\\', "\\\\"), "\\'");
    let mut script = format!(
        "# fish completion for accountd: accountd completions fish\n\
         function __accountd_behind\n    \
             set -l found\n    \
             set -l skip 1\n    \
             for word in (commandline -opc)\n        \
                 if test $skip = 1\n            \
                     set skip 0\n        \
                 else if contains -- $word {}\n            \
                     set skip 1\n        \
                 else if not string match -q -- '-*' $word\n            \
                     set -a found $word\n        \
                 end\n    \
             end\n    \
             for pattern in $argv\n        \
                 string match -q -- $pattern \"$found\"; and return 0\n    \
             end\n    \
             return 1\n\
         end\n\
         complete -c accountd -f\n",
        flags(&with_value(), " ")
    );
    for place in places() {
        let more = if place.goes_on() {
            format!(" \"{} *\"", place.behind)
        } else {
            String::new()
        };
        let mut row = |rest: &str| {
            _ = writeln!(
                script,
                "complete -c accountd -n '__accountd_behind \"{}\"{more}' {rest}",
                place.behind
            )
        };
        for (word, doc) in &place.words {
            row(&format!("-a {word} -d {}", quoted(doc)));
        }
        match place.argument {
            Value::Folder => row("-a '(__fish_complete_directories (commandline -ct))'"),
            Value::File => row("-F"),
            Value::Word(words) => row(&format!("-a '{}'", words.join(" "))),
            Value::Unknown => {}
        }
        for Opt { name, value, doc } in &place.options {
            let value = match Value::of(value) {
                _ if value.is_empty() => "",
                Value::Folder => " -x -a '(__fish_complete_directories (commandline -ct))'",
                Value::File => " -r -F",
                _ => " -x",
            };
            row(&format!("-l {name}{value} -d {}", quoted(doc)));
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_knows_every_command_and_option() {
        for (shell, script) in SHELLS {
            let script = script();
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
                for option in command.options {
                    let dashes = if shell == "fish" { "-l " } else { "--" };
                    assert!(
                        script.contains(&format!("{dashes}{}", option.name)),
                        "{shell}: {}",
                        option.name
                    );
                }
            }
        }
    }
}
