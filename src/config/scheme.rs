//! The two ways in which a password is stored.

use serde::Deserialize;

/// How every Argon2id hash begins.
pub const ARGON2ID_PREFIX: &str = "$argon2id$";

/// What is stored of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// The lower-case hex digest of the document.
    Md5,
    /// Argon2id over that digest, so that existing rows can be wrapped without knowing any
    /// password.
    Argon2id,
}

impl Scheme {
    /// The scheme of a stored password.
    #[must_use]
    pub fn of(stored: &str) -> Scheme {
        if stored.starts_with(ARGON2ID_PREFIX) {
            Scheme::Argon2id
        } else {
            Scheme::Md5
        }
    }

    /// As the setting `password_hash` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Md5 => "md5",
            Scheme::Argon2id => "argon2id",
        }
    }
}
