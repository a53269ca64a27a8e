//! `/api/update_email`: another email, confirmed with the password and the second factor.

use super::call::Call;
use super::{checks, confirm};
use crate::contract::{NEW_EMAIL, Outcome, Reason, Success};
use crate::store::users;

pub fn handle(call: &Call) -> Outcome {
    let email = call.body.text(NEW_EMAIL.name);
    confirm::write_with_password(call, |db, id| {
        if !users::may_have_email(db, id, email)? {
            // The code stays good, for another email.
            let right = confirm::check_code(call, db, id)?;
            return Ok(Err(right.err().unwrap_or(Reason::Taken.into())));
        }
        if let Err(refusal) = confirm::use_code(call, db, id)? {
            return Ok(Err(refusal));
        }
        checks::record(call, db, id)?;
        users::set_email(db, id, email).map(Ok)
    })?;
    Ok(Success::Sentence)
}
