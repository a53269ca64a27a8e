//! `/api/totp_begin`: the secret of a second factor, which `totp_confirm` turns on.

use super::call::Call;
use super::forward_auth::percent_encode;
use super::{checks, confirm};
use crate::account::{qr, sealed, totp};
use crate::config::{Config, PublicUrl};
use crate::contract::{Outcome, Reason, Refusal, Success};
use crate::store::totp as rows;
use serde::Serialize;

#[derive(Serialize)]
struct Enrolment<'a> {
    secret: &'a str,
    uri: &'a str,
    qr: &'a str,
}

pub fn handle(call: &Call) -> Outcome {
    checks::owner(call)?;
    let Some(key) = &call.app.config.totp_key else {
        return Err(Refusal::fault(
            Reason::Disabled,
            "\"totp_key\" is not set, so no second factor can be turned on; set it to a random text",
        ));
    };
    let secret = totp::new_secret();
    confirm::write_with_password(call, |db, id| {
        let begun = rows::begin(db, id, &sealed::seal(key, id, &secret))?;
        Ok(if begun {
            Ok(())
        } else {
            Err(Reason::TotpOn.into())
        })
    })?;
    let secret = totp::base32(&secret);
    let uri = address(&call.app.config, call.user_name(), &secret);
    Ok(Success::value(&Enrolment {
        secret: &secret,
        uri: &uri,
        qr: &qr::svg(&uri).unwrap_or_default(),
    }))
}

/// The address that authenticator apps read. They show the issuer, which is the server's title or host,
/// and the name; the rest has their
/// default values.
fn address(config: &Config, name: &str, secret: &str) -> String {
    let host = config.public_url.as_ref().map(PublicUrl::host);
    let issuer = config.title.as_deref().or(host).unwrap_or("accountd");
    let (issuer, name) = (percent_encode(issuer), percent_encode(name));
    format!("otpauth://totp/{issuer}:{name}?secret={secret}&issuer={issuer}")
}
