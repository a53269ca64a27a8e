//! An account server for one box.

pub mod api;
pub mod app;
pub mod avatar;
pub mod captcha;
pub mod cli;
pub mod config;
pub mod contract;
pub mod expiring;
pub mod form;
pub mod heartbeat;
pub mod http;
pub mod log;
pub mod picture;
pub mod secret;
pub mod serve;
pub mod server;
pub mod socket;
pub mod store;
pub mod upload;
