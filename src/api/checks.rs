//! What handlers check before they act, and how they change the database.

use super::body::json::JsonBody;
use super::call::Call;
use crate::account::captcha;
use crate::account::policy;
use crate::account::throttle::{Budget, Guess, NewAccount, Secret, Verdict};
use crate::app::App;
use crate::contract::{CAPTCHA, Reason, Refusal};
use crate::crypto;
use crate::log::{self, Level};
use crate::store::audit::{self, Event};
use crate::store::sessions::Session;
use crate::store::{Durable, Fault, Transaction, sessions};
use std::mem;
use std::time::Duration;

/// How long a failed sign-in waits with its answer if another process has locked the database.
const AUDIT_TIMEOUT: Duration = Duration::from_millis(50);

/// Checks the answer to a captcha. The captcha is used up, whatever the answer is.
pub fn captcha(call: &Call) -> Result<(), Reason> {
    let [key, answer] = CAPTCHA.map(|name| call.body.text(name));
    if key.is_empty() || answer.is_empty() {
        return Err(Reason::CaptchaAbsent);
    }
    let expected = call
        .app
        .captchas()?
        .take(&crypto::sha256(key), call.request.now);
    match expected {
        Some(expected) if captcha::answers_match(&expected, answer) => Ok(()),
        Some(_) => {
            if let Ok(mut throttle) = call.app.throttle() {
                throttle.charge_wrong_captcha(call.source(), call.request.uptime);
            }
            Err(Reason::CaptchaWrong)
        }
        // It has expired or never was one, so it tells nothing about the client's reading.
        None => Err(Reason::CaptchaWrong),
    }
}

/// Whether [`captcha`] will accept the answer. The captcha is not used up.
pub fn has_right_captcha(app: &App, body: &JsonBody, now: i64) -> bool {
    let [key, answer] = CAPTCHA.map(|name| body.text(name));
    let key = crypto::sha256(key);
    app.captchas().is_ok_and(|mut captchas| {
        let expected = captchas.get(&key, now);
        expected.is_some_and(|expected| captcha::answers_match(expected, answer))
    })
}

/// Makes the captcha of a request valid again, which [`captcha`] has accepted. Nothing happens if it
/// has expired, was evicted, or belongs to the next worker: the client needs another one then.
pub fn put_captcha_back(call: &Call) {
    // The accepted answer is as good as the original one.
    let [key, answer] = CAPTCHA.map(|name| call.body.text(name));
    if let Ok(mut captchas) = call.app.captchas() {
        captchas.put_back(&crypto::sha256(key), answer.into(), call.request.now);
    }
}

/// Whether the token is that of a session. If the database cannot tell, it is.
pub fn has_valid_token(app: &App, body: &JsonBody, now: i64) -> bool {
    let token = body.text("token");
    let found = |token| app.read(|db| sessions::owner(db, &token, now));
    !token.is_empty() && !matches!(found(crypto::sha256(token)), Ok(None))
}

/// The id of the token's owner.
pub fn owner(call: &Call) -> Result<i64, Refusal> {
    session(call).map(|session| session.user)
}

/// The token's session.
pub fn session(call: &Call) -> Result<Session, Refusal> {
    let token = call.token()?;
    let found = call
        .app
        .read(|db| sessions::find(db, &token, call.request.now))?;
    let session = found.ok_or(Reason::TokenUnknown)?;
    call.note_use(&token, session.seen_at);
    Ok(session)
}

/// Checks a new password against the password policy.
pub fn new_password(call: &Call, field: &str) -> Result<(), Reason> {
    policy::check(&call.app.config, call.body.text(field), call.user_name())
        .map_err(|_| Reason::PasswordTooWeak)
}

/// Spends one request of the client's budget.
pub fn budget(call: &Call, budget: Budget) -> Result<(), Reason> {
    let mut throttle = call.app.throttle()?;
    throttle
        .spend(budget, call.source(), call.request.uptime)
        .map_err(too_often)
}

