//! `/api/update_password`: a new password for the old one; every session of the user ends.

use super::{guarded, noted, spend, strong};
use crate::app::App;
use crate::captcha;
use crate::contract::{Done, No, Outcome, UPDATE_PASSWORD};
use crate::http::Request;
use crate::secret;
use crate::store::{Durable, users};
use crate::throttle::{Budget, Secret};

pub fn handle(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    captcha::spend(app, form, request.now)?;
    form.require(UPDATE_PASSWORD.fields)?;
    form.limit(UPDATE_PASSWORD.fields)?;
    strong(app, form, "new_passwd")?;
    // Whose account it is, a wrong password does not say.
    spend(app, request, Budget::Change(None))?;
    guarded(app, request, &[Secret::Password(form.get("username"))], || change(app, request))
}

fn change(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    let scheme = app.config.password_hash;
    let user = app.read(|db| users::password(db, form.get("username")))?;
    let stored = user.as_ref().map(|user| user.password.as_str());
    let fits = secret::verify(stored, form.get("old_passwd"), scheme);
    let Some(user) = user.filter(|user| fits && !user.disabled) else {
        return Err(No::PasswordWrong.into());
    };
    let fresh = scheme.hash(form.get("new_passwd"));
    let changed = noted(app, Durable::Now, &UPDATE_PASSWORD, request, |db| {
        let changed = users::change_password(db, user.id, &user.password, &fresh)?;
        Ok(changed.then_some(user.id))
    })?;
    match changed {
        Some(_) => Ok(Done::Plain),
        None => Err(No::PasswordWrong.into()),
    }
}
