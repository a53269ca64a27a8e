//! `/api/get_verification_code`: a captcha.

use super::call::Call;
use super::checks;
use crate::account::captcha::Captcha;
use crate::account::throttle::Budget;
use crate::contract::{Outcome, Success};
use crate::crypto;

pub fn handle(call: &Call) -> Outcome {
    checks::budget(call, Budget::Captcha)?;
    let Captcha {
        key,
        answer,
        picture,
    } = Captcha::new(call.app.captcha_answer.as_deref());
    let (source, now) = (call.source(), call.request.now);
    call.app
        .captchas()?
        .insert(crypto::sha256(&key), answer, source, now);
    Ok(Success::Captcha { key, picture })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fixture, refused};
    use crate::contract::{GET_VERIFICATION_CODE, LOGIN, Reason};

    #[test]
    fn a_captcha_can_be_answered_and_its_key_is_not_kept() {
        let mut fixture = Fixture::new();
        fixture.app.captcha_answer = Some("abc".into());
        let Ok(Success::Captcha { key, picture }) = fixture.outcome(&GET_VERIFICATION_CODE, "")
        else {
            panic!()
        };
        assert!(picture.starts_with(b"\x89PNG"));
        let body = format!(r#"{{"verification_code_key":"{key}","verification_code":"abc"}}"#);
        // The captcha is right, so that the next check refuses.
        let reason = refused(fixture.outcome(&LOGIN, &body));
        assert_eq!(reason, Reason::FieldAbsent);
        assert_eq!(
            refused(fixture.outcome(&LOGIN, &body)),
            Reason::CaptchaWrong
        );
    }

    #[test]
    fn without_a_budget_nothing_is_drawn() {
        let fixture = Fixture::new();
        let request = fixture.request(&GET_VERIFICATION_CODE);
        let call = fixture.call(&GET_VERIFICATION_CODE, &request, "");
        while checks::budget(&call, Budget::Captcha).is_ok() {}
        let refused = refused(fixture.outcome(&GET_VERIFICATION_CODE, ""));
        assert!(matches!(refused, Reason::TooOften(_)), "{refused:?}");
    }
}
