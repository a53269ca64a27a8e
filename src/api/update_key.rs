//! `/api/update_key`: a fresh user key.

use super::{as_owner, note, token};
use crate::app::App;
use crate::contract::{Done, Outcome, UPDATE_KEY};
use crate::http::Request;
use crate::secret;
use crate::store::users;

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&UPDATE_KEY, request)?;
    let key = secret::letters(secret::KEY_LETTERS);
    as_owner(app, &digest, request.now, |db, id| {
        note(app, &UPDATE_KEY, request, db, id)?;
        users::set_key(db, id, &key)
    })?;
    Ok(Done::Plain)
}
