//! `/api/update_key`: a fresh user key.

use super::{admit, as_owner, note, spend, token};
use crate::app::App;
use crate::contract::{Done, Outcome, UPDATE_KEY};
use crate::http::Request;
use crate::secret;
use crate::store::users;
use crate::throttle::Budget;

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&UPDATE_KEY, request)?;
    let id = admit(app, &digest, request.now)?;
    spend(app, request, Budget::Change(Some(id)))?;
    let key = secret::letters(secret::KEY_LETTERS);
    as_owner(app, &digest, request.now, |db, id| {
        note(app, &UPDATE_KEY, request, db, id)?;
        users::set_key(db, id, &key)
    })?;
    Ok(Done::Plain)
}
