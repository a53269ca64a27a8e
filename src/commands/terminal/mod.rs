//! Input and output for a person at a terminal: tables, prompts, progress.

pub mod progress;
pub mod prompt;
pub mod table;
