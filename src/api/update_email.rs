//! `/api/update_email`: another email, confirmed with the password and the second factor.

use super::call::Call;
use super::{checks, confirm};
use crate::contract::{NEW_EMAIL, Outcome, Reason, Success};
use crate::store::users;

pub fn handle(call: &Call) -> Outcome {
    let email = call.body.text(NEW_EMAIL.name);
    confirm::write_with_password(call, |db, id| {
        if !users::may_have_email(db, id, email)? {
            // The code stays good, for another email.
            let right = confirm::check_code(call, db, id)?;
            return Ok(Err(right.err().unwrap_or(Reason::Taken.into())));
        }
        if let Err(refusal) = confirm::use_code(call, db, id)? {
            return Ok(Err(refusal));
        }
        checks::record(call, db, id)?;
        users::set_email(db, id, email).map(Ok)
    })?;
    Ok(Success::Sentence)
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, NOW, PASSWORD, refused, value};
    use crate::contract::{Outcome, Reason, UPDATE_EMAIL, USER_INFO};
    use crate::crypto;
    use crate::store::{Durable, reset_links, totp};
    use serde_json::json;

    fn set(fixture: &Fixture, token: &str, passwd: &str, email: &str, otp: &str) -> Outcome {
        let body = json!({"token": token, "passwd": passwd, "new_email": email, "otp": otp});
        fixture.outcome(&UPDATE_EMAIL, &body.to_string())
    }

    fn email(fixture: &Fixture, token: &str) -> String {
        let info = fixture.outcome(&USER_INFO, &json!({"token": token}).to_string());
        value(info)["email"].as_str().unwrap().into()
    }

    #[test]
    fn the_email_changes_and_the_reset_link_ends_but_no_session() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        let other = fixture.session(id);
        fixture.reset_link("a link", id);
        for new in ["new@example.org", "New@Example.org", "New@Example.org"] {
            assert!(set(&fixture, &token, PASSWORD, new, "").is_ok(), "{new}");
            assert_eq!(email(&fixture, &other), new);
        }
        let digest = crypto::sha256("a link");
        let link = fixture.app.read(|db| reset_links::find(db, &digest, NOW));
        assert!(link.unwrap().is_none());
        let line = || ("update_email".to_string(), "rei".to_string());
        assert_eq!(fixture.audit(), [line(), line(), line()]);
    }

    #[test]
    fn each_refusal_has_its_reason_and_changes_nothing() {
        let fixture = Fixture::with(&[("ACCOUNTD_THROTTLE", "false")]);
        let (_, token) = fixture.signed_in("rei");
        fixture.signed_in("asuka");
        let long = "a".repeat(255);
        for (token, passwd, new, reason) in [
            ("", PASSWORD, "a", Reason::TokenAbsent),
            ("x", PASSWORD, "a", Reason::TokenUnknown),
            (&*token, "", "a", Reason::FieldAbsent),
            (&token, PASSWORD, "\r\n", Reason::FieldAbsent),
            (&token, PASSWORD, &long, Reason::FieldTooLong),
            (&token, "wrong", "a", Reason::PasswordWrong),
            (&token, "wrong", "asuka@example.org", Reason::PasswordWrong),
            (&token, PASSWORD, "asuka@example.org", Reason::Taken),
            (&token, PASSWORD, "ASUKA@Example.org", Reason::Taken),
        ] {
            let outcome = set(&fixture, token, passwd, new, "");
            assert_eq!(refused(outcome), reason, "{passwd} {new}");
        }
        assert_eq!(email(&fixture, &token), "rei@example.org");
        assert_eq!(UPDATE_EMAIL.refusal(Reason::Taken, None).code, 607);
    }

    #[test]
    fn a_code_that_is_right_stays_good_if_the_email_is_taken() {
        let fixture = Fixture::with(&[("ACCOUNTD_THROTTLE", "false")]);
        let (id, token) = fixture.signed_in("rei");
        fixture.signed_in("asuka");
        let on = fixture.app.write(Durable::Now, |db| {
            assert!(totp::begin(db, id, b"sealed")?);
            totp::turn_on(db, id, NOW, &[crypto::sha256("abcdefghjkmn")])
        });
        on.unwrap();
        let set = |new: &str, otp: &str| set(&fixture, &token, PASSWORD, new, otp);
        assert_eq!(refused(set("a", "")), Reason::OtpAbsent);
        assert_eq!(refused(set("asuka@example.org", "")), Reason::OtpAbsent);
        assert_eq!(refused(set("a", "bcde-fghj-kmnp")), Reason::OtpWrong);
        let taken = refused(set("asuka@example.org", "abcd-efgh-jkmn"));
        assert_eq!(taken, Reason::Taken);
        assert!(set("a", "abcd-efgh-jkmn").is_ok());
        assert_eq!(email(&fixture, &token), "a");
        assert_eq!(refused(set("b", "abcd-efgh-jkmn")), Reason::OtpWrong);
    }
}
