//! `/api/sessions`: the sessions of the token's owner; with `end` it ends one of them first.

use super::call::Call;
use super::checks;
use super::cookie;
use crate::account::throttle::Budget;
use crate::contract::{Outcome, Success};
use crate::store::sessions::{self, Listed, end_nth};
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
    let own = sessions::id(&call.token()?);
    // An id that is not a number is not that of a session.
    let end: Option<i64> = call.body.text("end").parse().ok();
    let mut ended = false;
    if let Some(nth) = end {
        ended = checks::write_if_changed(call, |db, user| end_nth(db, user, nth))?;
    }
    let list = call
        .app
        .read(|db| sessions::list(db, session.user, call.request.now))?;
    let still_here = list.iter().any(|one| one.id == own);
    let list: Vec<Info> = list.into_iter().map(|one| info(call, one, own)).collect();
    let cookie = (ended && !still_here).then(|| cookie::for_logout(call));
    Ok(Success::value(&list).with_cookie(cookie.flatten()))
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
