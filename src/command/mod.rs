//! What every command is made of: its row in the table, arguments, failure and output.

mod args;
mod failure;
mod print;

pub use args::{Args, usage};
pub use failure::Failure;
pub use print::print;

/// A command.
pub struct Command {
    /// One word, or two if it belongs to a family, such as `user list`.
    pub name: &'static str,
    /// What it does, in one line that begins with a verb.
    pub doc: &'static str,
    /// The rest of its help: paragraphs, one per line.
    pub about: &'static str,
    /// Its positional arguments, in order.
    pub arguments: &'static [Argument],
    /// Its options.
    pub options: &'static [Opt],
    /// Exit codes with a more specific meaning than in all commands.
    pub exit: &'static [(u8, &'static str)],
    /// Command lines without the program's name, each with a description.
    pub examples: &'static [(&'static str, &'static str)],
    /// Runs it.
    pub run: fn(&Args) -> Result<(), Failure>,
}

/// A positional argument.
pub struct Argument {
    /// In capitals. With `...` at the end it takes all words that follow, at least one, and they
    /// may begin with a dash.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
}

impl Argument {
    /// Whether it takes all words that follow.
    pub fn repeats(&self) -> bool {
        self.name.ends_with("...")
    }
}

/// An option.
#[derive(Clone, Copy)]
pub struct Opt {
    /// Without its dashes. An option of the same name takes the same value in all commands.
    pub name: &'static str,
    /// Its value, in capitals; empty if it has none.
    pub value: &'static str,
    /// What it is.
    pub doc: &'static str,
}

/// The data folder. Every command that uses one has this option.
pub const DATA: Opt = Opt {
    name: "data",
    value: "DIR",
    doc: "the data folder, with config.json, accountd.db and avatars/ (default: ./data)",
};
/// An address that overrides the configured one.
pub const LISTEN: Opt = Opt {
    name: "listen",
    value: "ADDR",
    doc: "IP:PORT or unix:PATH in place of the configured address; port 0 picks a free port",
};
/// Output for programs.
pub const JSON: Opt = Opt {
    name: "json",
    value: "",
    doc: "print a JSON object; a list prints one per line; times are Unix seconds",
};
/// A user by id. Unlike USER, it cannot be mistaken for a name.
pub const ID: Opt = Opt {
    name: "id",
    value: "N",
    doc: "the user with this id, in place of USER",
};
