//! `/api/update_password`: a new password for the old one; every session of the user ends.

use super::password::verified;
use super::{guarded, noted, spend, strong};
use crate::account::captcha;
use crate::account::throttle::{Budget, Secret};
use crate::app::App;
use crate::contract::{Done, Outcome, UPDATE_PASSWORD};
use crate::http::Request;
use crate::store::{Durable, users};

pub fn handle(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    captcha::spend(app, form, request.now)?;
    form.require(UPDATE_PASSWORD.fields)?;
    form.limit(UPDATE_PASSWORD.fields)?;
    strong(app, form, "new_passwd")?;
    // Whose account it is, a wrong password does not say.
    spend(app, request, Budget::Change(None))?;
    guarded(
        app,
        request,
        &[Secret::Password(form.get("username"))],
        || change(app, request),
    )
}

fn change(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    verified(app, form.get("username"), form.get("old_passwd"), |user| {
        let fresh = app.config.password_hash.hash(form.get("new_passwd"));
        let changed = noted(app, Durable::Now, &UPDATE_PASSWORD, request, |db| {
            let changed = users::change_password(db, user.id, &user.password, &fresh)?;
            Ok(changed.then_some(user.id))
        })?;
        Ok(changed.is_some())
    })?;
    Ok(Done::Plain)
}
