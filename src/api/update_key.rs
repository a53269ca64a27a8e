//! `/api/update_key`: a fresh user key.

use super::call::Call;
use super::checks;
use crate::account::throttle::Budget;
use crate::contract::{KEY_LENGTH, Outcome, Success};
use crate::crypto;
use crate::store::users;

pub fn handle(call: &Call) -> Outcome {
    let owner = checks::owner(call)?;
    checks::budget(call, Budget::Change(Some(owner)))?;
    let key = crypto::random_alphanumeric(KEY_LENGTH);
    checks::write_as_owner(call, |db, id| users::set_key(db, id, &key))?;
    Ok(Success::Sentence)
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, refused, value};
    use crate::contract::{KEY_LENGTH, Reason, UPDATE_KEY, USER_INFO};

    #[test]
    fn each_call_gives_the_owner_another_key_and_nobody_else() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        let (_, other) = fixture.signed_in("asuka");
        let key = |token: &str| {
            let info = fixture.outcome(&USER_INFO, &format!(r#"{{"token":"{token}"}}"#));
            value(info)["key"].as_str().unwrap().to_string()
        };
        let mut keys = vec![key(&token)];
        for _ in 0..2 {
            let body = format!(r#"{{"token":"{token}"}}"#);
            assert!(fixture.outcome(&UPDATE_KEY, &body).is_ok());
            keys.push(key(&token));
        }
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[2].len() == KEY_LENGTH);
        assert_eq!(key(&other), keys[0]);
        let unknown = refused(fixture.outcome(&UPDATE_KEY, r#"{"token":"x"}"#));
        assert_eq!(unknown, Reason::TokenUnknown);
    }
}
