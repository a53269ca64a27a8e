//! `/api/upload_avatar`: a new picture; the old one is removed once the database names the new one.

use super::body::multipart;
use super::call::Call;
use super::checks;
use crate::account::avatar::{self, SpooledUpload, StoreError};
use crate::account::throttle::Budget;
use crate::contract::{Outcome, Reason, Refusal, Success, TOO_SMALL};
use crate::store::users;
use std::io::Read;

/// Refuses an upload that is certain to be refused before its body, of `announced` bytes, is read.
/// It spends no budget.
pub fn check(call: &Call, announced: u64) -> Result<(), Refusal> {
    checks::owner(call)?;
    multipart::check_length(announced, call.app.config.max_avatar_bytes)
}

pub fn handle(call: &Call, body: &mut dyn Read) -> Outcome {
    let (data, limit) = (&call.app.data, call.app.config.max_avatar_bytes);
    checks::owner(call)?;
    checks::budget(call, Budget::Upload)?;
    let mut upload = SpooledUpload::new(data);
    let size = multipart::copy_file(&call.request.headers.content_type, body, limit, &mut upload)?;
    if size <= TOO_SMALL {
        return Err(Reason::FileTooSmall.into());
    }
    let name = avatar::store(data, upload, call.request.now).map_err(refusal)?;
    match checks::write_as_owner(call, |db, id| users::set_avatar(db, id, &name)) {
        Ok(old) => {
            // A file that stays is removed by the next start.
            let _ = avatar::remove(data, &old);
            Ok(Success::value(&name))
        }
        Err(refusal) => {
            let _ = avatar::remove(data, &name);
            Err(refusal)
        }
    }
}

fn refusal(error: StoreError) -> Refusal {
    match error {
        StoreError::NotAPicture(why) => Refusal::unusable(why),
        StoreError::Io(error) => Refusal::fault(Reason::WriteFailed, format!("avatar: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fixture, refused, value};
    use crate::contract::{UPLOAD_AVATAR, USER_INFO};

    fn upload(fixture: &Fixture, token: &str, name: &str, file: &[u8]) -> Outcome {
        let mut request = fixture.request(&UPLOAD_AVATAR);
        request.headers.token = token.into();
        request.headers.content_type = "multipart/form-data; boundary=XX".into();
        let head = format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n\r\n"
        );
        let body = [head.as_bytes(), file, b"\r\n--XX--\r\n"].concat();
        let call = fixture.call(&UPLOAD_AVATAR, &request, "");
        super::super::check(&call)?;
        handle(&call, &mut &*body)
    }

    fn files(fixture: &Fixture) -> Vec<String> {
        let entries = std::fs::read_dir(avatar::folder(&fixture.data));
        let entries = entries.into_iter().flatten().map(Result::unwrap);
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_new_picture_replaces_the_old_one() {
        let fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        for _ in 0..2 {
            let name = value(upload(&fixture, &token, "file", &Fixture::picture(110)));
            let info = fixture.outcome(&USER_INFO, &format!(r#"{{"token":"{token}"}}"#));
            assert_eq!(value(info)["avatar"], name);
            assert_eq!(files(&fixture), [name.as_str().unwrap()]);
        }
    }

    #[test]
    fn each_refusal_has_its_reason_and_leaves_no_file() {
        let fixture = Fixture::with(&[("ACCOUNTD_MAX_AVATAR_BYTES", "20000")]);
        let (_, token) = fixture.signed_in("rei");
        let picture = &*Fixture::picture(110);
        let too_small = TOO_SMALL as usize;
        assert!((too_small + 1..20_000).contains(&picture.len()));
        let text = vec![b'a'; 15_000];
        for (token, name, file, reason) in [
            ("", "file", picture, Reason::TokenAbsent),
            ("unknown", "file", picture, Reason::TokenUnknown),
            (&*token, "other", picture, Reason::FileUnusable),
            (&*token, "file", &text, Reason::FileUnusable),
            (&*token, "file", &picture[..too_small], Reason::FileTooSmall),
            (&*token, "file", &[0; 20_001], Reason::FileUnusable),
        ] {
            assert_eq!(
                refused(upload(&fixture, token, name, file)),
                reason,
                "{name}"
            );
            assert_eq!(files(&fixture), [""; 0]);
        }
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_the_body_is_read() {
        let fixture = Fixture::with(&[("ACCOUNTD_MAX_AVATAR_BYTES", "20000")]);
        let (_, token) = fixture.signed_in("rei");
        let mut request = fixture.request(&UPLOAD_AVATAR);
        request.headers.token = token;
        let call = fixture.call(&UPLOAD_AVATAR, &request, "");
        assert!(check(&call, 20_000).is_ok());
        assert_eq!(
            check(&call, 20_000_000).unwrap_err().reason,
            Reason::FileUnusable
        );
    }
}
