//! `/api/sessions`: the sessions of the token's owner; with `end` it ends one of them first.

use super::call::Call;
use super::{checks, confirm, cookie};
use crate::account::throttle::{Budget, Secret};
use crate::contract::{END, Outcome, Reason, Refusal, Success};
use crate::store::sessions::{self, Listed, Session};
use crate::store::{Durable, totp, users};
use serde::Serialize;

/// A session as the answer has it. Times are Unix seconds.
#[derive(Serialize)]
struct Info {
    id: String,
    opened: Option<i64>,
    seen: Option<i64>,
    source: Option<String>,
    client: Option<String>,
    current: bool,
    second_factor: bool,
}

pub fn handle(call: &Call) -> Outcome {
    let session = checks::session(call)?;
    checks::budget(call, Budget::Change(Some(session.user)))?;
    second_factor(call, &session)?;
    let own = sessions::id(&call.token()?);
    // An id that is not a number is not that of a session.
    let end: Option<i64> = call.body.text(END.name).parse().ok();
    let mut ended = false;
    if let Some(nth) = end {
        ended = checks::write_if_changed(call, |db, user| sessions::end_nth(db, user, nth))?;
    }
    let list = call
        .app
        .read(|db| sessions::list(db, session.user, call.request.now))?;
    let still_here = list.iter().any(|one| one.id == own);
    let list: Vec<Info> = list.into_iter().map(|one| info(call, one, own)).collect();
    let cookie = (ended && !still_here).then(|| cookie::for_logout(call));
    Ok(Success::value(&list).with_cookie(cookie.flatten()))
}

/// Asks for the code of an account with a second factor, unless the session was opened with one.
/// With the right code it counts as such from then on, so that a person is asked once.
fn second_factor(call: &Call, session: &Session) -> Result<(), Refusal> {
    let row = call.app.read(|db| totp::find(db, session.user))?;
    if session.second_factor || !row.is_some_and(|row| row.is_on) {
        return Ok(());
    }
    let (token, now) = (call.token()?, call.request.now);
    let owner = call.app.read(|db| users::by_token(db, &token, now))?;
    let (owner, _) = owner.ok_or(Reason::TokenUnknown)?;
    let secret = Secret::Password(call.owner_is(owner.name));
    // A right code forgives no wrong passwords.
    checks::attempt_that(
        call,
        &[secret],
        |()| false,
        || {
            call.app.write(Durable::Now, |db| {
                if sessions::owner(db, &token, now)? != Some(session.user) {
                    return Ok(Err(Reason::TokenUnknown.into()));
                }
                match confirm::use_code(call, db, session.user)? {
                    Ok(true) => totp::mark_session(db, &token).map(Ok),
                    // It was turned off meanwhile.
                    Ok(false) => Ok(Ok(())),
                    Err(refusal) => Ok(Err(refusal)),
                }
            })?
        },
    )
}

