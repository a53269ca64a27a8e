//! Tests that speak HTTP to the real binary over a socket.

mod admin;
mod audit;
mod cli;
mod contract;
mod faults;
mod flows;
mod metrics;
mod reload;
mod renewal;
mod service;
mod support;
mod tidy;
mod wire;
