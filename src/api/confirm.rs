//! Changes that the owner of an account confirms with the password and, if the account has one, the
//! second factor.

use super::call::Call;
use super::checks;
use super::password::verify_then;
use crate::account::sealed;
use crate::account::throttle::{Budget, Secret};
use crate::account::totp::{self, Typed};
use crate::contract::{OTP, PASSWD, Reason, Refusal};
use crate::crypto;
use crate::store::users::{self, Stored};
use crate::store::{Durable, Transaction, sessions, totp as rows};
use rusqlite::Connection;

/// A code that is right, unless it has been used already.
enum Code {
    /// The code of a time step.
    Step(i64),
    /// The digest of a recovery code.
    Recovery([u8; 32]),
}

/// Changes the account of the token's owner, who has to send the password and, if the account has a
/// second factor, its code in `otp`. The change is recorded in the audit log, before it is made. One
/// transaction checks all of that, uses the code up and makes the change.
///
/// # Errors
/// [`Reason::FieldAbsent`] and [`Reason::FieldTooLong`] for the endpoint's fields,
/// [`Reason::TokenUnknown`], [`Reason::PasswordWrong`], [`Reason::OtpAbsent`],
/// [`Reason::OtpWrong`]; nothing has changed then.
pub fn write_as_confirmed_owner<T>(
    call: &Call,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<T>,
) -> Result<T, Refusal> {
    write_with_password(call, |db, id| {
        if let Err(refusal) = use_code(call, db, id)? {
            return Ok(Err(refusal));
        }
        checks::record(call, db, id)?;
        change(db, id).map(Ok)
    })
}

/// The same without the second factor and the audit log, and with a change that may be refused. It
/// must not have changed anything then.
pub fn write_with_password<T>(
    call: &Call,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let (token, now) = (call.token()?, call.request.now);
    let owner = call.app.read(|db| users::by_token(db, &token, now))?;
    let (owner, seen_at) = owner.ok_or(Reason::TokenUnknown)?;
    call.note_use(&token, seen_at);
    let name = call.owner_is(owner.name);
    call.body.require(call.endpoint.fields)?;
    call.body.limit(call.endpoint.fields)?;
    checks::budget(call, Budget::Change(Some(owner.id)))?;
    checks::attempt(call, &[Secret::Password(name)], || {
        let (mut change, mut done) = (Some(change), None);
        verify_then(call.app, name, call.body.text(PASSWD.name), |user| {
            done = call.app.write(Durable::Now, |db| {
                // The name may belong to another user by now.
                if sessions::owner(db, &token, now)? != Some(user.id) {
                    return Ok(Err(Reason::TokenUnknown.into()));
                }
                if !users::has_password(db, user)? {
                    return Ok(Ok(None));
                }
                let change = change.take().expect("no try follows this one");
                Ok(change(db, user.id)?.map(Some))
            })??;
            Ok(done.is_some())
        })?;
        Ok(done.expect("the change was made"))
    })
}

/// Uses up the code that a request has for a user's second factor. Returns false if the user has
/// none.
///
/// # Errors
/// [`Reason::OtpAbsent`], [`Reason::OtpWrong`]; nothing has changed then.
pub fn use_code(
    call: &Call,
    db: &Transaction,
    user: i64,
) -> rusqlite::Result<Result<bool, Refusal>> {
    let code = match find_code(call, db, user)? {
        Ok(Some(code)) => code,
        Ok(None) => return Ok(Ok(false)),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let accepted = match &code {
        Code::Step(step) => rows::use_step(db, user, *step)?,
        Code::Recovery(digest) => rows::use_recovery_code(db, user, digest)?,
    };
    if !accepted {
        return Ok(Err(Reason::OtpWrong.into()));
    }
    if matches!(code, Code::Recovery(_)) {
        checks::record_use(call, db, "recovery-code", user)?;
    }
    Ok(Ok(true))
}

/// The same for a user whose password was verified. If the stored password has changed since then,
/// it is verified again, and that must not cost a code: false.
pub fn use_code_unless_changed(
    call: &Call,
    db: &Transaction,
    user: &Stored,
) -> rusqlite::Result<Result<bool, Refusal>> {
    if users::has_password(db, user)? {
        use_code(call, db, user.id)
    } else {
        Ok(Ok(false))
    }
}

/// Refuses a request that [`use_code`] would refuse, as far as that can be told without using the
/// code up: before a new password is hashed in vain.
pub fn expect_code(call: &Call, user: i64) -> Result<(), Refusal> {
    call.app.read(|db| find_code(call, db, user))??;
    Ok(())
}

/// Refuses a request whose code [`use_code`] cannot accept. The code is not used up.
pub fn check_code(
    call: &Call,
    db: &Connection,
    user: i64,
) -> rusqlite::Result<Result<(), Refusal>> {
    Ok(find_code(call, db, user)?.map(drop))
}

/// The code of a request; `None` if the user has no second factor.
fn find_code(
    call: &Call,
    db: &Connection,
    user: i64,
) -> rusqlite::Result<Result<Option<Code>, Refusal>> {
    let Some(row) = rows::find(db, user)?.filter(|row| row.is_on) else {
        return Ok(Ok(None));
    };
    let typed = call.body.text(OTP.name);
    if typed.is_empty() {
        return Ok(Err(Reason::OtpAbsent.into()));
    }
    let code = match Typed::read(typed) {
        Typed::Code(code) => match open(call, user, &row.secret) {
            Some(secret) => totp::matching_step(&secret, &code, call.request.now).map(Code::Step),
            None => return Ok(Err(undecryptable(call))),
        },
        Typed::Recovery(code) => Some(Code::Recovery(crypto::sha256(&code))),
        Typed::Neither => None,
    };
    Ok(code.map(Some).ok_or(Reason::OtpWrong.into()))
}

/// The secret of a user's second factor, if the key of the configuration decrypts it.
pub fn open(call: &Call, user: i64, secret: &[u8]) -> Option<Vec<u8>> {
    let key = call.app.config.totp_key.as_ref()?;
    sealed::open(key, user, secret)
}

fn undecryptable(call: &Call) -> Refusal {
    let name = call.user_name().escape_debug();
    Refusal::fault(
        Reason::OtpWrong,
        format!(
            "the second factor of {name} cannot be decrypted with \"totp_key\"; restore the key with which it was \
             encrypted, or turn the second factor off: accountd user totp-off"
        ),
    )
}
