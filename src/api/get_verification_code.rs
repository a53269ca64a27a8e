//! `/api/get_verification_code`: a captcha.

use crate::app::App;
use crate::captcha;
use crate::contract::Outcome;
use crate::http::Request;

pub fn handle(app: &App, request: &Request) -> Outcome {
    Ok(captcha::hand_out(app, request.now))
}
