//! The parsed arguments of one command line.

use super::{Command, DATA};
use crate::command::Failure;
use lexopt::ValueExt;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The values of a command's arguments and options.
pub struct Args {
    command: &'static Command,
    values: HashMap<&'static str, Vec<OsString>>,
}

impl Args {
    /// The values of a command's arguments and options, by their names in the table.
    pub fn new(command: &'static Command, values: HashMap<&'static str, Vec<OsString>>) -> Args {
        Args { command, values }
    }

    /// The command's name.
    pub fn command(&self) -> &'static str {
        self.command.name
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.path(DATA.name).unwrap_or_else(|| "data".into())
    }

    /// Whether the command line has this option.
    pub fn has(&self, option: &str) -> bool {
        self.values.contains_key(option)
    }

    /// The value of an argument or option that is a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.values.get(name)?.last().map(PathBuf::from)
    }

    /// The value of an option; the last one if it is repeated. An error if it is not UTF-8.
    pub fn text(&self, option: &str) -> Result<Option<String>, Failure> {
        self.texts(option).map(|mut texts| texts.pop())
    }

    /// Every value of an argument or option that may be repeated. An error if one is not UTF-8.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let values = self.values.get(name).into_iter().flatten();
        let texts: Result<_, lexopt::Error> = values.map(|value| value.clone().string()).collect();
        texts.map_err(|error| usage(self.command.name, error.to_string()))
    }

    /// The value of an argument. An error if it is not UTF-8.
    pub fn argument(&self, name: &str) -> Result<String, Failure> {
        self.text(name).map(Option::unwrap_or_default)
    }
}

/// Bad usage of a command, or of the program if `command` is empty.
pub fn usage(command: &str, sentence: String) -> Failure {
    let of = if command.is_empty() {
        String::new()
    } else {
        format!("{command} ")
    };
    Failure::new(2, format!("{sentence}; see accountd {of}--help"))
}
