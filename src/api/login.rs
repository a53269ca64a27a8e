//! `/api/login`: a name, a password and a captcha for a token.

use super::password::verified;
use super::{guarded, noted, value};
use crate::account::captcha;
use crate::account::throttle::Secret;
use crate::app::App;
use crate::config::Scheme;
use crate::contract;
use crate::contract::{LOGIN, Outcome};
use crate::crypto;
use crate::http::Request;
use crate::store::{Durable, sessions, users};

pub fn handle(app: &App, request: &Request) -> Outcome {
    captcha::spend(app, &request.form, request.now)?;
    request.form.require(LOGIN.fields)?;
    guarded(
        app,
        request,
        &[Secret::Password(request.form.get("username"))],
        || log_in(app, request),
    )
}

fn log_in(app: &App, request: &Request) -> Outcome {
    let (form, config) = (&request.form, &app.config);
    let password = form.get("passwd");
    let token = crypto::random_alphanumeric(contract::TOKEN_LENGTH);
    let (digest, expires_at) = (
        crypto::sha256(&token),
        request.now + config.token_ttl_seconds,
    );
    verified(app, form.get("username"), password, |user| {
        let fresh = (Scheme::of(&user.password) != config.password_hash)
            .then(|| config.password_hash.hash(password));
        let opened = noted(app, Durable::Soon, &LOGIN, request, |db| {
            let opened = sessions::open(
                db,
                user.id,
                &user.password,
                &digest,
                expires_at,
                config.sessions_per_user,
            )?;
            if let Some(fresh) = fresh.filter(|_| opened) {
                users::rehash(db, user.id, &user.password, &fresh)?;
            }
            Ok(opened.then_some(user.id))
        })?;
        Ok(opened.is_some())
    })?;
    value(&token)
}
