//! Changes that the owner of an account confirms with the password and, if the account has one, the
//! second factor.

use super::call::Call;
use super::checks;
use super::password::verify_then;
use crate::account::sealed;
use crate::account::throttle::{Budget, Secret};
use crate::account::totp::{self, Typed};
use crate::contract::{OTP, PASSWD, Reason, Refusal};
use crate::crypto;
use crate::store::users::{self, Stored};
use crate::store::{Durable, Transaction, sessions, totp as rows};
use rusqlite::Connection;

/// A code that is right, unless it has been used already.
enum Code {
    /// The code of a time step.
    Step(i64),
    /// The digest of a recovery code.
    Recovery([u8; 32]),
}

/// Changes the account of the token's owner, who has to send the password and, if the account has a
/// second factor, its code in `otp`. The change is recorded in the audit log, before it is made. One
/// transaction checks all of that, uses the code up and makes the change.
///
/// # Errors
/// [`Reason::FieldAbsent`] and [`Reason::FieldTooLong`] for the endpoint's fields,
/// [`Reason::TokenUnknown`], [`Reason::PasswordWrong`], [`Reason::OtpAbsent`],
/// [`Reason::OtpWrong`]; nothing has changed then.
pub fn write_as_confirmed_owner<T>(
    call: &Call,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<T>,
) -> Result<T, Refusal> {
    write_with_password(call, |db, id| {
        if let Err(refusal) = use_code(call, db, id)? {
            return Ok(Err(refusal));
        }
        checks::record(call, db, id)?;
        change(db, id).map(Ok)
    })
}

/// The same without the second factor and the audit log, and with a change that may be refused. It
/// must not have changed anything then.
pub fn write_with_password<T>(
    call: &Call,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let (token, now) = (call.token()?, call.request.now);
    let owner = call.app.read(|db| users::by_token(db, &token, now))?;
    let (owner, seen_at) = owner.ok_or(Reason::TokenUnknown)?;
    call.note_use(&token, seen_at);
    let name = call.owner_is(owner.name);
    call.body.require(call.endpoint.fields)?;
    call.body.limit(call.endpoint.fields)?;
    checks::budget(call, Budget::Change(Some(owner.id)))?;
    checks::attempt(call, &[Secret::Password(name)], || {
        let (mut change, mut done) = (Some(change), None);
        verify_then(call.app, name, call.body.text(PASSWD.name), |user| {
            done = call.app.write(Durable::Now, |db| {
                // The name may belong to another user by now.
                if sessions::owner(db, &token, now)? != Some(user.id) {
                    return Ok(Err(Reason::TokenUnknown.into()));
                }
                if !users::has_password(db, user)? {
                    return Ok(Ok(None));
                }
                let change = change.take().expect("no try follows this one");
                Ok(change(db, user.id)?.map(Some))
            })??;
            Ok(done.is_some())
        })?;
        Ok(done.expect("the change was made"))
    })
}

/// Uses up the code that a request has for a user's second factor. Returns false if the user has
/// none.
///
/// # Errors
/// [`Reason::OtpAbsent`], [`Reason::OtpWrong`]; nothing has changed then.
pub fn use_code(
    call: &Call,
    db: &Transaction,
    user: i64,
) -> rusqlite::Result<Result<bool, Refusal>> {
    use_code_if(call, db, user, |_| Ok(true))
}

/// The same for a user whose password was verified. If the stored password has changed since then,
/// it is verified again, and that must not cost a code: false.
pub fn use_code_unless_changed(
    call: &Call,
    db: &Transaction,
    user: &Stored,
) -> rusqlite::Result<Result<bool, Refusal>> {
    use_code_if(call, db, user.id, |db| users::has_password(db, user))
}

