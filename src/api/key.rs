//! The `key` of `registered` and `forget_password`: the configured one, or one that an admin has
//! given to one person.

use super::call::Call;
use crate::contract::{Reason, Refusal};
use crate::crypto;
use crate::store::Fault;

/// A key that was right when it was checked.
#[derive(Clone, Copy)]
pub enum Key {
    /// The configured one.
    Configured,
    /// That of an invitation or a reset link, with its SHA-256 digest.
    Link([u8; 32]),
}

/// Checks the request's `key` against the configured one, which works if the function is switched
/// on, and then against those in the database, which work in any case.
pub fn check(
    call: &Call,
    is_on: bool,
    configured: Option<&str>,
    is_link: impl FnOnce(&[u8; 32]) -> Result<bool, Fault>,
) -> Result<Key, Refusal> {
    let key = call.body.text("key");
    match configured {
        Some(configured) if crypto::constant_time_eq(configured, key) => {
            return if is_on {
                Ok(Key::Configured)
            } else {
                Err(Reason::Disabled.into())
            };
        }
        _ => {}
    }
    let digest = crypto::sha256(key);
    if !key.is_empty() && is_link(&digest)? {
        return Ok(Key::Link(digest));
    }
    Err(wrong(is_on).into())
}

/// Why a wrong key is refused. A function that is switched off answers every key so.
pub fn wrong(is_on: bool) -> Reason {
    if is_on {
        Reason::KeyWrong
    } else {
        Reason::DisabledAndKeyWrong
    }
}
