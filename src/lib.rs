//! accountd, an account server for one box: one binary, one SQLite file, one command.
//!
//! # The map
//!
//! From the top down: a module imports only modules below it. `tests/it/imports.rs` checks that.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`cli`] | How does a command line become a command? Parser, help, manual page, completions. |
//! | [`commands`] | What do the commands do? One file or folder for each family. |
//! | [`process`] | How does the server start, reload, restart and end? Supervisor, worker, their channel. |
//! | [`server`] | How do requests arrive and replies leave? Sockets, threads, tiny_http. |
//! | [`api`] | What does an interface do? The router, and one file for each interface, named as its path. |
//! | [`site`] | What does GET serve beside the interfaces? The web page, `/openapi.json`, `/metrics`. |
//! | [`app`] | What do all requests share? |
//! | [`account`] | What are captchas, passwords, pictures, guesses and budgets? |
//! | [`store`] | How is it kept? SQL stands beside the function that runs it. |
//! | [`metrics`] | What is counted? |
//! | [`config`] | What is set? |
//! | [`http`] | What is a request, and what is a reply? Values only. |
//! | [`command`] | What is a command, an option, a failure? |
//! | [`log`] | What is logged, and how is text made safe for a terminal? |
//! | [`contract`] | Which paths, fields, codes and sentences are there? One table. |
//! | [`crypto`], [`clock`], [`sync`] | Random texts and digests; time; locks and permits. |
//!
//! # A request's path
//!
//! The event loop ([`server`]) reads a connection until a request is complete: its head strictly,
//! and a JSON body whole. It passes one short line to tiny_http, from which one of `threads`
//! threads pulls the request. A request with an upload, a slow hash or a slow disk goes on in a
//! thread of its own, so that small requests never wait behind it. [`api::answer`] finds the
//! endpoint by its path, reads the body, and checks what the contract's table demands: captcha,
//! token. Then it calls the one handler. The handler checks the rest, computes, uses the database
//! once, and returns a [`contract::Success`] or a [`contract::Refusal`]. The endpoint's rows turn
//! that into a number and a sentence. One write sends the reply; the event loop sends what the
//! client does not read at once.
//!
//! # What always holds
//!
//! - Only the head parser sees a client's bytes before they are checked. A client cannot make the
//!   server lose a thread, and a connection that sends or reads nothing costs no thread.
//! - The memory that requests and replies take is bounded for all connections together.
//! - Handlers know no number and no sentence. A reason without a row is HTTP 500 and a line in the
//!   log.
//! - Readers of the database never wait for writers.
//! - Writers that come at the same time share a transaction and its sync. None is answered before
//!   it is on disk.
//! - A lock of the database is held for statements only: never across hashing, drawing, writing
//!   files or another lock.
//! - A token or password on disk is a digest. None is in the log.
//! - An account change that was acknowledged is synced. A new session is not; its loss costs a
//!   log-in.
//! - Time and the client's address come with the request.
//! - Captchas, guesses and budgets belong to one worker at a time: a worker that has handed them
//!   over spends none of them.
//! - While a command holds the pictures' lock ([`account::avatar::lock_exclusive`]), no picture is
//!   removed. So a backup may copy the database first.

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
