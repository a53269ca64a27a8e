//! `/api/registered`: a new account.

use super::call::Call;
use super::checks;
use super::key::{self, Key};
use super::session::NewSession;
use crate::account::plain_name;
use crate::account::throttle::{Budget, NewAccount, Secret};
use crate::config::Usernames;
use crate::contract::{DEFAULT_AVATAR, KEY_LENGTH, LOGIN, Outcome, Reason, Refusal, Success};
use crate::crypto;
use crate::store::{Durable, invitations, users};

pub fn handle(call: &Call) -> Outcome {
    let (config, body) = (&call.app.config, &call.body);
    let is_on = config.registration_function_status;
    // While registration is switched off, every request without an invitation is answered alike.
    let early = match is_on {
        true => None,
        false if body.text("key").is_empty() => return Err(Reason::Disabled.into()),
        false => Some(check_key(call)?),
    };
    checks::budget(call, Budget::Register)?;
    body.require(call.endpoint.fields)?;
    let key = early.map_or_else(|| check_key(call), Ok)?;
    body.limit(call.endpoint.fields)?;
    let name = body.text("username");
    if config.usernames == Usernames::Plain && !plain_name::is_plain(name) {
        return Err(Reason::NameNotPlain.into());
    }
    checks::new_password(call, "passwd")?;
    let account = match key {
        Key::Configured => NewAccount::WithKey,
        Key::Link(_) => NewAccount::Invited,
    };
    let session = body.is_true("login").then(|| NewSession::of(call));
    let session = session.as_ref();
    let mut reason = Reason::Taken;
    let added = checks::new_account(call, account, || add(call, &key, session, &mut reason))?;
    match session {
        _ if added.is_none() => Err(reason.into()),
        Some(session) => Ok(session.success(call)),
        None => Ok(Success::Sentence),
    }
}

/// Adds the user, and opens the session if there is one. Returns the user's id, or `None` and the
/// reason why there is none.
fn add(
    call: &Call,
    key: &Key,
    session: Option<&NewSession>,
    reason: &mut Reason,
) -> Result<Option<i64>, Refusal> {
    let (config, body) = (&call.app.config, &call.body);
    let user = users::New {
        name: body.text("username"),
        show_name: body.text("show_name"),
        email: body.text("email"),
        password: &config.password_hash.hash(body.text("passwd")),
        key: &crypto::random_alphanumeric(KEY_LENGTH),
        avatar: DEFAULT_AVATAR,
    };
    Ok(checks::write(call, Durable::Now, |db| {
        let invitation = match key {
            Key::Configured => None,
            Key::Link(digest) => match invitations::find(db, digest, call.request.now)? {
                Some(invitation) => Some(invitation.id),
                // Another request has used it up since it was checked.
                None => {
                    *reason = key::wrong(config.registration_function_status);
                    return Ok(None);
                }
            },
        };
        let added = users::add(db, &user, call.request.now)?;
        if let (Some(user), Some(invitation)) = (added, invitation) {
            invitations::consume(db, invitation, user)?;
            checks::record_use(call, db, &format!("invite {invitation}"), user)?;
        }
        if let (Some(id), Some(session)) = (added, session) {
            session.open(call, db, id, user.password, false)?;
            checks::record_as(call, db, LOGIN.name(), id)?;
        }
        Ok(added)
    })?)
}

