//! `/api/update_show_name`: another display name.

use super::{admit, as_owner, spend, token};
use crate::account::throttle::Budget;
use crate::app::App;
use crate::contract::{Done, Outcome, UPDATE_SHOW_NAME};
use crate::http::Request;
use crate::store::users;

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&UPDATE_SHOW_NAME, request)?;
    let id = admit(app, &digest, request.now)?;
    request.form.require(UPDATE_SHOW_NAME.fields)?;
    request.form.limit(UPDATE_SHOW_NAME.fields)?;
    spend(app, request, Budget::Change(Some(id)))?;
    let show_name = request.form.get("new_show_name");
    as_owner(app, &digest, request.now, |db, id| {
        users::set_show_name(db, id, show_name)
    })?;
    Ok(Done::Plain)
}
