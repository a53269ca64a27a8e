//! `/api/totp_confirm`: turns the second factor on whose secret `totp_begin` has returned.

use super::call::Call;
use super::{checks, confirm};
use crate::account::totp::{self, Typed};
use crate::contract::{OTP, Outcome, Reason, Refusal, Success};
use crate::crypto;
use crate::store::{Transaction, totp as rows};

pub fn handle(call: &Call) -> Outcome {
    let codes = totp::new_recovery_codes();
    let digests = codes.each_ref().map(crypto::sha256);
    let token = call.token()?;
    confirm::write_with_password(call, |db, id| {
        let step = match find_step(call, db, id)? {
            Ok(step) => step,
            Err(reason) => return Ok(Err(reason.into())),
        };
        if !rows::use_step(db, id, step)? {
            return Ok(Err(Refusal::from(Reason::OtpWrong)));
        }
        rows::turn_on(db, id, call.request.now, &digests)?;
        rows::mark_session(db, &token)?;
        checks::record(call, db, id)?;
        Ok(Ok(()))
    })?;
    Ok(Success::value(
        &codes.each_ref().map(|code| totp::with_hyphens(code)),
    ))
}

/// The time step whose code was sent. Recovery codes are for a second factor that is on.
fn find_step(call: &Call, db: &Transaction, id: i64) -> rusqlite::Result<Result<i64, Reason>> {
    let Some(row) = rows::find(db, id)? else {
        return Ok(Err(Reason::TotpOff));
    };
    if row.is_on {
        return Ok(Err(Reason::TotpOn));
    }
    // The key has changed since the enrolment began, so that has to begin anew.
    let Some(secret) = confirm::open(call, id, &row.secret) else {
        return Ok(Err(Reason::TotpOff));
    };
    let step = match Typed::read(call.body.text(OTP.name)) {
        Typed::Code(code) => totp::matching_step(&secret, &code, call.request.now),
        Typed::Recovery(_) | Typed::Neither => None,
    };
    Ok(step.ok_or(Reason::OtpWrong))
}
