//! `/api/logout`: the end of a session, or of all that the token's owner has.

use super::{admit, as_owner, note, spend, token};
use crate::account::throttle::Budget;
use crate::app::App;
use crate::contract::{Done, LOGOUT, Outcome};
use crate::http::Request;
use crate::store::sessions;

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&LOGOUT, request)?;
    let id = admit(app, &digest, request.now)?;
    spend(app, request, Budget::Change(Some(id)))?;
    as_owner(app, &digest, request.now, |db, id| {
        note(app, &LOGOUT, request, db, id)?;
        if request.form.is_true("everywhere") {
            sessions::end_all(db, id)
        } else {
            sessions::end(db, &digest)
        }
    })?;
    Ok(Done::Plain)
}
