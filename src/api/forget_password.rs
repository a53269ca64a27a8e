//! `/api/forget_password`: a new password for a client that knows name, email and the configured
//! key; every session of the user ends.

use super::call::Call;
use super::checks;
use crate::account::throttle::Secret;
use crate::contract::{Outcome, Reason, Success};
use crate::crypto;
use crate::store::{Durable, users};

pub fn handle(call: &Call) -> Outcome {
    if !call.app.config.forgot_password_function_status {
        return Err(Reason::Disabled.into());
    }
    let secrets = [Secret::ResetKey, Secret::Password(call.body.text("name"))];
    checks::attempt(call, &secrets, || reset(call))
}

fn reset(call: &Call) -> Outcome {
    let (config, body) = (&call.app.config, &call.body);
    let key = config.forget_password_key.as_deref();
    if !key.is_some_and(|key| crypto::constant_time_eq(key, body.text("key"))) {
        return Err(Reason::KeyWrong.into());
    }
    body.require(call.endpoint.fields)?;
    body.limit(call.endpoint.fields)?;
    checks::new_password(call, "new_passwd")?;
    let fresh = config.password_hash.hash(body.text("new_passwd"));
    let (name, email) = (body.text("name"), body.text("email"));
    match checks::write(call, Durable::Now, |db| {
        users::reset_password(db, name, email, &fresh)
    })? {
        Some(_) => Ok(Success::Sentence),
        None => Err(Reason::UserUnknown.into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY, refused};
    use crate::contract::{FORGET_PASSWORD, LOGIN, Reason};

    fn members(name: &str, email: &str, key: &str, new: &str) -> String {
        format!(r#""name":"{name}","email":"{email}","key":"{key}","new_passwd":"{new}""#)
    }

    #[test]
    fn the_new_password_holds_and_sessions_end() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        let reset = members("rei", "rei@example.org", KEY, "new");
        assert!(fixture.with_captcha(&FORGET_PASSWORD, &reset).is_ok());
        assert_eq!(fixture.owner(&token), None);
        let log_in = fixture.with_captcha(&LOGIN, r#""username":"rei","passwd":"new""#);
        assert!(log_in.is_ok());
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let email = "rei@example.org";
        for (members, reason) in [
            (members("rei", email, "wrong", "new"), Reason::KeyWrong),
            // Without the key, absent fields are not told apart.
            (members("", "", "", ""), Reason::KeyWrong),
            (members("rei", "", KEY, "new"), Reason::FieldAbsent),
            (
                members("rei", email, KEY, &"a".repeat(1025)),
                Reason::FieldTooLong,
            ),
            (
                members("rei", "asuka@example.org", KEY, "new"),
                Reason::UserUnknown,
            ),
            (members("asuka", email, KEY, "new"), Reason::UserUnknown),
        ] {
            let fixture = Fixture::new();
            let (_, token) = fixture.signed_in("rei");
            fixture.signed_in("asuka");
            let outcome = fixture.with_captcha(&FORGET_PASSWORD, &members);
            assert_eq!(refused(outcome), reason, "{members}");
            assert!(fixture.owner(&token).is_some(), "{members}");
        }
    }

    #[test]
    fn without_the_function_or_a_key_nothing_is_reset() {
        for (name, text, reason) in [
            (
                "ACCOUNTD_FORGOT_PASSWORD_FUNCTION_STATUS",
                "false",
                Reason::Disabled,
            ),
            ("ACCOUNTD_FORGET_PASSWORD_KEY", "", Reason::KeyWrong),
        ] {
            let fixture = Fixture::with(&[(name, text)]);
            fixture.signed_in("rei");
            let reset = members("rei", "rei@example.org", KEY, "new");
            assert_eq!(
                refused(fixture.with_captcha(&FORGET_PASSWORD, &reset)),
                reason,
                "{name}"
            );
        }
    }
}
