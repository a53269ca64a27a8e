//! `/api/registered`: a new account.

use super::call::Call;
use super::checks;
use crate::account::throttle::{Budget, Secret};
use crate::contract::{DEFAULT_AVATAR, KEY_LENGTH, Outcome, Reason, Success};
use crate::crypto;
use crate::store::{Durable, users};

pub fn handle(call: &Call) -> Outcome {
    let (config, body) = (&call.app.config, &call.body);
    if !config.registration_function_status {
        return Err(Reason::Disabled.into());
    }
    checks::budget(call, Budget::Register)?;
    body.require(call.endpoint.fields)?;
    // The key is an attempt by itself, which ends at once: many people may register with the same key
    // at the same moment.
    checks::attempt(call, &[Secret::RegistrationKey], || registration_key(call))?;
    body.limit(call.endpoint.fields)?;
    checks::new_password(call, "passwd")?;
    let user = users::New {
        name: body.text("username"),
        show_name: body.text("show_name"),
        email: body.text("email"),
        password: &config.password_hash.hash(body.text("passwd")),
        key: &crypto::random_alphanumeric(KEY_LENGTH),
        avatar: DEFAULT_AVATAR,
    };
    match checks::write(call, Durable::Now, |db| {
        users::add(db, &user, call.request.now)
    })? {
        Some(_) => Ok(Success::Sentence),
        None => Err(Reason::Taken.into()),
    }
}

fn registration_key(call: &Call) -> Outcome {
    let config = &call.app.config;
    let key = config
        .secret_key_required_for_account_registration
        .as_deref();
    match key {
        Some(key) if crypto::constant_time_eq(key, call.body.text("key")) => Ok(Success::Sentence),
        _ => Err(Reason::KeyWrong.into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY, refused, value};
    use crate::contract::{LOGIN, REGISTERED, Reason, USER_INFO};
    use serde_json::{Value, json};

    fn members() -> Value {
        json!({"username": "rei", "passwd": "a", "show_name": "Rei", "email": "rei@example.org", "key": KEY})
    }

    /// The members without the braces around them.
    fn inner(members: &Value) -> String {
        let text = members.to_string();
        text[1..text.len() - 1].into()
    }

    #[test]
    fn a_new_user_can_log_in_and_has_the_default_picture() {
        let fixture = Fixture::new();
        assert!(
            fixture
                .with_captcha(&REGISTERED, &inner(&members()))
                .is_ok()
        );
        let token = value(fixture.with_captcha(&LOGIN, r#""username":"rei","passwd":"a""#));
        let info = value(fixture.outcome(&USER_INFO, &json!({"token": token}).to_string()));
        assert_eq!(
            (&info["avatar"], &info["show_name"]),
            (&json!("admin.jpg"), &json!("Rei"))
        );
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let fixture = Fixture::with(&[("ACCOUNTD_MIN_PASSWORD_LENGTH", "2")]);
        fixture.signed_in("asuka");
        for (field, text, reason) in [
            ("username", "", Reason::FieldAbsent),
            ("show_name", "\n", Reason::FieldAbsent),
            ("key", "wrong", Reason::KeyWrong),
            ("username", &*"a".repeat(65), Reason::FieldTooLong),
            ("email", &*"a".repeat(255), Reason::FieldTooLong),
            ("passwd", "a", Reason::PasswordTooWeak),
            ("username", "asuka", Reason::Taken),
            ("email", "asuka@example.org", Reason::Taken),
            ("email", "ASUKA@example.org", Reason::Taken),
        ] {
            let mut changed = members();
            changed["passwd"] = "long enough".into();
            changed[field] = text.into();
            let outcome = fixture.with_captcha(&REGISTERED, &inner(&changed));
            assert_eq!(refused(outcome), reason, "{field} {text}");
        }
        for body in ["", "[]", "{"] {
            let reason = refused(fixture.outcome(&REGISTERED, body));
            assert_eq!(reason, Reason::BodyUnreadable, "{body}");
        }
    }

    #[test]
    fn without_the_function_or_a_key_there_is_no_registration() {
        for (name, text, reason) in [
            (
                "ACCOUNTD_REGISTRATION_FUNCTION_STATUS",
                "false",
                Reason::Disabled,
            ),
            (
                "ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION",
                "",
                Reason::KeyWrong,
            ),
        ] {
            let fixture = Fixture::with(&[(name, text)]);
            let outcome = fixture.with_captcha(&REGISTERED, &inner(&members()));
            assert_eq!(refused(outcome), reason, "{name}");
        }
    }
}
