//! `/api/update_password`: a new password for the old one; every session of the user ends.

use super::call::Call;
use super::checks;
use super::confirm;
use super::password::verify_then;
use crate::account::throttle::{Budget, Secret};
use crate::contract::{Outcome, Success};
use crate::store::{Durable, users};

pub fn handle(call: &Call) -> Outcome {
    call.body.require(call.endpoint.fields)?;
    call.body.limit(call.endpoint.fields)?;
    checks::new_password(call, "new_passwd")?;
    // The account's own budget is not spent: before the password is verified, anyone could use it
    // up.
    checks::budget(call, Budget::Change(None))?;
    let secret = Secret::Password(call.body.text("username"));
    checks::attempt(call, &[secret], || change(call))
}

fn change(call: &Call) -> Outcome {
    let (name, old) = (call.body.text("username"), call.body.text("old_passwd"));
    verify_then(call.app, name, old, |user| {
        confirm::expect_code(call, user.id)?;
        let fresh = call
            .app
            .config
            .password_hash
            .hash(call.body.text("new_passwd"));
        let mut code = Ok(false);
        let changed = checks::write(call, Durable::Now, |db| {
            code = confirm::use_code_unless_changed(call, db, user)?;
            if code.is_err() {
                return Ok(None);
            }
            let changed = users::change_password(db, user.id, &user.password, &fresh)?;
            Ok(changed.then_some(user.id))
        })?;
        code?;
        Ok(changed.is_some())
    })?;
    Ok(Success::Sentence)
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, PASSWORD, refused};
    use crate::contract::{LOGIN, Reason, UPDATE_PASSWORD};

    fn members(name: &str, old: &str, new: &str) -> String {
        format!(r#""username":"{name}","old_passwd":"{old}","new_passwd":"{new}""#)
    }

    #[test]
    fn the_new_password_holds_and_sessions_end() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        let change = members("rei", PASSWORD, "new");
        assert!(fixture.with_captcha(&UPDATE_PASSWORD, &change).is_ok());
        assert_eq!(fixture.owner(&token), None);
        let log_in = |password: &str| {
            let members = format!(r#""username":"rei","passwd":"{password}""#);
            fixture.with_captcha(&LOGIN, &members)
        };
        assert_eq!(refused(log_in(PASSWORD)), Reason::PasswordWrong);
        assert!(log_in("new").is_ok());
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let fixture = Fixture::with(&[("ACCOUNTD_REFUSE_COMMON_PASSWORDS", "true")]);
        let (_, token) = fixture.signed_in("rei");
        for (members, reason) in [
            (members("rei", "wrong", "new"), Reason::PasswordWrong),
            (members("nobody", PASSWORD, "new"), Reason::PasswordWrong),
            (members("rei", PASSWORD, ""), Reason::FieldAbsent),
            (
                members("rei", PASSWORD, &"a".repeat(1025)),
                Reason::FieldTooLong,
            ),
            (members("rei", PASSWORD, "123456"), Reason::PasswordTooWeak),
            (members("rei", PASSWORD, "REI"), Reason::PasswordTooWeak),
        ] {
            let outcome = fixture.with_captcha(&UPDATE_PASSWORD, &members);
            assert_eq!(refused(outcome), reason, "{members}");
        }
        assert!(fixture.owner(&token).is_some());
    }
}
