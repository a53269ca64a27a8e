//! Tests that speak HTTP to the real binary over a socket.

mod admin;
mod audit;
mod backup;
mod cli;
mod contract;
mod faults;
mod flows;
mod import;
mod metrics;
mod page;
mod reload;
mod renewal;
mod service;
mod support;
mod tidy;
mod upload;
mod wire;
