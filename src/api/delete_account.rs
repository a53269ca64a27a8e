//! `/api/delete_account`: the end of an account, confirmed with the password and the second factor.

use super::call::Call;
use super::{confirm, cookie};
use crate::account::avatar;
use crate::contract::{Outcome, Success};
use crate::store::accounts;

pub fn handle(call: &Call) -> Outcome {
    // The line in the audit log is written first, since it has the user's name.
    let picture = confirm::write_as_confirmed_owner(call, accounts::erase)?;
    if let Some(picture) = picture {
        // A file that stays, also because the server dies here, is removed by the next start.
        let _ = avatar::remove(&call.app.data, &picture);
    }
    call.app.erase_log();
    Ok(Success::Sentence.with_cookie(cookie::for_logout(call)))
}

#[cfg(test)]
mod tests {
    use crate::account::avatar;
    use crate::api::fixture::{Fixture, NOW, PASSWORD, refused};
    use crate::contract::{DELETE_ACCOUNT, Outcome, Reason, Success};
    use crate::crypto;
    use crate::store::{Durable, groups, totp, users};
    use serde_json::json;
    use std::fs;

    fn delete(fixture: &Fixture, token: &str, passwd: &str, otp: &str) -> Outcome {
        let body = json!({"token": token, "passwd": passwd, "otp": otp});
        fixture.outcome(&DELETE_ACCOUNT, &body.to_string())
    }

    #[test]
    fn all_but_the_lines_of_the_audit_log_is_gone() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        let (_, stranger) = fixture.signed_in("asuka");
        fixture.session(id);
        fixture.reset_link("a link", id);
        let picture = format!("vA3iBsOVzo{NOW}.png");
        fs::create_dir(avatar::folder(&fixture.data)).unwrap();
        fs::write(avatar::path(&fixture.data, &picture), "a").unwrap();
        let set_up = fixture.app.write(Durable::Now, |db| {
            users::set_avatar(db, id, &picture)?;
            groups::add(db, "media")?;
            let group = groups::id(db, "media")?.unwrap();
            groups::join(db, id, group)?;
            assert!(totp::begin(db, id, b"sealed")?);
            totp::turn_on(db, id, NOW, &[crypto::sha256("abcdefghjkmn"), [1; 32]])
        });
        set_up.unwrap();
        assert!(delete(&fixture, &token, PASSWORD, "abcd-efgh-jkmn").is_ok());
        for (table, left) in [
            ("users", 1),
            ("sessions", 1),
            ("reset_links", 0),
            ("members", 0),
            ("totp", 0),
            ("recovery_codes", 0),
        ] {
            let count = format!("SELECT count(*) FROM {table}");
            let found = fixture
                .app
                .read(|db| db.query_row(&count, [], |row| row.get::<_, u32>(0)));
            assert_eq!(found.unwrap(), left, "{table}");
        }
        assert!(!avatar::path(&fixture.data, &picture).exists());
        assert!(fixture.owner(&stranger).is_some());
        let lines = ["recovery-code used", "delete_account"];
        assert_eq!(
            fixture.audit(),
            lines.map(|event| (event.into(), "rei".into()))
        );
        assert_eq!(
            refused(delete(&fixture, &token, PASSWORD, "")),
            Reason::TokenUnknown
        );
        // Name and email are free again.
        let (next, _) = fixture.signed_in("rei");
        assert!(next > id);
    }

    #[test]
    fn what_was_stored_is_in_no_file_afterwards() {
        let fixture = Fixture::new();
        let (id, token) = fixture.signed_in("rei");
        let email = "a-very-special-email@example.org";
        fixture
            .app
            .write(Durable::Now, |db| users::set_email(db, id, email))
            .unwrap();
        let has_it = || {
            let files = fs::read_dir(&fixture.data).unwrap();
            let mut files = files
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file());
            files.any(|path| {
                let bytes = fs::read(path).unwrap();
                bytes
                    .windows(email.len())
                    .any(|part| part == email.as_bytes())
            })
        };
        assert!(has_it());
        assert!(delete(&fixture, &token, PASSWORD, "").is_ok());
        assert!(!has_it());
    }

    #[test]
    fn each_refusal_has_its_reason_and_deletes_nothing() {
        let fixture = Fixture::with(&[("ACCOUNTD_THROTTLE", "false")]);
        let (_, token) = fixture.signed_in("rei");
        for (token, passwd, reason) in [
            ("", PASSWORD, Reason::TokenAbsent),
            ("x", PASSWORD, Reason::TokenUnknown),
            (&*token, "", Reason::FieldAbsent),
            (&token, &*"a".repeat(1025), Reason::FieldTooLong),
            (&token, "wrong", Reason::PasswordWrong),
        ] {
            assert_eq!(refused(delete(&fixture, token, passwd, "")), reason);
        }
        assert!(fixture.owner(&token).is_some());
    }

    #[test]
    fn the_cookie_goes_with_the_account() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        let mut request = fixture.request(&DELETE_ACCOUNT);
        request.headers.cookies = vec![format!("accountd={token}")];
        let body = json!({"token": token, "passwd": PASSWORD}).to_string();
        let outcome = super::handle(&fixture.call(&DELETE_ACCOUNT, &request, &body));
        assert!(matches!(outcome, Ok(Success::WithCookie(..))));
    }
}