fn use_code_if(
    call: &Call,
    db: &Transaction,
    user: i64,
    condition: impl FnOnce(&Transaction) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Result<bool, Refusal>> {
    let code = match find_code(call, db, user)? {
        Ok(Some(code)) => code,
        Ok(None) => return Ok(Ok(false)),
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !condition(db)? {
        return Ok(Ok(false));
    }
    let accepted = match &code {
        Code::Step(step) => rows::use_step(db, user, *step)?,
        Code::Recovery(digest) => rows::use_recovery_code(db, user, digest)?,
    };
    if !accepted {
        return Ok(Err(Reason::OtpWrong.into()));
    }
    if matches!(code, Code::Recovery(_)) {
        checks::record_use(call, db, "recovery-code", user)?;
    }
    Ok(Ok(true))
}

/// Refuses a request that [`use_code`] would refuse, as far as that can be told without using the
/// code up: before a new password is hashed in vain.
pub fn expect_code(call: &Call, user: i64) -> Result<(), Refusal> {
    call.app.read(|db| find_code(call, db, user))??;
    Ok(())
}

/// Refuses a request whose code [`use_code`] cannot accept. The code is not used up.
pub fn check_code(
    call: &Call,
    db: &Connection,
    user: i64,
) -> rusqlite::Result<Result<(), Refusal>> {
    Ok(find_code(call, db, user)?.map(drop))
}

/// The code of a request; `None` if the user has no second factor.
fn find_code(
    call: &Call,
    db: &Connection,
    user: i64,
) -> rusqlite::Result<Result<Option<Code>, Refusal>> {
    let Some(row) = rows::find(db, user)?.filter(|row| row.is_on) else {
        return Ok(Ok(None));
    };
    let typed = call.body.text(OTP.name);
    if typed.is_empty() {
        return Ok(Err(Reason::OtpAbsent.into()));
    }
    let code = match Typed::read(typed) {
        Typed::Code(code) => match open(call, user, &row.secret) {
            Some(secret) => totp::matching_step(&secret, &code, call.request.now).map(Code::Step),
            None => return Ok(Err(undecryptable(call))),
        },
        Typed::Recovery(code) => Some(Code::Recovery(crypto::sha256(&code))),
        Typed::Neither => None,
    };
    Ok(code.map(Some).ok_or(Reason::OtpWrong.into()))
}

/// The secret of a user's second factor, if the key of the configuration decrypts it.
pub fn open(call: &Call, user: i64, secret: &[u8]) -> Option<Vec<u8>> {
    let key = call.app.config.totp_key.as_ref()?;
    sealed::open(key, user, secret)
}

fn undecryptable(call: &Call) -> Refusal {
    let name = call.user_name().escape_debug();
    Refusal::fault(
        Reason::OtpWrong,
        format!(
            "the second factor of {name} cannot be decrypted with \"totp_key\"; restore the key with which it was \
             encrypted, or turn the second factor off: accountd user totp-off"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fixture, PASSWORD, RECOVERY, TOTP_KEY, TOTP_SECRET, refused, value};
    use crate::config::Scheme;
    use crate::contract::{
        Endpoint, FORGET_PASSWORD, LOGIN, Outcome, TOTP_BEGIN, TOTP_CONFIRM, TOTP_END, TOTP_INFO,
        UPDATE_KEY, UPDATE_PASSWORD,
    };
    use std::thread;

    fn with_otp(members: &str, otp: &str) -> String {
        format!(r#"{members},"otp":"{otp}""#)
    }

    fn password() -> String {
        format!(r#""username":"rei","passwd":"{PASSWORD}""#)
    }

    fn log_in(fixture: &Fixture, otp: &str) -> Outcome {
        fixture.with_captcha(&LOGIN, &with_otp(&password(), otp))
    }

    /// The outcome of a request with a token, a password and a code.
    fn confirmed(
        fixture: &Fixture,
        endpoint: &'static Endpoint,
        token: &str,
        otp: &str,
    ) -> Outcome {
        let body = format!(r#"{{"token":"{token}","passwd":"{PASSWORD}","otp":"{otp}"}}"#);
        fixture.outcome(endpoint, &body)
    }

    /// The secret that `totp_begin` has stored.
    fn stored_secret(fixture: &Fixture, user: i64) -> Vec<u8> {
        let row = fixture.app.read(|db| rows::find(db, user)).unwrap();
        sealed::open(TOTP_KEY, user, &row.unwrap().secret).unwrap()
    }

    fn with_factor() -> (Fixture, i64, String) {
        let fixture = Fixture::with(&[("ACCOUNTD_SESSIONS_PER_USER", "10")]);
        let (id, token) = fixture.signed_in("rei");
        fixture.second_factor(id);
        (fixture, id, token)
    }

    #[test]
    fn a_second_factor_is_on_once_it_is_confirmed_and_until_it_ends() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        let other = fixture.session(id);
        let info = || value(fixture.outcome(&TOTP_INFO, &format!(r#"{{"token":"{other}"}}"#)));
        let off = serde_json::json!({"on": false, "recovery_codes": 0});
        assert_eq!(info(), off);
        let first = value(confirmed(&fixture, &TOTP_BEGIN, &token, ""));
        let begun = value(confirmed(&fixture, &TOTP_BEGIN, &token, ""));
        assert_ne!(
            first["secret"], begun["secret"],
            "another begin replaces it"
        );
        assert_eq!(info(), off);
        assert!(fixture.with_captcha(&LOGIN, &password()).is_ok());
        let (token, other) = (fixture.session(id), fixture.session(id));

        let secret = stored_secret(&fixture, id);
        let text = totp::base32(&secret);
        assert_eq!(begun["secret"], text);
        let uri = format!("otpauth://totp/accountd:rei?secret={text}&issuer=accountd");
        assert_eq!(begun["uri"], uri);
        assert_eq!(begun["qr"], crate::account::qr::svg(&uri).unwrap());

        let code = totp::code_at(&secret, crate::api::fixture::NOW);
        let wrong = if code == "000000" { "000001" } else { "000000" };
        for otp in [wrong, RECOVERY[0]] {
            let outcome = confirmed(&fixture, &TOTP_CONFIRM, &token, otp);
            assert_eq!(refused(outcome), Reason::OtpWrong);
        }
        let codes = value(confirmed(&fixture, &TOTP_CONFIRM, &token, &code));
        let codes: Vec<String> = serde_json::from_value(codes).unwrap();
        assert_eq!(codes.len(), totp::RECOVERY_CODES);
        assert!(fixture.has_factor(&token) && !fixture.has_factor(&other));
        let again = confirmed(&fixture, &TOTP_BEGIN, &token, "");
        assert_eq!(refused(again), Reason::TotpOn);
        let again = confirmed(&fixture, &TOTP_CONFIRM, &token, &code);
        assert_eq!(refused(again), Reason::TotpOn);
        let replay = confirmed(&fixture, &TOTP_END, &token, &code);
        assert_eq!(refused(replay), Reason::OtpWrong);
        for (nth, code) in codes[..9].iter().enumerate() {
            assert!(log_in(&fixture, code).is_ok());
            assert_eq!(refused(log_in(&fixture, code)), Reason::OtpWrong);
            let left = 9 - nth;
            let token = fixture.session(id);
            let info = value(fixture.outcome(&TOTP_INFO, &format!(r#"{{"token":"{token}"}}"#)));
            assert_eq!(
                info,
                serde_json::json!({"on": true, "recovery_codes": left})
            );
        }
        let token = fixture.session(id);
        assert!(confirmed(&fixture, &TOTP_END, &token, &codes[9]).is_ok());
        let ended = confirmed(&fixture, &TOTP_END, &token, &codes[9]);
        assert_eq!(refused(ended), Reason::TotpOff);
        assert!(fixture.with_captcha(&LOGIN, &password()).is_ok());
        let events: Vec<String> = fixture
            .audit()
            .into_iter()
            .map(|(event, _)| event)
            .collect();
        let used = events.iter().filter(|event| *event == "recovery-code used");
        assert_eq!(used.count(), totp::RECOVERY_CODES);
        for event in ["totp_confirm", "totp_end"] {
            assert_eq!(
                events.iter().filter(|one| *one == event).count(),
                1,
                "{event}"
            );
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        for (endpoint, otp) in [(&TOTP_BEGIN, ""), (&TOTP_CONFIRM, "1"), (&TOTP_END, "1")] {
            let fixture = Fixture::new();
            let (_, token) = fixture.signed_in("rei");
            let body = |token: &str, passwd: &str, otp: &str| {
                format!(r#"{{"token":"{token}","passwd":"{passwd}","otp":"{otp}"}}"#)
            };
            let mut cases = vec![
                (body("", PASSWORD, otp), Reason::TokenAbsent),
                (body("unknown", PASSWORD, otp), Reason::TokenUnknown),
                (body("unknown", "", otp), Reason::TokenUnknown),
                (body(&token, "", otp), Reason::FieldAbsent),
                (body(&token, &"a".repeat(1025), otp), Reason::FieldTooLong),
                (body(&token, "wrong", otp), Reason::PasswordWrong),
            ];
            if !otp.is_empty() {
                cases.push((body(&token, PASSWORD, ""), Reason::FieldAbsent));
                cases.push((
                    body(&token, PASSWORD, &"1".repeat(65)),
                    Reason::FieldTooLong,
                ));
                cases.push((body(&token, PASSWORD, otp), Reason::TotpOff));
            }
            for (body, reason) in cases {
                let outcome = fixture.outcome(endpoint, &body);
                assert_eq!(refused(outcome), reason, "{} {body}", endpoint.path);
            }
        }
    }

    #[test]
    fn a_change_is_made_only_with_the_password_and_the_code() {
        let fixture = Fixture::with(&[("ACCOUNTD_THROTTLE", "false")]);
        let (id, token) = fixture.signed_in("rei");
        fixture.second_factor(id);
        let request = fixture.request(&UPDATE_KEY);
        let change = |passwd: &str, otp: &str| {
            let body = format!(r#"{{"token":"{token}","passwd":"{passwd}","otp":"{otp}"}}"#);
            let call = fixture.call(&UPDATE_KEY, &request, &body);
            write_as_confirmed_owner(&call, |db, id| users::set_key(db, id, "new").map(|()| id))
                .map_err(|refusal| refusal.reason)
        };
        let code = Fixture::code(0);
        assert_eq!(change("wrong", &code), Err(Reason::PasswordWrong));
        assert_eq!(change(PASSWORD, ""), Err(Reason::OtpAbsent));
        assert_eq!(change(PASSWORD, "x"), Err(Reason::OtpWrong));
        assert!(fixture.audit().is_empty());
        assert_eq!(
            change(PASSWORD, &code),
            Ok(id),
            "nothing has used the code up"
        );
        assert_eq!(fixture.audit(), [("update_key".into(), "rei".into())]);
    }

    #[test]
    fn log_in_takes_a_code_of_the_current_step_or_its_neighbours_once() {
        for (later, accepted) in [
            (-60, false),
            (-30, true),
            (0, true),
            (30, true),
            (60, false),
        ] {
            let (fixture, _, _) = with_factor();
            let outcome = log_in(&fixture, &Fixture::code(later));
            assert_eq!(outcome.is_ok(), accepted, "{later}");
        }
        let (fixture, _, _) = with_factor();
        assert_eq!(
            refused(fixture.with_captcha(&LOGIN, &password())),
            Reason::OtpAbsent
        );
        for otp in ["x", "12345", "1234567", &"1".repeat(1000), "zzzz-zzzz-zzzz"] {
            let (fixture, _, old) = with_factor();
            assert_eq!(refused(log_in(&fixture, otp)), Reason::OtpWrong, "{otp}");
            assert!(
                fixture.owner(&old).is_some(),
                "a wrong code ends no session"
            );
        }
        let token = value(log_in(&fixture, &Fixture::code(0)));
        assert!(fixture.has_factor(token.as_str().unwrap()));
        for later in [0, -30] {
            let replay = log_in(&fixture, &Fixture::code(later));
            assert_eq!(refused(replay), Reason::OtpWrong, "{later}");
        }
        assert!(log_in(&fixture, &Fixture::code(30)).is_ok());
    }

    #[test]
    fn of_two_requests_at_once_with_one_code_exactly_one_succeeds() {
        for otp in [Fixture::code(0), RECOVERY[0].into()] {
            let (fixture, _, _) = with_factor();
            let outcomes = thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(|| log_in(&fixture, &otp).is_ok()));
                threads.map(|thread| thread.join().unwrap())
            });
            let succeeded = outcomes.iter().filter(|ok| **ok).count();
            assert_eq!(succeeded, 1, "{outcomes:?}");
        }
    }

    #[test]
    fn a_captcha_stays_valid_if_the_code_alone_is_absent() {
        let (fixture, _, _) = with_factor();
        let captcha = fixture.captcha("right");
        let code = |members: &str| fixture.reply(&LOGIN, &captcha, members, 0).code;
        assert_eq!(code(&password()), Some(605));
        assert_eq!(code(&password()), Some(605), "once more");
        assert_eq!(code(&with_otp(&password(), &Fixture::code(0))), Some(200));
        assert_eq!(code(&password()), Some(503), "the success has used it up");

        for members in [
            with_otp(&password(), "000000"),
            r#""username":"rei","passwd":"wrong""#.into(),
            r#""username":"nobody","passwd":"wrong""#.into(),
        ] {
            let (fixture, _, _) = with_factor();
            let captcha = fixture.captcha("right");
            let code = |members: &str| fixture.reply(&LOGIN, &captcha, members, 0).code;
            assert_ne!(code(&members), Some(200), "{members}");
            assert_eq!(code(&password()), Some(503), "{members}");
        }
        // It keeps its old expiry: 300 seconds after it was made.
        let captcha = fixture.captcha("right");
        for (later, expected) in [(299, 605), (300, 503)] {
            let reply = fixture.reply(&LOGIN, &captcha, &password(), later);
            assert_eq!(reply.code, Some(expected), "{later}");
        }
    }

    #[test]
    fn a_captcha_allows_one_guess_at_a_code_however_many_come_at_once() {
        let (fixture, _, _) = with_factor();
        let captcha = fixture.captcha("right");
        assert_eq!(
            fixture.reply(&LOGIN, &captcha, &password(), 0).code,
            Some(605)
        );
        let members = with_otp(&password(), "zzzz-zzzz-zzzz");
        let codes = thread::scope(|scope| {
            let guess = || fixture.reply(&LOGIN, &captcha, &members, 0).code;
            let threads = [(); 4].map(|()| scope.spawn(guess));
            threads.map(|thread| thread.join().unwrap())
        });
        let guesses = codes.iter().filter(|code| **code == Some(605)).count();
        assert_eq!(guesses, 1, "{codes:?}");
    }

    #[test]
    fn a_person_who_is_asked_for_the_code_never_waits() {
        let (fixture, _, _) = with_factor();
        for nth in 0..400 {
            let captcha = fixture.captcha("right");
            let later = nth * 30 % 300;
            fixture
                .app
                .write(Durable::Soon, |db| {
                    db.execute("UPDATE totp SET last_step = 0", [])
                })
                .unwrap();
            let asked = fixture.reply(&LOGIN, &captcha, &password(), later);
            assert_eq!(asked.code, Some(605), "{nth}");
            let members = with_otp(&password(), &Fixture::code(later));
            let signed_in = fixture.reply(&LOGIN, &captcha, &members, later);
            assert_eq!(signed_in.code, Some(200), "{nth}");
        }
    }

    #[test]
    fn wrong_and_absent_codes_are_slowed_down() {
        for otp in ["000000", "zzzz-zzzz-zzzz", ""] {
            let (fixture, _, _) = with_factor();
            let reasons = [(); 5].map(|()| refused(log_in(&fixture, otp)));
            let (first, rest) = reasons.split_at(3);
            assert!(
                first
                    .iter()
                    .all(|one| matches!(one, Reason::OtpWrong | Reason::OtpAbsent))
            );
            assert!(
                rest.iter().all(|one| *one == Reason::TooOften(1)),
                "{rest:?}"
            );
        }
    }

    #[test]
    fn a_wrong_code_is_a_failed_sign_in_and_an_absent_one_is_not() {
        let (fixture, _, token) = with_factor();
        for (otp, lines) in [("", 0), ("000000", 1)] {
            let captcha = fixture.captcha("right");
            fixture.reply(&LOGIN, &captcha, &with_otp(&password(), otp), 0);
            assert_eq!(fixture.audit().len(), lines, "{otp}");
        }
        // The token tells whose attempt it was.
        let members = format!(r#""token":"{token}","passwd":"wrong","otp":"000000""#);
        fixture.reply(&TOTP_END, "", &members, 0);
        let expected = ["login", "totp_end"].map(|event| (event.into(), "rei".into()));
        assert_eq!(fixture.audit(), expected);
    }

    #[test]
    fn a_password_changes_only_with_the_code_and_the_second_factor_stays() {
        let (fixture, id, _) = with_factor();
        let link = fixture.reset_link("a link", id);
        let update = format!(r#""username":"rei","old_passwd":"{PASSWORD}","new_passwd":"new""#);
        let reset = r#""name":"rei","email":"rei@example.org","key":"a link","new_passwd":"newer""#;
        let stored = || {
            let found = fixture.app.read(|db| users::credentials(db, "rei"));
            found.unwrap().user.unwrap().password
        };
        let cases: [(&'static Endpoint, &str, i64); 2] = [
            (&FORGET_PASSWORD, reset, 0),
            (&UPDATE_PASSWORD, &update, 30),
        ];
        for (endpoint, members, later) in cases {
            let old = Scheme::Md5.hash(PASSWORD);
            let set = fixture
                .app
                .write(Durable::Now, |db| users::rehash(db, id, &stored(), &old));
            set.unwrap();
            let captcha = fixture.captcha("right");
            let reply = fixture.reply(endpoint, &captcha, members, 0);
            assert_eq!(reply.code, Some(605), "{}", endpoint.path);
            let wrong = fixture.reply(endpoint, &captcha, &with_otp(members, "000000"), 0);
            assert_eq!(wrong.code, Some(605), "{}", endpoint.path);
            let again = fixture.reply(endpoint, &captcha, members, 0);
            assert_eq!(again.code, Some(503), "{}", endpoint.path);
            let captcha = fixture.captcha("right");
            let right = with_otp(members, &Fixture::code(later));
            let reply = fixture.reply(endpoint, &captcha, &right, 0);
            assert_eq!(reply.code, Some(200), "{}", endpoint.path);
        }
        let used = (format!("reset-link {link} used"), "rei".into());
        assert!(fixture.audit().contains(&used));
        let row = fixture.app.read(|db| rows::find(db, id)).unwrap();
        assert!(row.unwrap().is_on);
    }

    #[test]
    fn a_row_of_the_other_scheme_stays_as_it_is_until_the_code_is_right() {
        let fixture = Fixture::with(&[("ACCOUNTD_PASSWORD_HASH", "argon2id")]);
        let (id, _) = fixture.signed_in("rei");
        fixture.second_factor(id);
        for (otp, reason) in [("", Reason::OtpAbsent), ("000000", Reason::OtpWrong)] {
            assert_eq!(refused(log_in(&fixture, otp)), reason);
            let stored = fixture.app.read(|db| users::credentials(db, "rei"));
            let stored = stored.unwrap().user.unwrap();
            assert_eq!(Scheme::of(&stored.password), Scheme::Md5, "{otp}");
        }
    }

    #[test]
    fn without_the_key_no_second_factor_begins_and_codes_are_refused() {
        for key in ["", "another key"] {
            let fixture = Fixture::with(&[("ACCOUNTD_TOTP_KEY", key)]);
            let (id, token) = fixture.signed_in("rei");
            let (_, other) = fixture.signed_in("asuka");
            fixture.second_factor(id);
            let begin = confirmed(&fixture, &TOTP_BEGIN, &other, "");
            if key.is_empty() {
                let refusal = begin.err().unwrap();
                assert_eq!(refusal.reason, Reason::Disabled);
                assert!(refusal.cause.unwrap().contains("\"totp_key\""));
            } else {
                assert!(begin.is_ok());
            }
            let refusal = log_in(&fixture, &Fixture::code(0)).err().unwrap();
            let cause = refusal.cause.unwrap();
            assert_eq!(refusal.reason, Reason::OtpWrong);
            let named = ["\"totp_key\"", "accountd user totp-off", "rei"];
            assert!(named.iter().all(|name| cause.contains(name)), "{cause}");
            assert!(log_in(&fixture, RECOVERY[0]).is_ok());
            let token = fixture
                .owner(&token)
                .map_or_else(|| fixture.session(id), |_| token);
            assert!(confirmed(&fixture, &TOTP_END, &token, RECOVERY[1]).is_ok());
        }
    }

    #[test]
    fn an_enrolment_begins_anew_if_the_key_has_changed() {
        let fixture = Fixture::with(&[("ACCOUNTD_TOTP_KEY", "another key")]);
        let (id, token) = fixture.signed_in("rei");
        let secret = sealed::seal(TOTP_KEY, id, TOTP_SECRET);
        let begun = fixture
            .app
            .write(Durable::Now, |db| rows::begin(db, id, &secret));
        assert!(begun.unwrap());
        let outcome = confirmed(&fixture, &TOTP_CONFIRM, &token, &Fixture::code(0));
        assert_eq!(refused(outcome), Reason::TotpOff);
        assert!(confirmed(&fixture, &TOTP_BEGIN, &token, "").is_ok());
    }

    #[test]
    fn the_address_names_the_host_and_the_user_in_any_script() {
        let page = ("ACCOUNTD_PUBLIC_URL", "https://accounts.example.org");
        let fixture = Fixture::with(&[page]);
        let name = "阿巴 &:".repeat(10);
        let (_, token) = fixture.signed_in(&name);
        let begun = value(confirmed(&fixture, &TOTP_BEGIN, &token, ""));
        let uri = begun["uri"].as_str().unwrap();
        let one = "%E9%98%BF%E5%B7%B4%20%26%3A".repeat(10);
        assert!(
            uri.starts_with(&format!(
                "otpauth://totp/accounts.example.org:{one}?secret="
            )),
            "{uri}"
        );
        assert!(begun["qr"].as_str().unwrap().starts_with("<svg "));
    }
}
