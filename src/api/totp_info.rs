//! `/api/totp_info`: whether the account has a second factor.

use super::call::Call;
use super::checks;
use crate::contract::{Outcome, Success};
use crate::store::totp;
use serde::Serialize;

#[derive(Serialize)]
struct Info {
    on: bool,
    /// How many are left.
    recovery_codes: u64,
}

pub fn handle(call: &Call) -> Outcome {
    let owner = checks::owner(call)?;
    let left = call.app.read(|db| totp::recovery_codes_left(db, owner))?;
    Ok(Success::value(&Info {
        on: left.is_some(),
        recovery_codes: left.unwrap_or_default(),
    }))
}
