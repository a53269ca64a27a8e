//! What all requests share: the configuration, the database, the captchas, the throttle.

use crate::account::expiring::Expiring;
use crate::account::throttle::{self, Limits, Throttle};
use crate::config::Config;
use crate::config::Scheme;
use crate::contract::Reason;
use crate::crypto;
use crate::metrics::{self, Metrics};
use crate::store::last_seen::LastSeen;
use crate::store::{
    self, BUSY_TIMEOUT, Durable, Fault, GroupCommit, Reader, Store, Transaction, sessions, users,
};
use crate::sync::lock;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The server's state.
pub struct App {
    /// What is in force.
    pub config: Config,
    /// The folder with everything that lasts.
    pub data: PathBuf,
    /// The answer of every captcha, in a smoke test.
    pub captcha_answer: Option<String>,
    /// What is counted.
    pub metrics: Metrics,
    /// When sessions were last used.
    pub last_seen: LastSeen,
    group_commit: GroupCommit,
    reader: Mutex<Reader>,
    captchas: Mutex<Expiring<[u8; 32], String>>,
    throttle: Mutex<Throttle>,
    /// Whether captchas and throttle belong to another worker.
    moved: AtomicBool,
}

/// What goes over to the next process.
#[derive(Serialize, Deserialize)]
struct State<C, T, M> {
    captchas: C,
    throttle: T,
    metrics: M,
}

impl App {
    /// The state at a start.
    pub fn new(
        config: Config,
        data: PathBuf,
        captcha_answer: Option<String>,
        store: Store,
        reader: Reader,
    ) -> App {
        let captchas = Expiring::new(config.captcha_ttl_seconds, config.max_captchas);
        let mut seed = [0; 8];
        crypto::fill_random(&mut seed);
        let limits = Limits {
            registrations_per_source: config.registrations_per_source,
            registrations_per_hour: config.registrations_per_hour,
        };
        let throttle = Throttle::new(config.throttle, limits, u64::from_ne_bytes(seed));
        let throttle = Mutex::new(throttle);
        let (group_commit, reader, captchas) = (
            GroupCommit::new(store),
            Mutex::new(reader),
            Mutex::new(captchas),
        );
        let (metrics, moved) = (Metrics::from_contract(), AtomicBool::new(false));
        App {
            config,
            data,
            captcha_answer,
            metrics,
            last_seen: LastSeen::default(),
            group_commit,
            reader,
            captchas,
            throttle,
            moved,
        }
    }

    /// Queries the database. Never waits for a write.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        lock(&self.reader).read(query)
    }

    /// Checks that the database answers. Never waits: while a write is in progress, the check is
    /// left out.
    pub fn probe_database(&self) -> Result<(), Fault> {
        self.group_commit.try_read(store::probe).unwrap_or(Ok(()))
    }

    /// Changes the database in one transaction. Waits for at most a second if another process has
    /// the database locked; other threads can read it meanwhile.
    ///
    /// # Errors
    /// A [`Fault`]; nothing has changed then.
    pub fn write<T>(
        &self,
        durable: Durable,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        self.group_commit.write(durable, BUSY_TIMEOUT, change)
    }

    /// The same, but waits for another process up to `patience`.
    pub fn write_within<T>(
        &self,
        patience: Duration,
        durable: Durable,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        self.group_commit.write(durable, patience, change)
    }

    /// Whether writes had to wait lately, for the disk or for another process.
    pub fn writes_are_slow(&self) -> bool {
        self.group_commit.is_slow()
    }

    /// Whether to verify a password may take an Argon2id hash: the setting says so, or some row has
    /// one.
    pub fn hashes_are_slow(&self) -> bool {
        // A database that can't be asked lets no password be verified, in whatever thread.
        self.config.password_hash == Scheme::Argon2id
            || self.read(users::any_argon2id).unwrap_or(true)
    }

    /// Writes when sessions were last used. What could not be written waits for the next time.
    pub fn write_last_seen(&self) -> Result<(), Fault> {
        self.last_seen
            .write(|batch| self.write(Durable::Soon, |db| sessions::set_seen(db, batch)))
    }

    /// Removes from the write-ahead log what was erased in the database, unless another process reads
    /// it: then a later checkpoint does that.
    pub fn erase_log(&self) {
        self.group_commit.try_checkpoint();
    }

    /// Moves the write-ahead log into the database file, at the end.
    pub fn checkpoint(&self) {
        self.group_commit.checkpoint();
    }

    /// Gives away what is in memory alone, for the worker that goes on with it. From now on this
    /// one spends nothing of it: it would be spent twice.
    pub fn give_away(&self) -> Vec<u8> {
        let (captchas, throttle) = (lock(&self.captchas), lock(&self.throttle));
        self.moved.store(true, Ordering::SeqCst);
        let metrics = self.metrics.state();
        serde_json::to_vec(&State {
            captchas: captchas.entries(),
            throttle: throttle.state(),
            metrics,
        })
        .unwrap_or_default()
    }

    /// Goes on with what another process had in memory. It may be of another version: a part that
    /// can't be read is lost, the others aren't.
    pub fn restore(&self, state: &[u8]) {
        let Ok(parts) = serde_json::from_slice::<State<&RawValue, &RawValue, &RawValue>>(state)
        else {
            return;
        };
        if let Ok(captchas) = serde_json::from_str(parts.captchas.get()) {
            lock(&self.captchas).restore(captchas);
        }
        if let Ok(throttle) = serde_json::from_str::<throttle::State>(parts.throttle.get()) {
            lock(&self.throttle).restore(throttle);
        }
        if let Ok(metrics) = serde_json::from_str::<metrics::State>(parts.metrics.get()) {
            self.metrics.restore(&metrics);
        }
    }

    /// The captchas that wait for an answer: digests of their keys, and the answers.
    ///
    /// # Errors
    /// [`Reason::Moved`] after [`App::give_away`].
    pub fn captchas(&self) -> Result<MutexGuard<'_, Expiring<[u8; 32], String>>, Reason> {
        self.unless_moved(lock(&self.captchas))
    }

    /// The failures and budgets of all sources.
    ///
    /// # Errors
    /// [`Reason::Moved`] after [`App::give_away`].
    pub fn throttle(&self) -> Result<MutexGuard<'_, Throttle>, Reason> {
        self.unless_moved(lock(&self.throttle))
    }

    /// The state itself, unless it has been given away; that happens under the locks of both.
    fn unless_moved<T>(&self, state: T) -> Result<T, Reason> {
        if self.moved.load(Ordering::SeqCst) {
            Err(Reason::Moved)
        } else {
            Ok(state)
        }
    }
}
