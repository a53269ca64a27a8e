//! Tests that speak HTTP to the real binary over a socket.

mod admin;
mod audit;
mod backup;
mod cli;
mod contract;
mod docs;
mod faults;
mod flows;
mod forward_auth;
mod import;
mod imports;
mod keys;
mod metrics;
mod own_account;
mod page;
mod proxy;
mod reload;
mod restart;
mod service;
mod signal;
mod support;
mod throttle;
mod tidy;
mod totp;
mod upload;
mod wire;
