//! Commands that work on a data folder, whether a server runs on it or not.

pub mod backup;
pub mod check;
pub mod harden;
pub mod import_medusa;
pub mod manifest;
pub mod progress;
pub mod restore;

use crate::cli::Given;
use crate::failure::Failure;
use crate::limits;
use crate::store::{FILE, Store};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens the database of the folder that a command line names, as a server would.
///
/// # Errors
/// If there is none, or it is not to be used.
pub fn open(given: &Given) -> Result<Store, Failure> {
    let path = given.data().join(FILE);
    match path.try_exists() {
        Ok(true) => Store::open(&given.data()).map_err(|error| Failure::new(1, error)),
        Ok(false) => {
            let sentence = format!("{}: is not there; name the data folder with --data DIR", path.display());
            Err(Failure::new(1, sentence))
        }
        Err(error) => Err(Failure::new(1, format!("{}: cannot be read: {error}", path.display()))),
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
            Err(format!("{shown}: belongs to the user with id {owner}; do this as that user (sudo -u \\#{owner} …)"))
        }
        _ => Ok(()),
    }
}