fn info(call: &Call, one: Listed, own: i64) -> Info {
    // The latest use may not be written yet.
    let seen = one.seen_at.max(call.app.last_seen.get(one.id));
    Info {
        id: one.nth.to_string(),
        opened: one.opened_at,
        seen,
        source: one.source,
        client: one.client,
        current: one.id == own,
        second_factor: one.second_factor,
    }
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, NOW, PASSWORD, refused, value};
    use crate::contract::{LOGIN, Outcome, Reason, SESSIONS, Success};
    use crate::crypto;
    use crate::store::{Durable, sessions, totp};
    use serde_json::{Value, json};

    fn ask(fixture: &Fixture, token: &str, more: Value) -> Outcome {
        let mut body = json!({"token": token});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fixture.outcome(&SESSIONS, &body.to_string())
    }

    /// The value, with or without a cookie beside it.
    fn listed(outcome: Outcome) -> Vec<Value> {
        let outcome = outcome.map(|success| match success {
            Success::WithCookie(success, _) => *success,
            other => other,
        });
        value(outcome).as_array().unwrap().clone()
    }

    fn currents(list: &[Value]) -> Vec<bool> {
        list.iter()
            .map(|one| one["current"].as_bool().unwrap())
            .collect()
    }

    #[test]
    fn a_session_is_listed_with_where_and_when_it_was_opened() {
        let fixture = Fixture::new();
        fixture.signed_in("asuka");
        fixture.signed_in("rei");
        let mut request = fixture.request(&LOGIN);
        request.headers.user_agent =
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into();
        let captcha = fixture.captcha("right");
        let body = json!({
            "username": "rei", "passwd": PASSWORD,
            "verification_code_key": captcha, "verification_code": "right",
        });
        let call = fixture.call(&LOGIN, &request, &body.to_string());
        let token = value(super::super::login::handle(&call));
        let list = listed(ask(&fixture, token.as_str().unwrap(), json!({})));
        let hour = NOW - NOW % 3600;
        let expected = json!({
            "id": (NOW + 1).to_string(), "opened": NOW, "seen": hour, "source": "127.0.0.1",
            "client": "Firefox on Linux", "current": true, "second_factor": false,
        });
        assert_eq!(list, [expected]);
    }

    #[test]
    fn the_newest_is_the_first_and_expired_ones_are_not_listed() {
        let fixture = Fixture::new();
        let (id, first) = fixture.signed_in("rei");
        let _second = fixture.session(id);
        let old = fixture.session(id);
        let digest = crypto::sha256(&old);
        let sql = "UPDATE sessions SET expires_at = ?1 WHERE token_sha256 = ?2";
        let expired = fixture
            .app
            .write(Durable::Now, |db| db.execute(sql, (NOW, digest)));
        assert_eq!(expired.unwrap(), 1);
        let list = listed(ask(&fixture, &first, json!({})));
        assert_eq!(currents(&list), [false, true]);
    }

    #[test]
    fn a_session_of_an_older_version_has_nulls_until_it_is_seen() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        fixture.session(id);
        let sql =
            "UPDATE sessions SET opened_at = NULL, seen_at = NULL, source = NULL, client = NULL";
        fixture
            .app
            .write(Durable::Now, |db| db.execute(sql, []))
            .unwrap();
        let list = listed(ask(&fixture, &token, json!({})));
        for (one, seen) in list.iter().zip([json!(null), json!(NOW - NOW % 3600)]) {
            assert_eq!(
                (&one["opened"], &one["source"], &one["client"], &one["seen"]),
                (&json!(null), &json!(null), &json!(null), &seen)
            );
        }
        // It is written later.
        fixture.app.write_last_seen().unwrap();
        let found = fixture
            .app
            .read(|db| sessions::find(db, &crypto::sha256(&token), NOW));
        assert_eq!(found.unwrap().unwrap().seen_at, Some(NOW - NOW % 3600));
    }

    #[test]
    fn end_ends_one_session_of_the_own_user() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        let other = fixture.session(id);
        let (_, stranger) = fixture.signed_in("asuka");
        let of_stranger = listed(ask(&fixture, &stranger, json!({})))[0]["id"].clone();
        // That of asuka is also the number of rei's first one, so it is moved out of the way.
        let sql = "UPDATE sessions SET nth = nth + 100 WHERE user_id <> ?1";
        fixture
            .app
            .write(Durable::Now, |db| db.execute(sql, [id]))
            .unwrap();
        let of_stranger: i64 = of_stranger.as_str().unwrap().parse().unwrap();
        for end in [
            json!((of_stranger + 100).to_string()),
            json!("x"),
            json!(""),
            json!(7),
            json!("-1"),
            json!("99999999999999999999999999"),
        ] {
            let list = listed(ask(&fixture, &token, json!({"end": end})));
            assert_eq!(list.len(), 2, "{end}");
        }
        assert!(fixture.owner(&stranger).is_some());
        assert_eq!(fixture.audit(), []);
        let list = listed(ask(&fixture, &token, json!({})));
        let list = listed(ask(&fixture, &token, json!({"end": list[0]["id"]})));
        assert_eq!(currents(&list), [true]);
        assert_eq!(fixture.owner(&other), None);
        assert_eq!(fixture.audit(), [("sessions".into(), "rei".into())]);
    }

    #[test]
    fn the_current_session_may_be_ended_and_the_cookie_goes_with_it() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        fixture.session(id);
        let list = listed(ask(&fixture, &token, json!({})));
        let mut request = fixture.request(&SESSIONS);
        request.headers.cookies = vec![format!("accountd={token}")];
        let body = json!({"token": token, "end": list[1]["id"]}).to_string();
        let outcome = super::handle(&fixture.call(&SESSIONS, &request, &body));
        assert!(matches!(outcome, Ok(Success::WithCookie(..))));
        assert_eq!(currents(&listed(outcome)), [false]);
        assert_eq!(
            refused(ask(&fixture, &token, json!({}))),
            Reason::TokenUnknown
        );
    }

    #[test]
    fn an_account_with_a_second_factor_is_asked_for_it_once_a_session() {
        let fixture = Fixture::with(&[("ACCOUNTD_THROTTLE", "false")]);
        let (id, token) = fixture.signed_in("rei");
        let other = fixture.session(id);
        let code = crypto::sha256("abcdefghjkmn");
        let on = fixture.app.write(Durable::Now, |db| {
            assert!(totp::begin(db, id, b"sealed")?);
            totp::turn_on(db, id, NOW, &[code])
        });
        on.unwrap();
        for more in [json!({}), json!({"otp": ""}), json!({"end": "1"})] {
            let reason = refused(ask(&fixture, &token, more.clone()));
            assert_eq!(reason, Reason::OtpAbsent, "{more}");
        }
        let wrong = json!({"otp": "bcde-fghj-kmnp"});
        assert_eq!(refused(ask(&fixture, &token, wrong)), Reason::OtpWrong);
        let right = json!({"otp": "abcd-efgh-jkmn"});
        let list = listed(ask(&fixture, &token, right.clone()));
        let factors: Vec<_> = list.iter().map(|one| &one["second_factor"]).collect();
        assert_eq!(factors, [false, true]);
        assert_eq!(listed(ask(&fixture, &token, json!({}))).len(), 2);
        // Each session is asked, and each recovery code is valid once.
        assert_eq!(refused(ask(&fixture, &other, right)), Reason::OtpWrong);
        assert_eq!(SESSIONS.refusal(Reason::OtpWrong, None).code, 605);
    }

    #[test]
    fn it_needs_a_token() {
        let fixture = Fixture::new();
        for (body, reason) in [
            ("{}", Reason::TokenAbsent),
            ("", Reason::TokenAbsent),
            (r#"{"token":"x"}"#, Reason::TokenUnknown),
        ] {
            assert_eq!(refused(fixture.outcome(&SESSIONS, body)), reason, "{body}");
        }
    }
}
