//! Processes: start, supervisor, workers and their messages, service manager, resource limits.

pub mod activation;
pub mod channel;
pub mod data_folder;
pub mod lifecycle;
pub mod limits;
pub mod lock_holder;
pub mod probe;
pub mod serve;
mod startup;
pub mod supervisor;
pub mod systemd;
pub mod worker;
