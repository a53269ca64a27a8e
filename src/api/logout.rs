//! `/api/logout`: the end of a session, or of all that the token's owner has.

use super::{as_owner, note, token};
use crate::app::App;
use crate::contract::{Done, LOGOUT, Outcome};
use crate::http::Request;
use crate::store::sessions;

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&LOGOUT, request)?;
    as_owner(app, &digest, request.now, |db, id| {
        note(app, &LOGOUT, request, db, id)?;
        if request.form.is_true("everywhere") { sessions::end_all(db, id) } else { sessions::end(db, &digest) }
    })?;
    Ok(Done::Plain)
}