/// Makes a new account if the budgets allow one more. It counts only if `make` returns one.
pub fn new_account(
    call: &Call,
    account: NewAccount,
    make: impl FnOnce() -> Result<Option<i64>, Refusal>,
) -> Result<Option<i64>, Refusal> {
    let reserved = call
        .app
        .throttle()?
        .reserve(account, call.source(), call.request.uptime);
    let mut pending = Pending {
        app: call.app,
        guess: reserved.map_err(too_often)?,
        verdict: Verdict::Unknown,
    };
    let made = make();
    if matches!(made, Ok(Some(_))) {
        pending.verdict = Verdict::Wrong;
    }
    made
}

/// Runs an attempt at these secrets if the client may guess now, and counts how it ended. A right
/// guess forgives the client its wrong ones.
pub fn attempt<T>(
    call: &Call,
    secrets: &[Secret],
    attempt: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    attempt_that(call, secrets, |_| true, attempt)
}

/// The same, but a right guess forgives the wrong ones only if `forgives` says so. One secret's
/// owner must not be able to guess at another secret without waits in between.
pub fn attempt_that<T>(
    call: &Call,
    secrets: &[Secret],
    forgives: fn(&T) -> bool,
    attempt: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let admitted = call
        .app
        .throttle()?
        .admit(secrets, call.source(), call.request.uptime);
    let mut pending = Pending {
        app: call.app,
        guess: admitted.map_err(too_often)?,
        verdict: Verdict::Unknown,
    };
    let outcome = attempt();
    pending.verdict = match &outcome {
        Ok(value) if forgives(value) => Verdict::Right,
        Ok(_) => Verdict::Unknown,
        Err(refusal) if refusal.reason == Reason::OtpAbsent => Verdict::Incomplete,
        Err(refusal) if is_wrong_guess(refusal.reason) => Verdict::Wrong,
        Err(_) => Verdict::Unknown,
    };
    outcome
}

/// Whether a refusal tells that a guess at a secret was wrong.
pub fn is_wrong_guess(reason: Reason) -> bool {
    is_failed_sign_in(reason) || reason == Reason::LinkUnknown
}

/// Whether a refusal is logged as a failed sign-in. People open links that have expired, and no
/// such line should have their addresses blocked.
pub fn is_failed_sign_in(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PasswordWrong
            | Reason::OtpWrong
            | Reason::KeyWrong
            | Reason::DisabledAndKeyWrong
            | Reason::UserUnknown
    )
}

/// A guess or a new account that the throttle has admitted. Dropping it reports the verdict; after a panic that is
/// [`Verdict::Unknown`], which costs the client nothing.
struct Pending<'a> {
    app: &'a App,
    guess: Guess,
    verdict: Verdict,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // If the counts went to the next worker, this guess was handed over as a wrong one.
        if let Ok(mut throttle) = self.app.throttle() {
            throttle.settle(mem::take(&mut self.guess), self.verdict);
        }
    }
}

