//! `/api/update_show_name`: another display name.

use super::call::Call;
use super::checks;
use crate::account::throttle::Budget;
use crate::contract::{Outcome, Success};
use crate::store::users;

pub fn handle(call: &Call) -> Outcome {
    let owner = checks::owner(call)?;
    call.body.require(call.endpoint.fields)?;
    call.body.limit(call.endpoint.fields)?;
    checks::budget(call, Budget::Change(Some(owner)))?;
    let show_name = call.body.text("new_show_name");
    checks::write_as_owner(call, |db, id| users::set_show_name(db, id, show_name))?;
    Ok(Success::Sentence)
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, refused, value};
    use crate::contract::{NEW_SHOW_NAME, Reason, UPDATE_SHOW_NAME, USER_INFO};

    #[test]
    fn the_name_changes_within_its_limit() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        let set = |name: &str| {
            let body = serde_json::json!({"token": token, "new_show_name": name});
            fixture.outcome(&UPDATE_SHOW_NAME, &body.to_string())
        };
        let longest = "阿".repeat(NEW_SHOW_NAME.limit);
        assert!(set(&longest).is_ok());
        assert_eq!(
            refused(set(&(longest.clone() + "阿"))),
            Reason::FieldTooLong
        );
        assert_eq!(refused(set("")), Reason::FieldAbsent);
        assert_eq!(refused(set("\r\n")), Reason::FieldAbsent);
        let info = fixture.outcome(&USER_INFO, &format!(r#"{{"token":"{token}"}}"#));
        assert_eq!(value(info)["show_name"], longest);
    }

    #[test]
    fn an_unknown_token_is_refused_before_the_fields_are_checked() {
        let fixture = Fixture::new();
        let reason = refused(fixture.outcome(&UPDATE_SHOW_NAME, r#"{"token":"x"}"#));
        assert_eq!(reason, Reason::TokenUnknown);
    }
}
