//! The life of the process: start, supervisor, workers and what they tell each other, service
//! manager and limits.

pub mod activation;
pub mod channel;
pub mod lifecycle;
pub mod limits;
pub mod probe;
pub mod serve;
mod start;
pub mod supervisor;
pub mod systemd;
pub mod worker;
