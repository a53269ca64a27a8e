//! Commands that work on a data folder, whether a server runs on it or not.

pub mod audit;
pub mod backup;
pub mod check;
pub mod config;
pub mod harden;
pub mod health;
pub mod import_medusa;
pub mod serve;
pub mod terminal;
pub mod user;

use crate::clock;
use crate::command::Args;
use crate::command::Failure;
use crate::config::{Config, environment, load};
use crate::process::limits;
use crate::store::audit::Event;
use crate::store::{Durable, FILE, Fault, Store, Transaction};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long a command waits for a server that writes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the server's writes may have to wait for a command at once, and how often.
const MOMENT: Duration = Duration::from_millis(50);
const TRIES: usize = 20;

/// Opens the database of the folder that a command line names, as a server would.
///
/// # Errors
/// If there is none, or it is not to be used.
pub fn open(args: &Args) -> Result<Store, Failure> {
    let mut store = there(&args.data())
        .and_then(|()| Store::open(&args.data()))
        .map_err(|error| Failure::new(1, error))?;
    store.set_busy_timeout(PATIENCE)?;
    Ok(store)
}

/// Opens the database of a folder as it is: an older one stays as old as it is.
///
/// # Errors
/// A sentence, if there is none, or it is not to be used.
pub fn visit(data: &Path) -> Result<Store, String> {
    there(data)?;
    let mut store = Store::open_existing(data)?;
    store
        .set_busy_timeout(PATIENCE)
        .map_err(|fault| String::from(fault.cause()))?;
    Ok(store)
}

fn there(data: &Path) -> Result<(), String> {
    let path = data.join(FILE);
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{}: is not there; name the data folder with --data DIR",
            path.display()
        )),
        Err(error) => Err(format!("{}: cannot be read: {error}", path.display())),
    }
}

/// Asks that files which this process makes can be read by a server of the data folder.
///
/// # Errors
/// A sentence, if the folder belongs to another user.
pub fn as_owner(data: &Path) -> Result<(), String> {
    match fs::metadata(data) {
        Ok(metadata) if metadata.uid() != limits::user() => {
            let (shown, owner) = (data.display(), metadata.uid());
            Err(format!(
                "{shown}: belongs to the user with id {owner}; do this as that user (sudo -u \\#{owner} …)"
            ))
        }
        _ => Ok(()),
    }
}

/// Does something to the user with an id.
pub type Change = fn(&Transaction, i64) -> rusqlite::Result<()>;

/// A data folder that a command works on.
pub struct Folder {
    /// Where it is.
    pub data: PathBuf,
    /// What is in force.
    pub config: Config,
    store: Store,
    command: &'static str,
}

impl Folder {
    /// Opens the folder that a command line names.
    ///
    /// # Errors
    /// If its configuration is not right, or its database is not to be used.
    pub fn open(args: &Args) -> Result<Folder, Failure> {
        let data = args.data();
        let loaded = environment().and_then(|found| load(&data, &found, &[]));
        let (config, _) = loaded.map_err(|error| Failure::new(2, error))?;
        Ok(Folder {
            data,
            config,
            store: open(args)?,
            command: args.command(),
        })
    }

    /// Asks the database.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        Ok(self.store.read(ask)?)
    }

    /// What the audit log says of this command.
    #[must_use]
    pub fn event(&self) -> Event<'static> {
        Event {
            at: clock::now(),
            name: self.command,
            source: "command",
            days: self.config.audit_days,
        }
    }

    /// Changes the database in one transaction, in which `change` takes note of the event.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction, &Event) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let event = self.event();
        Ok(self.store.write(Durable::Now, |db| change(db, &event))?)
    }

    /// Overwrites whatever is deleted from now on, wherever it stood.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn leave_no_trace(&self) -> Result<(), Failure> {
        Ok(self.store.enable_secure_delete()?)
    }

    /// Empties the database's log, which still has what was deleted; says whether it is done. That
    /// holds writers up until whoever reads has come to an end, so it waits for a moment at a time
    /// and lets them through in between.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn settle(&mut self) -> Result<bool, Failure> {
        self.store.set_busy_timeout(MOMENT)?;
        Ok((0..TRIES).any(|_| {
            thread::sleep(MOMENT);
            self.store.checkpoint()
        }))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::new(
            1,
            format!("the database: {}; nothing has changed", fault.cause()),
        )
    }
}
