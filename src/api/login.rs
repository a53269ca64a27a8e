//! `/api/login`: a name, a password and a captcha for a token.

use super::call::Call;
use super::checks;
use super::confirm;
use super::password::verify_then;
use super::session::NewSession;
use crate::account::throttle::Secret;
use crate::config::Scheme;
use crate::contract::Outcome;
use crate::store::{Durable, users};

pub fn handle(call: &Call) -> Outcome {
    call.body.require(call.endpoint.fields)?;
    let secret = Secret::Password(call.body.text("username"));
    checks::attempt(call, &[secret], || log_in(call))
}

fn log_in(call: &Call) -> Outcome {
    let config = &call.app.config;
    let (name, password) = (call.body.text("username"), call.body.text("passwd"));
    let session = NewSession::of(call);
    verify_then(call.app, name, password, |user| {
        confirm::expect_code(call, user.id)?;
        // A row of the other scheme is rewritten, since the password is known now.
        let rehashed = (Scheme::of(&user.password) != config.password_hash)
            .then(|| config.password_hash.hash(password));
        let mut code = Ok(false);
        let opened = checks::write(call, Durable::Soon, |db| {
            code = confirm::use_code_unless_changed(call, db, user)?;
            let Ok(has_factor) = code else {
                return Ok(None);
            };
            let stored = &user.password;
            let opened = session.open(call, db, user.id, stored, has_factor)?;
            if let Some(rehashed) = rehashed.filter(|_| opened) {
                users::rehash(db, user.id, stored, &rehashed)?;
            }
            Ok(opened.then_some(user.id))
        })?;
        code?;
        Ok(opened.is_some())
    })?;
    Ok(session.success(call))
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, PASSWORD, refused, value};
    use crate::config::Scheme;
    use crate::contract::{LOGIN, Reason, TOKEN_LENGTH};
    use crate::store::users;

    fn members(name: &str, password: &str) -> String {
        format!(r#""username":"{name}","passwd":"{password}""#)
    }

    #[test]
    fn the_right_password_opens_a_session() {
        let fixture = Fixture::new();
        let (id, before) = fixture.signed_in("rei");
        let token = value(fixture.with_captcha(&LOGIN, &members("rei", PASSWORD)));
        let token = token.as_str().unwrap();
        assert_eq!(
            (token.len(), fixture.owner(token)),
            (TOKEN_LENGTH, Some(id))
        );
        // sessions_per_user is 1 by default.
        assert_eq!(fixture.owner(&before), None);
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let fixture = Fixture::new();
        fixture.signed_in("rei");
        for (members, reason) in [
            (members("rei", "wrong"), Reason::PasswordWrong),
            (members("REI", PASSWORD), Reason::PasswordWrong),
            (members("nobody", PASSWORD), Reason::PasswordWrong),
            (members("", PASSWORD), Reason::FieldAbsent),
            (members("rei", "\\r"), Reason::FieldAbsent),
            (String::new(), Reason::FieldAbsent),
        ] {
            let outcome = fixture.with_captcha(&LOGIN, &members);
            assert_eq!(refused(outcome), reason, "{members}");
        }
        let without_captcha = format!("{{{}}}", members("rei", PASSWORD));
        assert_eq!(
            refused(fixture.outcome(&LOGIN, &without_captcha)),
            Reason::CaptchaAbsent
        );
        assert_eq!(
            refused(fixture.outcome(&LOGIN, "not JSON")),
            Reason::CaptchaAbsent
        );
    }

    #[test]
    fn a_row_of_the_other_scheme_is_rewritten() {
        let fixture = Fixture::with(&[("ACCOUNTD_PASSWORD_HASH", "argon2id")]);
        fixture.signed_in("rei");
        let stored = || {
            let found = fixture
                .app
                .read(|db| users::credentials(db, "rei"))
                .unwrap();
            Scheme::of(&found.user.unwrap().password)
        };
        assert_eq!(stored(), Scheme::Md5);
        assert!(
            fixture
                .with_captcha(&LOGIN, &members("rei", PASSWORD))
                .is_ok()
        );
        assert_eq!(stored(), Scheme::Argon2id);
        assert!(
            fixture
                .with_captcha(&LOGIN, &members("rei", PASSWORD))
                .is_ok()
        );
    }
}