fn too_often(wait: Duration) -> Reason {
    // Rounded up, so that a client that waits this long has waited long enough.
    Reason::TooOften(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// Changes the database in one transaction and records the change in the audit log. `change`
/// returns the id of the user that it has changed, or `None` if it has changed nothing.
pub fn write(
    call: &Call,
    durable: Durable,
    change: impl FnOnce(&Transaction) -> rusqlite::Result<Option<i64>>,
) -> Result<Option<i64>, Fault> {
    call.app.write(durable, |db| {
        let user = change(db)?;
        if let Some(id) = user {
            record(call, db, id)?;
        }
        Ok(user)
    })
}

/// Records in the audit log that a user has used an invitation, a reset link or a recovery code,
/// `what`.
pub fn record_use(call: &Call, db: &Transaction, what: &str, user: i64) -> rusqlite::Result<()> {
    record_as(call, db, &format!("{what} used"), user)
}

/// Records in the audit log another event about a user that the request has brought about.
pub fn record_as(call: &Call, db: &Transaction, name: &str, user: i64) -> rusqlite::Result<()> {
    let source = call.request.source();
    let event = Event {
        name,
        ..event(call, &source)
    };
    audit::done(db, &event, Some(user))
}

/// Changes the account of the token's owner and records the change in the audit log. The same
/// transaction checks the token.
pub fn write_as_owner<T>(
    call: &Call,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<T>,
) -> Result<T, Refusal> {
    let token = call.token()?;
    let changed = call.app.write(Durable::Now, |db| {
        let Some(id) = sessions::owner(db, &token, call.request.now)? else {
            return Ok(None);
        };
        record(call, db, id)?;
        change(db, id).map(Some)
    })?;
    changed.ok_or_else(|| Reason::TokenUnknown.into())
}

/// The same for a change that may turn out to be none, which is not recorded. Returns whether it
/// was one.
pub fn write_if_changed(
    call: &Call,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<bool>,
) -> Result<bool, Refusal> {
    let token = call.token()?;
    let changed = call.app.write(Durable::Now, |db| {
        let Some(id) = sessions::owner(db, &token, call.request.now)? else {
            return Ok(None);
        };
        let changed = change(db, id)?;
        if changed {
            record(call, db, id)?;
        }
        Ok(Some(changed))
    })?;
    changed.ok_or_else(|| Reason::TokenUnknown.into())
}

/// Records in the audit log that a request has changed a user's account, if the endpoint is audited.
pub fn record(call: &Call, db: &Transaction, id: i64) -> rusqlite::Result<()> {
    if call.endpoint.audited {
        audit::done(db, &event(call, &call.request.source()), Some(id))
    } else {
        Ok(())
    }
}

/// Logs a failed sign-in, and records it in the audit log. If that fails, the answer stays the
/// same.
pub fn record_failed_sign_in(call: &Call, name: &str) {
    let path = call.endpoint.path;
    let text = format!("failed sign-in from {} at {path}", call.request.source());
    log::line(Level::Info, &text);
    if call.app.config.audit_days == 0 {
        return;
    }
    let source = call.request.source();
    let event = event(call, &source);
    let recorded = call.app.write_within(AUDIT_TIMEOUT, Durable::Soon, |db| {
        audit::refused(db, &event, name)
    });
    if let Err(fault) = recorded {
        let text = format!("{}: audit: {}", call.endpoint.path, fault.cause());
        log::line(Level::Error, &text);
    }
}

fn event<'a>(call: &Call, source: &'a str) -> Event<'a> {
    Event {
        at: call.request.now,
        name: call.endpoint.name(),
        source,
        days: call.app.config.audit_days,
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault {
            Fault::Unavailable(cause) => Refusal::fault(Reason::ReadFailed, cause),
            Fault::WriteFailed(cause) => Refusal::fault(Reason::WriteFailed, cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::Fixture;
    use crate::contract::{self, Outcome, Success};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn an_attempt_without_a_verdict_costs_no_guess() {
        let fixture = Fixture::new();
        let request = fixture.request(&contract::LOGIN);
        let call = fixture.call(&contract::LOGIN, &request, "{}");
        let guess = |outcome: fn() -> Outcome| {
            catch_unwind(AssertUnwindSafe(|| {
                attempt(&call, &[Secret::Password("rei")], outcome)
            }))
        };
        let faults: [fn() -> Outcome; 4] = [
            || panic!("on purpose"),
            || Err(Reason::ReadFailed.into()),
            || Err(Reason::WriteFailed.into()),
            || Err(Reason::PasswordTooWeak.into()),
        ];
        for fault in faults.iter().cycle().take(100) {
            let throttled = matches!(
                guess(*fault),
                Ok(Err(Refusal {
                    reason: Reason::TooOften(_),
                    ..
                }))
            );
            assert!(!throttled);
        }
        for nth in 0..4 {
            let Ok(Err(refusal)) = guess(|| Err(Reason::PasswordWrong.into())) else {
                panic!("the guess is wrong")
            };
            let expected = if nth < 3 {
                Reason::PasswordWrong
            } else {
                Reason::TooOften(1)
            };
            assert_eq!(refusal.reason, expected);
        }
    }

    #[test]
    fn a_worker_that_has_handed_its_state_over_admits_no_guess() {
        let fixture = Fixture::new();
        drop(fixture.app.give_away());
        let request = fixture.request(&contract::LOGIN);
        let call = fixture.call(&contract::LOGIN, &request, "{}");
        let outcome: Outcome = attempt(&call, &[], || panic!("the guess was admitted"));
        assert!(matches!(
            outcome,
            Err(Refusal {
                reason: Reason::Moved,
                ..
            })
        ));
    }

    #[test]
    fn a_captcha_is_used_up_by_a_wrong_answer_and_not_by_a_look() {
        let fixture = Fixture::new();
        let request = fixture.request(&contract::LOGIN);
        let body = |key: &str, answer: &str| {
            format!(r#"{{"verification_code_key":"{key}","verification_code":"{answer}"}}"#)
        };
        for (answer, first) in [
            ("right", Ok(())),
            ("RIGHT", Ok(())),
            ("wrong", Err(Reason::CaptchaWrong)),
        ] {
            let key = fixture.captcha("right");
            let call = fixture.call(&contract::LOGIN, &request, &body(&key, answer));
            assert_eq!(
                has_right_captcha(&fixture.app, &call.body, request.now),
                first.is_ok()
            );
            assert_eq!(captcha(&call), first, "{answer}");
            assert_eq!(captcha(&call), Err(Reason::CaptchaWrong), "{answer} again");
            assert!(!has_right_captcha(&fixture.app, &call.body, request.now));
        }
        for (key, answer) in [("", "right"), ("key", ""), ("key", "\\r\\n")] {
            let call = fixture.call(&contract::LOGIN, &request, &body(key, answer));
            assert_eq!(captcha(&call), Err(Reason::CaptchaAbsent), "{key} {answer}");
        }
    }

    #[test]
    fn only_a_wrong_answer_to_a_captcha_that_exists_costs_further_captchas() {
        for (known, answer, fetched) in [
            (true, "right", 600),
            (false, "right", 600),
            (false, "wrong", 600),
            (true, "wrong", 591),
        ] {
            let fixture = Fixture::new();
            let request = fixture.request(&contract::LOGIN);
            let key = fixture.captcha("right");
            let key = if known { &key } else { "unknown" };
            let body =
                format!(r#"{{"verification_code_key":"{key}","verification_code":"{answer}"}}"#);
            let call = fixture.call(&contract::LOGIN, &request, &body);
            assert_eq!(captcha(&call).is_ok(), known && answer == "right");
            let fetch = || budget(&call, Budget::Captcha).is_ok();
            let count = (0..1000).filter(|_| fetch()).count();
            assert_eq!(count, fetched, "{known} {answer}");
        }
    }

    #[test]
    fn an_audited_change_leaves_a_line_and_another_one_does_not() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        for (endpoint, lines) in [(&contract::UPDATE_SHOW_NAME, 0), (&contract::UPDATE_KEY, 1)] {
            let request = fixture.request(endpoint);
            let call = fixture.call(endpoint, &request, &format!(r#"{{"token":"{token}"}}"#));
            assert_eq!(write_as_owner(&call, |_, owner| Ok(owner)).unwrap(), id);
            let found = fixture.app.read(|db| {
                let count = "SELECT count(*) FROM audit_done WHERE event = ?1";
                db.query_row(count, [endpoint.name()], |row| row.get::<_, u32>(0))
            });
            assert_eq!(found.unwrap(), lines, "{}", endpoint.path);
        }
    }

    #[test]
    fn a_success_value_is_json() {
        let Success::Value(value) = Success::value(&"a \"text\"") else {
            panic!()
        };
        assert_eq!(value.get(), r#""a \"text\"""#);
    }
}
