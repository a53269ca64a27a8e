//! accountd, an account server for one box: one binary, one SQLite file, one command.
//!
//! # The map
//!
//! | module | what lives there |
//! |---|---|
//! | [`cli`] | commands and options as data: parsed, explained, run |
//! | [`admin`] | commands on a data folder, a file for each family |
//! | [`process`] | start, supervisor, workers and their channel, service manager, limits |
//! | [`server`] | sockets and threads: the event loop that reads clients, the queue, the threads that answer |
//! | [`http`] | requests and replies as values |
//! | [`api`] | the router, and a file for each interface, named as its path |
//! | [`contract`] | every path, number and sentence of the wire |
//! | [`metrics`], [`openapi`], [`page`] | counters for Prometheus; the contract as an OpenAPI document; the web page |
//! | [`form`], [`upload`] | what a body holds: JSON, a file |
//! | [`forwarded`], [`network`] | the client's address behind proxies; the networks around it, and which entries a full table evicts |
//! | [`captcha`], [`expiring`] | drawn, given out, answered once; a map whose entries expire |
//! | [`avatar`], [`picture`] | files and their names; what is in them, and what of it stays |
//! | [`escape`] | texts that a terminal can be given safely |
//! | [`store`] | the database: users, sessions, the audit log, migrations |
//! | [`app`], [`config`], [`clock`], [`log`], [`failure`] | what all requests share; settings; time; log lines; exit codes |
//!
//! # A request's path
//!
//! The event loop ([`server`]) reads a connection until a request is complete: its head strictly,
//! and a JSON body whole. It passes the request's line to tiny_http, from which one of `threads`
//! threads pulls it. If its body is an upload, its work a slow hash, or the disk slow, it goes on
//! in a thread of its own, so that small requests never wait behind it. Then [`api::answer`] finds
//! the interface by its path, reads the form, and calls the one function that handles it. That
//! function checks, spends the captcha, computes, visits the database once, and returns what came
//! of it: a [`contract::Done`] or a reason, [`contract::No`]. The endpoint's rows turn that into a
//! number and a sentence, and one write sends it. What the client does not read at once, the event
//! loop sends as it reads.
//!
//! # What always holds
//!
//! - No library but the head parser sees a byte of a client before it is checked; a client cannot
//!   make the server lose a thread, and a connection that sends or reads nothing costs no thread.
//! - Handlers know no number and no sentence; a reason without a row is HTTP 500 and a line in the
//!   log.
//! - Readers of the database never wait for writers: each has a connection of its own, behind a
//!   lock of its own.
//! - Writers that come at the same time share a transaction and its sync; none is answered before
//!   it is on disk.
//! - Such a lock is taken for statements alone: never across hashing, drawing, file writing or
//!   another lock.
//! - A token or password that is on disk is there as a digest; none is in the log.
//! - An account change that was acknowledged is synced. A new session is not, and its loss costs a
//!   log-in.
//! - What connections hold in memory, requests and answers, is bounded for all of them together.
//! - Time and the client's address come with the request.
//! - Captchas, guesses and budgets belong to one worker at a time: one that has given them away
//!   spends none of them.
//! - While a command holds the pictures ([`avatar::lock_exclusive`]), none is removed: the database may be
//!   copied first.

pub mod account;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod command;
pub mod commands;
pub mod config;
pub mod contract;
pub mod crypto;
pub mod http;
pub mod log;
pub mod metrics;
pub mod process;
pub mod server;
pub mod site;
pub mod store;
pub mod sync;
