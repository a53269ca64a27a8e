//! Tests that speak HTTP to the real binary over a socket.

mod admin;
mod audit;
mod cli;
mod contract;
mod faults;
mod flows;
mod renewal;
mod support;
mod tidy;
mod wire;
