//! The schemes in which passwords are stored.

use serde::Deserialize;

/// The prefix of every Argon2id hash.
pub const ARGON2ID_PREFIX: &str = "$argon2id$";

/// The scheme of a stored password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// MD5 as a lower-case hex digest, as the user API document requires.
    Md5,
    /// Argon2id over that digest, so that existing rows can be converted without the passwords.
    Argon2id,
}

impl Scheme {
    /// The scheme of this stored password.
    pub fn of(stored: &str) -> Scheme {
        if stored.starts_with(ARGON2ID_PREFIX) {
            Scheme::Argon2id
        } else {
            Scheme::Md5
        }
    }

    /// Its name in the setting `password_hash`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Md5 => "md5",
            Scheme::Argon2id => "argon2id",
        }
    }
}
