//! `/api/forget_password`: a new password for a client that knows name, email and the configured
//! key or that of the user's reset link; every session of the user ends.

use super::call::Call;
use super::checks;
use super::confirm;
use super::key::{self, Key};
use crate::account::throttle::Secret;
use crate::contract::{Outcome, Reason, Refusal, Success};
use crate::store::{Durable, reset_links, users};

pub fn handle(call: &Call) -> Outcome {
    let is_on = call.app.config.forgot_password_function_status;
    if !is_on && call.body.text("key").is_empty() {
        return Err(Reason::Disabled.into());
    }
    let secrets = [Secret::ResetKey, Secret::Password(call.body.text("name"))];
    checks::attempt(call, &secrets, || reset(call, is_on))
}

fn reset(call: &Call, is_on: bool) -> Outcome {
    let (config, body, now) = (&call.app.config, &call.body, call.request.now);
    let configured = config.forget_password_key.as_deref();
    let key = key::check(call, is_on, configured, |digest| {
        let found = call.app.read(|db| reset_links::find(db, digest, now))?;
        Ok(found.is_some())
    })?;
    body.require(call.endpoint.fields)?;
    body.limit(call.endpoint.fields)?;
    checks::new_password(call, "new_passwd")?;
    let (name, email) = (body.text("name"), body.text("email"));
    if let Some(user) = call
        .app
        .read(|db| users::by_name_and_email(db, name, email))?
    {
        // The key of another user's link is refused first, as the transaction does.
        if is_for(call, &key, name)? {
            confirm::expect_code(call, user)?;
        }
    }
    let fresh = config.password_hash.hash(body.text("new_passwd"));
    let mut refusal: Refusal = Reason::UserUnknown.into();
    let user = checks::write(call, Durable::Now, |db| {
        let link = match key {
            Key::Configured => None,
            Key::Link(digest) => match reset_links::find(db, &digest, now)? {
                Some(link) if link.user_name == name => Some(link.id),
                Some(_) => return Ok(None),
                // Another request has used it since it was checked.
                None => {
                    refusal = key::wrong(is_on).into();
                    return Ok(None);
                }
            },
        };
        let Some(user) = users::by_name_and_email(db, name, email)? else {
            return Ok(None);
        };
        if let Err(refused) = confirm::use_code(call, db, user)? {
            refusal = refused;
            return Ok(None);
        }
        // This deletes the link too.
        let user = users::reset_password(db, name, email, &fresh)?;
        if let (Some(user), Some(link)) = (user, link) {
            checks::record_use(call, db, &format!("reset-link {link}"), user)?;
        }
        Ok(user)
    })?;
    user.map(|_| Success::Sentence).ok_or(refusal)
}

/// Whether a key may reset the password of the user with this name.
fn is_for(call: &Call, key: &Key, name: &str) -> Result<bool, Refusal> {
    let Key::Link(digest) = key else {
        return Ok(true);
    };
    let now = call.request.now;
    let found = call.app.read(|db| reset_links::find(db, digest, now))?;
    Ok(found.is_some_and(|link| link.user_name == name))
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY, NOW, refused};
    use crate::contract::{FORGET_PASSWORD, LOGIN, Reason};
    use crate::store::{Durable, accounts};

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

    const OFF: (&str, &str) = ("ACCOUNTD_FORGOT_PASSWORD_FUNCTION_STATUS", "false");
    const NO_KEY: (&str, &str) = ("ACCOUNTD_FORGET_PASSWORD_KEY", "");

    #[test]
    fn a_reset_link_works_once_and_for_its_user_alone() {
        for (settings, wrong) in [
            (&[][..], Reason::KeyWrong),
            (&[NO_KEY], Reason::KeyWrong),
            (&[OFF], Reason::DisabledAndKeyWrong),
        ] {
            let fixture = Fixture::with(settings);
            let (rei, token) = fixture.signed_in("rei");
            let (_, other) = fixture.signed_in("asuka");
            let id = fixture.reset_link("a link", rei);
            for (name, email) in [("asuka", "asuka@example.org"), ("rei", "asuka@example.org")] {
                let reset = members(name, email, "a link", "new");
                let outcome = fixture.with_captcha(&FORGET_PASSWORD, &reset);
                assert_eq!(refused(outcome), Reason::UserUnknown);
            }
            assert!(fixture.owner(&token).is_some());
            let reset = members("rei", "REI@example.org", "a link", "new");
            assert!(fixture.with_captcha(&FORGET_PASSWORD, &reset).is_ok());
            assert_eq!(fixture.owner(&token), None);
            assert!(fixture.owner(&other).is_some());
            let again = fixture.with_captcha(&FORGET_PASSWORD, &reset);
            assert_eq!(refused(again), wrong);
            let log_in = fixture.with_captcha(&LOGIN, r#""username":"rei","passwd":"new""#);
            assert!(log_in.is_ok());
            let used = format!("reset-link {id} used");
            let lines =
                [&*used, "forget_password", "login"].map(|event| (event.into(), "rei".into()));
            assert_eq!(fixture.audit(), lines);
        }
    }

    #[test]
    fn a_reset_link_ends_when_it_expires_and_when_its_user_is_disabled() {
        let fixture = Fixture::new();
        let (id, _) = fixture.signed_in("rei");
        fixture.reset_link("a link", id);
        let body = format!("{{{}}}", members("rei", "rei@example.org", "a link", "new"));
        let mut request = fixture.request(&FORGET_PASSWORD);
        request.now += 100;
        let call = fixture.call(&FORGET_PASSWORD, &request, &body);
        assert_eq!(refused(super::handle(&call)), Reason::KeyWrong);
        let disabled = fixture
            .app
            .write(Durable::Now, |db| accounts::disable(db, id, NOW));
        disabled.unwrap();
        let request = fixture.request(&FORGET_PASSWORD);
        let call = fixture.call(&FORGET_PASSWORD, &request, &body);
        assert_eq!(refused(super::handle(&call)), Reason::KeyWrong);
    }

    #[test]
    fn while_the_function_is_off_other_keys_are_answered_alike_and_wrong_ones_are_guesses() {
        let fixture = Fixture::with(&[OFF]);
        fixture.signed_in("rei");
        let reset = |key| {
            let members = members("rei", "rei@example.org", key, "new");
            refused(fixture.with_captcha(&FORGET_PASSWORD, &members))
        };
        for key in ["", KEY].repeat(9) {
            assert_eq!(reset(key), Reason::Disabled);
        }
        for _ in 0..3 {
            assert_eq!(reset("wrong"), Reason::DisabledAndKeyWrong);
        }
        assert_eq!(reset("wrong"), Reason::TooOften(1));
        assert_eq!(
            FORGET_PASSWORD.refusal(Reason::DisabledAndKeyWrong, None),
            FORGET_PASSWORD.refusal(Reason::Disabled, None)
        );
    }
}
