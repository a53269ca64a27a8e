//! `/api/get_verification_code`: a captcha.

use super::spend;
use crate::account::captcha;
use crate::account::throttle::Budget;
use crate::app::App;
use crate::contract::Outcome;
use crate::http::Request;
use crate::http::network::Source;

pub fn handle(app: &App, request: &Request) -> Outcome {
    spend(app, request, Budget::Captcha)?;
    Ok(captcha::hand_out(
        app,
        Source::of(request.client),
        request.now,
    )?)
}
