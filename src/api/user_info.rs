//! `/api/user_info`: the account of the token's owner.

use super::call::Call;
use crate::contract::{Outcome, Reason, Success};
use crate::store::users;
use serde::Serialize;

/// In the order of the document.
#[derive(Serialize)]
struct Info<'a> {
    id: i64,
    key: &'a str,
    name: &'a str,
    token: &'a str,
    show_name: &'a str,
    email: &'a str,
    avatar: &'a str,
}

pub fn handle(call: &Call) -> Outcome {
    let token = call.token()?;
    let (user, seen_at) = call
        .app
        .read(|db| users::by_token(db, &token, call.request.now))?
        .ok_or(Reason::TokenUnknown)?;
    call.note_use(&token, seen_at);
    Ok(Success::value(&Info {
        id: user.id,
        key: &user.key,
        name: &user.name,
        token: call.body.text("token"),
        show_name: &user.show_name,
        email: &user.email,
        avatar: &user.avatar,
    }))
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, refused, value};
    use crate::contract::{Reason, USER_INFO};
    use serde_json::json;

    #[test]
    fn it_shows_the_account_of_its_token() {
        let fixture = Fixture::new();
        fixture.signed_in("asuka");
        let (id, token) = fixture.signed_in("rei");
        let info = value(fixture.outcome(&USER_INFO, &json!({"token": token}).to_string()));
        let expected = json!({
            "id": id, "key": "user key", "name": "rei", "token": token, "show_name": "rei",
            "email": "rei@example.org", "avatar": "admin.jpg",
        });
        assert_eq!(info, expected);
    }

    #[test]
    fn a_token_is_absent_or_unknown() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        for (body, reason) in [
            ("".into(), Reason::TokenAbsent),
            ("{}".into(), Reason::TokenAbsent),
            (json!({"token": ""}).to_string(), Reason::TokenAbsent),
            (
                json!({"token": token[1..]}).to_string(),
                Reason::TokenUnknown,
            ),
            (
                json!({"token": token.to_lowercase() + "x"}).to_string(),
                Reason::TokenUnknown,
            ),
        ] {
            assert_eq!(
                refused(fixture.outcome(&USER_INFO, &body)),
                reason,
                "{body}"
            );
        }
    }
}
