//! `/api/link_info`: what an invitation or a reset link is for.

use super::call::Call;
use super::checks;
use crate::account::throttle::Secret;
use crate::contract::{Outcome, Reason, Refusal, Success};
use crate::crypto;
use crate::store::{invitations, reset_links};
use serde::Serialize;

/// The value of the answer.
#[derive(Serialize)]
struct Link {
    kind: &'static str,
    /// The user whose password a reset link resets.
    name: Option<String>,
    groups: Vec<String>,
    expires_at: i64,
}

pub fn handle(call: &Call) -> Outcome {
    call.body.require(call.endpoint.fields)?;
    // A guess at both, since a key of either kind would be found. The owner of one key must not be
    // forgiven guesses at others.
    let secrets = [Secret::RegistrationKey, Secret::ResetKey];
    let link = checks::attempt_that(call, &secrets, |_| false, || find(call))?;
    Ok(Success::value(&link))
}

fn find(call: &Call) -> Result<Link, Refusal> {
    let (digest, now) = (crypto::sha256(call.body.text("key")), call.request.now);
    let (invitation, reset_link) = call.app.read(|db| {
        let invitation = invitations::find(db, &digest, now)?;
        Ok((invitation, reset_links::find(db, &digest, now)?))
    })?;
    if let Some(invitation) = invitation {
        return Ok(Link {
            kind: "invite",
            name: None,
            groups: invitation.groups,
            expires_at: invitation.expires_at,
        });
    }
    let link = reset_link.ok_or(Reason::LinkUnknown)?;
    Ok(Link {
        kind: "reset",
        name: Some(link.user_name),
        groups: Vec::new(),
        expires_at: link.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY, NOW, refused, value};
    use crate::contract::{LINK_INFO, Reason};
    use serde_json::json;

    fn ask(fixture: &Fixture, key: &str) -> crate::contract::Outcome {
        fixture.outcome(&LINK_INFO, &json!({"key": key}).to_string())
    }

    #[test]
    fn a_link_is_told_what_it_is_for() {
        let fixture = Fixture::new();
        let (id, _) = fixture.signed_in("rei");
        fixture.invitation("an invitation", 2, &["media", "art"]);
        fixture.reset_link("a reset link", id);
        assert_eq!(
            value(ask(&fixture, "an invitation")),
            json!({"kind": "invite", "name": null, "groups": ["art", "media"], "expires_at": NOW + 100})
        );
        assert_eq!(
            value(ask(&fixture, "a reset link")),
            json!({"kind": "reset", "name": "rei", "groups": [], "expires_at": NOW + 100})
        );
    }

    #[test]
    fn any_other_key_is_refused_and_counts_as_a_guess_at_both_kinds() {
        let fixture = Fixture::new();
        fixture.invitation("an invitation", 1, &[]);
        assert_eq!(refused(ask(&fixture, "")), Reason::FieldAbsent);
        for key in ["a", KEY, "an invitation "] {
            assert_eq!(refused(ask(&fixture, key)), Reason::LinkUnknown, "{key}");
        }
        // The right key neither waits for more than the guesses did, nor forgives them.
        assert_eq!(refused(ask(&fixture, "an invitation")), Reason::TooOften(1));
        let key = json!({"key": KEY, "name": "rei", "email": "rei@example.org", "new_passwd": "a"});
        let key = key.to_string();
        let outcome =
            fixture.with_captcha(&crate::contract::FORGET_PASSWORD, &key[1..key.len() - 1]);
        assert_eq!(refused(outcome), Reason::TooOften(1));
    }

    #[test]
    fn a_right_key_forgives_no_wrong_ones() {
        let fixture = Fixture::new();
        fixture.invitation("an invitation", 1, &[]);
        for _ in 0..2 {
            assert_eq!(refused(ask(&fixture, "wrong")), Reason::LinkUnknown);
            assert!(ask(&fixture, "an invitation").is_ok());
        }
        assert_eq!(refused(ask(&fixture, "wrong")), Reason::LinkUnknown);
        assert_eq!(refused(ask(&fixture, "wrong")), Reason::TooOften(1));
    }
}
