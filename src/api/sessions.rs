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
    checks::attempt_that(call, &[secret], |()| false, || {
        call.app.write(Durable::Now, |db| {
            if sessions::owner(db, &token, now)? != Some(session.user) {
                return Ok(Err(Reason::TokenUnknown.into()));
            }
            if let Err(refusal) = confirm::use_code(call, db, session.user)? {
                return Ok(Err(refusal));
            }
            totp::mark_session(db, &token).map(Ok)
        })?
    })
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