/// Checks the key. It is an attempt by itself, which ends at once: many people may register with
/// the same key at the same moment.
fn check_key(call: &Call) -> Result<Key, Refusal> {
    let (config, now) = (&call.app.config, call.request.now);
    let configured = config
        .secret_key_required_for_account_registration
        .as_deref();
    let is_configured = |key: &Key| matches!(key, Key::Configured);
    checks::attempt_that(call, &[Secret::RegistrationKey], is_configured, || {
        key::check(
            call,
            config.registration_function_status,
            configured,
            |digest| {
                let found = call.app.read(|db| invitations::find(db, digest, now))?;
                Ok(found.is_some())
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY, NOW, refused, value};
    use crate::contract::{LOGIN, Outcome, REGISTERED, Reason, Success, TOKEN_LENGTH, USER_INFO};
    use crate::store::{groups, sessions};
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
    fn with_the_flag_login_the_answer_is_a_token_and_may_have_the_cookie() {
        for (more, signed_in, lasts) in [
            (json!({}), false, None),
            (json!({"login": false, "cookie": true}), false, None),
            (json!({"login": "true"}), false, None),
            (json!({"cookie": true, "remember": true}), false, None),
            (json!({"login": true}), true, None),
            (json!({"login": true, "cookie": true}), true, Some(false)),
            (
                json!({"login": true, "cookie": true, "remember": true}),
                true,
                Some(true),
            ),
        ] {
            let fixture = Fixture::new();
            let mut body = members();
            let more_members = more.as_object().unwrap().clone();
            body.as_object_mut().unwrap().extend(more_members);
            let outcome = fixture.with_captcha(&REGISTERED, &inner(&body)).unwrap();
            let registered = ("registered".to_string(), "rei".to_string());
            let login = ("login".to_string(), "rei".to_string());
            let (success, cookie) = match outcome {
                Success::WithCookie(success, cookie) => (*success, Some(cookie)),
                other => (other, None),
            };
            assert_eq!(
                cookie.map(|cookie| cookie.contains("Max-Age")),
                lasts,
                "{more}"
            );
            if signed_in {
                let token = value(Ok(success));
                let token = token.as_str().unwrap();
                assert_eq!(
                    (token.len(), fixture.owner(token)),
                    (TOKEN_LENGTH, Some(1)),
                    "{more}"
                );
                assert_eq!(fixture.audit(), [login, registered]);
            } else {
                assert!(matches!(success, Success::Sentence), "{more}");
                assert_eq!(fixture.audit(), [registered]);
            }
        }
    }

    #[test]
    fn a_registration_that_is_refused_opens_no_session() {
        let fixture = Fixture::new();
        fixture.signed_in("rei");
        let mut body = members();
        body["login"] = true.into();
        let refusal = fixture.with_captcha(&REGISTERED, &inner(&body));
        assert_eq!(refused(refusal), Reason::Taken);
        let count = fixture.app.read(|db| sessions::count_valid(db, NOW));
        assert_eq!(count.unwrap(), 1);
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

    fn register(fixture: &Fixture, name: &str, key: &str) -> Outcome {
        let mut changed = members();
        changed["username"] = name.into();
        changed["email"] = format!("{name}@example.org").into();
        changed["key"] = key.into();
        fixture.with_captcha(&REGISTERED, &inner(&changed))
    }

    const CLOSED: (&str, &str) = ("ACCOUNTD_REGISTRATION_FUNCTION_STATUS", "false");

    #[test]
    fn an_invitation_registers_as_many_users_as_it_says_into_its_groups() {
        let no_key = ("ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION", "");
        for (settings, wrong) in [
            (&[][..], Reason::KeyWrong),
            (&[no_key], Reason::KeyWrong),
            (&[CLOSED], Reason::DisabledAndKeyWrong),
        ] {
            let fixture = Fixture::with(settings);
            let id = fixture.invitation("an invitation", 2, &["media", "guests"]);
            assert!(register(&fixture, "rei", "an invitation").is_ok());
            // What fails takes no use.
            let taken = register(&fixture, "rei", "an invitation");
            assert_eq!(refused(taken), Reason::Taken);
            assert!(register(&fixture, "asuka", "an invitation").is_ok());
            let used_up = register(&fixture, "shinji", "an invitation");
            assert_eq!(refused(used_up), wrong);
            let groups = fixture.app.read(|db| groups::of_user(db, 2)).unwrap();
            assert_eq!(groups, ["guests", "media"]);
            let used = format!("invite {id} used");
            let lines = ["rei", "asuka"].map(|name| {
                [
                    (used.clone(), name.into()),
                    ("registered".into(), name.into()),
                ]
            });
            assert_eq!(fixture.audit(), lines.concat());
        }
    }

    #[test]
    fn an_invitation_that_expires_or_is_used_up_meanwhile_registers_no_user() {
        let fixture = Fixture::new();
        fixture.invitation("an invitation", 1, &[]);
        let body = inner(&members()).replace(KEY, "an invitation");
        for (now, reason) in [(NOW + 100, Some(Reason::KeyWrong)), (NOW + 99, None)] {
            let mut request = fixture.request(&REGISTERED);
            request.now = now;
            let call = fixture.call(&REGISTERED, &request, &format!("{{{body}}}"));
            assert_eq!(
                super::handle(&call).err().map(|refusal| refusal.reason),
                reason
            );
        }
    }

    #[test]
    fn while_registration_is_off_other_keys_are_answered_alike_and_wrong_ones_are_guesses() {
        let fixture = Fixture::with(&[CLOSED]);
        fixture.invitation("an invitation", 9, &[]);
        for _ in 0..9 {
            for key in ["", KEY] {
                assert_eq!(refused(register(&fixture, "rei", key)), Reason::Disabled);
            }
        }
        for key in ["wrong", "wrong", "wrong"] {
            let reason = refused(register(&fixture, "rei", key));
            assert_eq!(reason, Reason::DisabledAndKeyWrong);
        }
        for key in ["wrong", KEY, "an invitation"] {
            let reason = refused(register(&fixture, "rei", key));
            assert_eq!(reason, Reason::TooOften(1), "{key}");
        }
        assert_eq!(refused(register(&fixture, "rei", "")), Reason::Disabled);
        assert_eq!(
            REGISTERED.refusal(Reason::DisabledAndKeyWrong, None),
            REGISTERED.refusal(Reason::Disabled, None)
        );
    }

    #[test]
    fn an_invitation_forgives_no_guesses_at_the_configured_key() {
        let fixture = Fixture::new();
        fixture.invitation("an invitation", 9, &[]);
        fixture.signed_in("rei");
        for _ in 0..3 {
            assert_eq!(
                refused(register(&fixture, "asuka", "wrong")),
                Reason::KeyWrong
            );
            // With a name that is taken, it can be repeated.
            let taken = register(&fixture, "rei", "an invitation");
            assert!(matches!(
                refused(taken),
                Reason::Taken | Reason::TooOften(1)
            ));
        }
        assert_eq!(
            refused(register(&fixture, "asuka", "wrong")),
            Reason::TooOften(1)
        );
    }

    #[test]
    fn the_budget_of_the_whole_server_counts_accounts_that_the_key_has_made() {
        let of_source = ("ACCOUNTD_REGISTRATIONS_PER_SOURCE", "0");
        let fixture = Fixture::with(&[("ACCOUNTD_REGISTRATIONS_PER_HOUR", "2"), of_source]);
        fixture.invitation("an invitation", 9, &[]);
        fixture.signed_in("gendo");
        for _ in 0..9 {
            assert_eq!(refused(register(&fixture, "gendo", KEY)), Reason::Taken);
        }
        assert!(register(&fixture, "rei", "an invitation").is_ok());
        assert!(register(&fixture, "asuka", KEY).is_ok());
        assert!(register(&fixture, "shinji", KEY).is_ok());
        for (name, key, reason) in [
            ("kaworu", KEY, Reason::TooOften(1800)),
            ("kaworu", "wrong", Reason::KeyWrong),
            ("gendo", "an invitation", Reason::Taken),
        ] {
            assert_eq!(refused(register(&fixture, name, key)), reason, "{name}");
        }
        assert!(register(&fixture, "kaworu", "an invitation").is_ok());
    }

    #[test]
    fn invited_accounts_count_for_their_source() {
        let fixture = Fixture::with(&[("ACCOUNTD_REGISTRATIONS_PER_SOURCE", "2")]);
        fixture.invitation("an invitation", 9, &[]);
        assert!(register(&fixture, "rei", KEY).is_ok());
        assert!(register(&fixture, "asuka", "an invitation").is_ok());
        for key in [KEY, "an invitation"] {
            let reason = refused(register(&fixture, "shinji", key));
            assert_eq!(reason, Reason::TooOften(10), "{key}");
        }
    }

    #[test]
    fn with_plain_usernames_other_names_are_refused() {
        for (usernames, reason) in [("any", None), ("plain", Some(Reason::NameNotPlain))] {
            let fixture = Fixture::with(&[("ACCOUNTD_USERNAMES", usernames)]);
            assert!(register(&fixture, "rei.a-1", KEY).is_ok());
            for name in ["Rei", "rei a", "丽", "-rei", "rei,a"] {
                let outcome = register(&fixture, name, KEY);
                assert_eq!(
                    outcome.err().map(|refusal| refusal.reason),
                    reason,
                    "{name}"
                );
            }
        }
        let code = REGISTERED.refusal(Reason::NameNotPlain, None).code;
        assert_eq!(code, 603);
    }
}
