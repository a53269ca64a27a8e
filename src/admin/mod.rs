//! Commands that work on a data folder, whether a server runs on it or not.

pub mod audit;
pub mod health;
mod password;
mod text;
pub mod user;

use crate::cli::Given;
use crate::clock;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::store::audit::Event;
use crate::store::{Durable, FILE, Fault, Store};
use rusqlite::{Connection, Transaction};
use std::path::PathBuf;
use std::time::Duration;

/// How long a command waits for a server that writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the database of the folder that a command line names, as a server would.
///
/// # Errors
/// If there is none, or it is not to be used.
pub fn open(given: &Given) -> Result<Store, Failure> {
    let path = given.data().join(FILE);
    match path.try_exists() {
        Ok(true) => {
            let store = Store::open(&given.data()).map_err(|error| Failure::new(1, error))?;
            store.be_patient(PATIENCE)?;
            Ok(store)
        }
        Ok(false) => {
            let sentence = format!("{}: is not there; name the data folder with --data DIR", path.display());
            Err(Failure::new(1, sentence))
        }
        Err(error) => Err(Failure::new(1, format!("{}: cannot be read: {error}", path.display()))),
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
    pub fn open(given: &Given) -> Result<Folder, Failure> {
        let data = given.data();
        let store = open(given)?;
        let loaded = config::load(&data, &config::variable, &[]);
        let (config, _) = loaded.map_err(|error| Failure::new(2, error))?;
        Ok(Folder { data, config, store, command: given.command() })
    }

    /// Asks the database.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn read<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        Ok(self.store.read(ask)?)
    }

    /// Changes the database in one transaction, in which `change` takes note of the event.
    ///
    /// # Errors
    /// Whatever the database says.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction, &Event) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let event = Event { at: clock::now(), name: self.command, source: "command", days: self.config.audit_days };
        Ok(self.store.write(Durable::Now, |db| change(db, &event))?)
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::new(1, format!("the database: {}; nothing has changed", fault.cause()))
    }
}
