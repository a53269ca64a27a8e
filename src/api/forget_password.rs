//! `/api/forget_password`: a new password for who knows name, email and the configured key; every
//! session ends.

use super::{guarded, noted, strong};
use crate::account::captcha;
use crate::account::throttle::Secret;
use crate::app::App;
use crate::contract::{Done, FORGET_PASSWORD, No, Outcome};
use crate::crypto;
use crate::http::Request;
use crate::store::{Durable, users};

pub fn handle(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    captcha::spend(app, form, request.now)?;
    if !app.config.forgot_password_function_status {
        return Err(No::SwitchedOff.into());
    }
    guarded(
        app,
        request,
        &[Secret::ResetKey, Secret::Password(form.get("name"))],
        || reset(app, request),
    )
}

fn reset(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    let key = app.config.forget_password_key.as_deref();
    if !key.is_some_and(|key| crypto::constant_time_eq(key, form.get("key"))) {
        return Err(No::KeyWrong.into());
    }
    form.require(FORGET_PASSWORD.fields)?;
    form.limit(FORGET_PASSWORD.fields)?;
    strong(app, form, "new_passwd")?;
    let fresh = app.config.password_hash.hash(form.get("new_passwd"));
    let (name, email) = (form.get("name"), form.get("email"));
    match noted(app, Durable::Now, &FORGET_PASSWORD, request, |db| {
        users::reset_password(db, name, email, &fresh)
    })? {
        Some(_) => Ok(Done::Plain),
        None => Err(No::UserUnknown.into()),
    }
}
