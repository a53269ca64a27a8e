//! The command `config`: prints the settings in force.

use crate::command::{Command, DATA, Failure, print};
use crate::config;

/// `config`
pub const CONFIG: Command = Command {
    name: "config",
    doc: "print the settings in force and their sources, with secrets hidden",
    about: "A value comes from the command line, the environment, config.json or the built-in defaults, in this order. An \
            invalid setting is an error that says where it is and what is expected, as at the start of the server.",
    arguments: &[],
    options: &[DATA],
    exit: &[],
    examples: &[(
        "config --data /srv/accounts",
        "print the settings of a server on this folder",
    )],
    run: |args| {
        let loaded =
            config::environment().and_then(|found| config::load(&args.data(), &found, &[]));
        let (_, settings) = loaded.map_err(|error| Failure::new(2, error))?;
        print(
            &settings
                .iter()
                .map(|one| format!("{one}\n"))
                .collect::<String>(),
        )
    },
};
