//! `/api/registered`: a new account.

use super::{guarded, noted, spend, strong};
use crate::account::avatar;
use crate::account::captcha;
use crate::account::throttle::{Budget, Secret};
use crate::app::App;
use crate::contract;
use crate::contract::{Done, No, Outcome, REGISTERED};
use crate::crypto;
use crate::http::Request;
use crate::store::{Durable, users};

pub fn handle(app: &App, request: &Request) -> Outcome {
    let form = &request.form;
    if form.fault().is_some() {
        return Err(No::BodyUnreadable.into());
    }
    captcha::spend(app, form, request.now)?;
    if !app.config.registration_function_status {
        return Err(No::SwitchedOff.into());
    }
    spend(app, request, Budget::Register)?;
    form.require(REGISTERED.fields)?;
    // That is a guess by itself, and quickly over: many people may register with the same key at
    // the same moment.
    guarded(app, request, &[Secret::RegistrationKey], || {
        let key = app
            .config
            .secret_key_required_for_account_registration
            .as_deref();
        let fits = key.is_some_and(|key| crypto::constant_time_eq(key, form.get("key")));
        if fits {
            Ok(Done::Plain)
        } else {
            Err(No::KeyWrong.into())
        }
    })?;
    form.limit(REGISTERED.fields)?;
    strong(app, form, "passwd")?;
    let user = users::New {
        name: form.get("username"),
        show_name: form.get("show_name"),
        email: form.get("email"),
        password: &app.config.password_hash.hash(form.get("passwd")),
        key: &crypto::random_alphanumeric(contract::KEY_LENGTH),
        avatar: avatar::FIRST,
    };
    match noted(app, Durable::Now, &REGISTERED, request, |db| {
        users::add(db, &user, request.now)
    })? {
        Some(_) => Ok(Done::Plain),
        None => Err(No::Taken.into()),
    }
}
