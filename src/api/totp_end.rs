//! `/api/totp_end`: turns the second factor off.

use super::call::Call;
use super::{checks, confirm};
use crate::contract::{Outcome, Reason, Success};
use crate::store::totp;

pub fn handle(call: &Call) -> Outcome {
    confirm::write_with_password(call, |db, id| {
        match confirm::use_code(call, db, id)? {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Reason::TotpOff.into())),
            Err(refusal) => return Ok(Err(refusal)),
        }
        totp::turn_off(db, id)?;
        checks::record(call, db, id)?;
        Ok(Ok(()))
    })?;
    Ok(Success::Sentence)
}
