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
