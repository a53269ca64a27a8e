//! Commands that work on a data folder, whether a server runs on it or not.

use crate::cli::Given;
use crate::failure::Failure;
use crate::store::{FILE, Store};

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
