//! `/api/login`: a name, a password and a captcha for a token.

use super::{guarded, noted, value};
use crate::app::App;
use crate::captcha;
use crate::contract::{LOGIN, No, Outcome};
use crate::http::Request;
use crate::secret::{self, Scheme};
use crate::store::users::{self, Stored};
use crate::store::{Durable, sessions};
use crate::throttle::Secret;

pub fn handle(app: &App, request: &Request) -> Outcome {
    captcha::spend(app, &request.form, request.now)?;
    request.form.require(LOGIN.fields)?;
    guarded(app, request, &[Secret::Password(request.form.get("username"))], || log_in(app, request))
}

fn log_in(app: &App, request: &Request) -> Outcome {
    let (form, config) = (&request.form, &app.config);
    let (name, password) = (form.get("username"), form.get("passwd"));
    let user = app.read(|db| users::password(db, name))?;
    let stored = user.as_ref().map(|user| user.password.as_str());
    let fits = secret::verify(stored, password, config.password_hash);
    let Some(Stored { id, password: stored, .. }) = user.filter(|user| fits && !user.disabled) else {
        return Err(No::PasswordWrong.into());
    };
    let fresh = (Scheme::of(&stored) != config.password_hash).then(|| config.password_hash.hash(password));
    let token = secret::letters(secret::TOKEN_LETTERS);
    let (digest, expires_at) = (secret::digest(&token), request.now + config.token_ttl_seconds);
    let opened = noted(app, Durable::Soon, &LOGIN, request, |db| {
        let opened = sessions::open(db, id, &stored, &digest, expires_at, config.sessions_per_user)?;
        if let Some(fresh) = &fresh {
            users::rehash(db, id, &stored, fresh)?;
        }
        Ok(opened.then_some(id))
    })?;
    match opened {
        Some(_) => value(&token),
        None => Err(No::PasswordWrong.into()),
    }
}
