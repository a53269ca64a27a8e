//! `/api/logout`: ends a session, or all sessions of the token's owner.

use super::call::Call;
use super::checks;
use super::cookie;
use crate::account::throttle::Budget;
use crate::contract::{Outcome, Success};
use crate::store::sessions;

pub fn handle(call: &Call) -> Outcome {
    let owner = checks::owner(call)?;
    checks::budget(call, Budget::Change(Some(owner)))?;
    let token = call.token()?;
    let everywhere = call.body.is_true("everywhere");
    checks::write_as_owner(call, |db, id| {
        if everywhere {
            sessions::end_all(db, id)
        } else {
            sessions::end(db, &token)
        }
    })?;
    Ok(Success::Sentence.with_cookie(cookie::for_logout(call)))
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, refused};
    use crate::contract::{LOGOUT, Reason};

    #[test]
    fn it_ends_the_session_of_its_token_and_only_true_ends_all() {
        for (member, others_end) in [
            ("", false),
            (r#","everywhere":false"#, false),
            (r#","everywhere":"true""#, false),
            (r#","everywhere":1"#, false),
            (r#","everywhere":true"#, true),
        ] {
            let fixture = Fixture::new();
            let (id, token) = fixture.signed_in("rei");
            let (_, stranger) = fixture.signed_in("asuka");
            let other = fixture.session(id);
            let body = format!(r#"{{"token":"{token}"{member}}}"#);
            assert!(fixture.outcome(&LOGOUT, &body).is_ok(), "{member}");
            assert_eq!(fixture.owner(&token), None, "{member}");
            assert_eq!(fixture.owner(&other).is_none(), others_end, "{member}");
            assert!(fixture.owner(&stranger).is_some(), "{member}");
            assert_eq!(
                refused(fixture.outcome(&LOGOUT, &body)),
                Reason::TokenUnknown
            );
        }
    }

    #[test]
    fn it_needs_a_token() {
        let fixture = Fixture::new();
        for body in ["{}", r#"{"token":""}"#, r#"{"token":1}"#, "[]", ""] {
            assert_eq!(
                refused(fixture.outcome(&LOGOUT, body)),
                Reason::TokenAbsent,
                "{body}"
            );
        }
    }
}
