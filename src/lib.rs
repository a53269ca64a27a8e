//! accountd, an account server for one box: one binary, one SQLite file, one command.
//!
//! # The map
//!
//! | room | what lives there |
//! |---|---|
//! | [`cli`] | commands and options as data: read, explained, run |
//! | [`admin`] | commands on a data folder, a file for each family |
//! | [`clock`] | the time of the calendar, and a time that nobody can set |
//! | [`config`] | the table of settings, and what is in force |
//! | [`serve`] | the command: folder, lock, start, signals, stop; what a serving process does |
//! | [`supervise`] | the process that holds the socket, and what it and the one that serves say to each other |
//! | [`server`] | threads and their requests; connections in their order, kept awake, and looked after |
//! | [`socket`], [`question`] | the listening socket, and a hand on each connection; whether somebody answers there |
//! | [`notify`] | what a service manager wants to know |
//! | [`http`] | tiny_http's request to a plain one, a plain reply to the socket |
//! | [`api`] | the router, and a file for each interface, named as its path |
//! | [`contract`] | every path, number and sentence of the wire |
//! | [`metrics`] | what is counted, for Prometheus |
//! | [`openapi`] | the contract as an OpenAPI document |
//! | [`form`], [`upload`] | what a body holds: JSON, a file |
//! | [`forwarded`] | who asks, where a proxy asks for others |
//! | [`captcha`], [`expiring`] | handed out, drawn, answered once; a map that forgets |
//! | [`avatar`], [`picture`] | files and their names; what is in them, and what of it stays |
//! | [`page`] | the web page: files that are part of the program |
//! | [`throttle`] | who has failed or asked how often |
//! | [`rules`] | which new passwords are refused |
//! | [`escape`] | texts as a terminal may be given them |
//! | [`secret`] | passwords, tokens, random letters, comparisons |
//! | [`store`] | the database: users, sessions, the audit log, migrations |
//! | [`app`], [`log`] | what all requests share; lines on standard error |
//! | [`places`], [`limits`], [`failure`] | a bounded number of threads at some work; limits of the process; an exit code and a sentence |
//!
//! # A request's way
//!
//! A thread of tiny_http reads the head and queues the request; one of `threads` workers takes it ([`server`]). If its
//! framing is not clear, it is refused and its connection ended ([`http::framing`]). If its body is still on the way or its
//! work may take long, or it writes and the disk is slow, it goes to a thread of its own, so that small requests never wait
//! behind it. Then
//! [`api::answer`] finds the interface by its path, reads the form, and calls the one function that handles it. That
//! function checks, spends the captcha, computes, visits the database once, and says what came of it: a
//! [`contract::Done`] or a reason, [`contract::No`]. The endpoint's rows turn that into a number and a sentence, and one
//! write sends it.
//!
//! # What always holds
//!
//! - Handlers know no number and no sentence; a reason without a row is HTTP 500 and a line in the log.
//! - Who reads the database waits for nobody who writes: each has a connection of its own, behind a lock of its own.
//! - Those who write at the same time share a transaction and its sync; nobody is answered before it is on disk.
//! - Such a lock is taken for statements alone: never across hashing, drawing, file writing or another lock.
//! - A token or password that is on disk is there as a digest; none is in the log.
//! - An account change that was acknowledged is synced. A new session is not, and its loss costs a log-in.
//! - No request makes the process allocate more than 16 MiB for what its client only announces.
//! - Time and the client's address come with the request.
//! - While a command holds the pictures ([`avatar::hold`]), none is removed: the database may be copied first.

pub mod admin;
pub mod api;
pub mod app;
pub mod avatar;
pub mod captcha;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contract;
pub mod escape;
pub mod expiring;
pub mod failure;
pub mod form;
pub mod forwarded;
pub mod http;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod openapi;
pub mod page;
pub mod picture;
pub mod places;
pub mod question;
pub mod rules;
pub mod secret;
pub mod serve;
pub mod server;
pub mod socket;
pub mod store;
pub mod supervise;
pub mod throttle;
pub mod upload;
