//! What every command is made of: its row in the table, its arguments, its failure, its output.

mod args;
mod failure;
mod print;

pub use args::{Args, usage};
pub use failure::Failure;
pub use print::print;

/// A command.
pub struct Command {
    /// One word, or two where a family shares the first one.
    pub name: &'static str,
    /// What it does, in a line that begins with a verb.
    pub doc: &'static str,
    /// What else there is to know: paragraphs, each one line.
    pub about: &'static str,
    /// What stands behind its name, in this order.
    pub arguments: &'static [Argument],
    /// Its options.
    pub options: &'static [Opt],
    /// Exit codes that mean more than `--help` says of all commands.
    pub exit: &'static [(u8, &'static str)],
    /// Command lines without the program's name, and what each does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Does it.
    pub run: fn(&Args) -> Result<(), Failure>,
}

/// An argument that is told by its place.
pub struct Argument {
    /// In capitals.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
}

/// An option.
#[derive(Clone, Copy)]
pub struct Opt {
    /// Without its dashes. Options of one name are alike in all commands.
    pub name: &'static str,
    /// Its value, in capitals; empty if it has none.
    pub value: &'static str,
    /// What it is.
    pub doc: &'static str,
}

/// The data folder; every command has it.
pub const DATA: Opt = Opt {
    name: "data",
    value: "DIR",
    doc: "the folder with everything that lasts: config.json, accountd.db, avatars/ (default: ./data)",
};
/// An address in place of the configured one.
pub const LISTEN: Opt = Opt {
    name: "listen",
    value: "ADDR",
    doc: "IP:PORT or unix:PATH instead of what is configured; port 0 picks a free one",
};
/// Output for programs.
pub const JSON: Opt = Opt {
    name: "json",
    value: "",
    doc: "print a JSON object, of a list one a line; times are Unix seconds",
};
/// A user by id, which no name can be taken for.
pub const ID: Opt = Opt {
    name: "id",
    value: "N",
    doc: "the user with this id, in place of USER",
};
