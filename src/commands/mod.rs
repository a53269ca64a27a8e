//! The commands, and what they share: opening the data folder of a server that may be running.

pub mod audit;
pub mod backup;
pub mod check;
pub mod config;
pub mod group;
pub mod harden;
pub mod health;
pub mod import_medusa;
pub mod invite;
mod link;
pub mod serve;
pub mod signal;
pub mod terminal;
pub mod user;

use crate::clock;
use crate::command::Args;
use crate::command::Failure;
use crate::config::{Config, environment, load};
use crate::process::limits;
use crate::store::audit::Event;
use crate::store::{self, Durable, FILE, Fault, Store, Transaction};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long a command waits for a lock that a writing server holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one attempt at a checkpoint may hold up the server's writes, and the pause before it.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(50);
const CHECKPOINT_ATTEMPTS: usize = 20;

/// Opens the database of the data folder that the command line names, and migrates it as a server
/// would. An error if there is none.
pub fn open(args: &Args) -> Result<Store, Failure> {
    let mut store = require_database(&args.data())
        .and_then(|()| Store::open(&args.data()))
        .map_err(|error| Failure::new(1, error))?;
    store.set_busy_timeout(BUSY_TIMEOUT)?;
    Ok(store)
}

/// Opens the database of a folder without migrating it. An error if there is none.
pub fn open_existing(data: &Path) -> Result<Store, String> {
    require_database(data)?;
    let mut store = Store::open_existing(data)?;
    store
        .set_busy_timeout(BUSY_TIMEOUT)
        .map_err(|fault| String::from(fault.cause()))?;
    Ok(store)
}

fn require_database(data: &Path) -> Result<(), String> {
    let path = data.join(FILE);
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{}: does not exist; name the data folder with --data DIR",
            path.display()
        )),
        Err(error) => Err(format!("{}: cannot be read: {error}", path.display())),
    }
}

/// Refuses to go on if the data folder belongs to another user, whose server could not read the
/// files that this process creates.
pub fn require_owner(data: &Path) -> Result<(), String> {
    match fs::metadata(data) {
        Ok(metadata) if metadata.uid() != limits::user() => {
            let (shown, owner) = (data.display(), metadata.uid());
            Err(format!(
                "{shown}: belongs to the user with id {owner}; run this command as that user (sudo -u \\#{owner} …)"
            ))
        }
        _ => Ok(()),
    }
}

/// A change to the user with this id.
pub type Change = fn(&Transaction, i64) -> rusqlite::Result<()>;

/// The data folder that a command works on.
pub struct DataFolder {
    /// Its path.
    pub data: PathBuf,
    /// The settings in force.
    pub config: Config,
    store: Store,
    command: &'static str,
}

impl DataFolder {
    /// Opens the data folder that the command line names.
    pub fn open(args: &Args) -> Result<DataFolder, Failure> {
        let data = args.data();
        let loaded = environment().and_then(|found| load(&data, &found, &[]));
        let (config, _) = loaded.map_err(|error| Failure::new(2, error))?;
        Ok(DataFolder {
            data,
            config,
            store: open(args)?,
            command: args.command(),
        })
    }

    /// Queries the database.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        Ok(self.store.read(query)?)
    }

    /// The event of this command for the audit log.
    pub fn event(&self) -> Event<'static> {
        Event {
            at: clock::now(),
            name: self.command,
            source: "command",
            days: self.config.audit_days,
        }
    }

    /// Changes the database in one transaction, in which `change` also writes the event to the
    /// audit log.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction, &Event) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let event = self.event();
        Ok(self.store.write(Durable::Now, |db| change(db, &event))?)
    }

    /// From now on, SQLite overwrites deleted content.
    pub fn enable_secure_delete(&self) -> Result<(), Failure> {
        Ok(self.store.enable_secure_delete()?)
    }

    /// Empties the write-ahead log, which still holds deleted content, and returns whether that
    /// worked. A checkpoint holds up writers while it waits for readers to finish, so it waits only
    /// briefly each time and lets writers through in between.
    pub fn checkpoint(&mut self) -> Result<bool, Failure> {
        self.store.set_busy_timeout(CHECKPOINT_TIMEOUT)?;
        Ok((0..CHECKPOINT_ATTEMPTS).any(|_| {
            thread::sleep(CHECKPOINT_TIMEOUT);
            self.store.checkpoint()
        }))
    }
}

/// Records an event whose name has more words than the command, and its user, if any.
fn record(db: &Transaction, event: &Event, more: &str, user: Option<i64>) -> rusqlite::Result<()> {
    let name = &format!("{} {more}", event.name);
    store::audit::done(db, &Event { name, ..*event }, user)
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::new(
            1,
            format!("the database: {}; nothing has changed", fault.cause()),
        )
    }
}
