//! The command `config`: the settings in force.

use crate::command::{Command, DATA, Failure, print};
use crate::config;

/// `config`
pub const CONFIG: Command = Command {
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
