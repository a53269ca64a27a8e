//! `/api/update_key`: a fresh user key.

use super::{admit, as_owner, note, spend, token};
use crate::account::throttle::Budget;
use crate::app::App;
use crate::contract;
use crate::contract::{Done, Outcome, UPDATE_KEY};
use crate::crypto;
use crate::http::Request;
use crate::store::users;

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&UPDATE_KEY, request)?;
    let id = admit(app, &digest, request.now)?;
    spend(app, request, Budget::Change(Some(id)))?;
    let key = crypto::random_alphanumeric(contract::KEY_LENGTH);
    as_owner(app, &digest, request.now, |db, id| {
        note(app, &UPDATE_KEY, request, db, id)?;
        users::set_key(db, id, &key)
    })?;
    Ok(Done::Plain)
}
