//! Passwords as they are stored: MD5 as in the document, or Argon2id over that.

use crate::config::Scheme;
use crate::crypto::{constant_time_eq, fill_random, hex};
use crate::sync::Semaphore;
use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc,
};
use md5::{Digest, Md5};
use std::hint::black_box;
use std::sync::LazyLock;
use std::thread;

/// Argon2id with 19 MiB, two passes, one lane: the first choice of OWASP's password storage cheat
/// sheet.
const ARGON2_KIB: u32 = 19 * 1024;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;

impl Scheme {
    /// What is to be stored of a password.
    pub fn hash(self, password: &str) -> String {
        self.wrap(md5_hex(password))
    }

    /// What is to be stored of a password whose MD5 digest is known.
    ///
    /// # Panics
    /// If the machine has no memory for Argon2id.
    pub fn wrap(self, md5_hex: String) -> String {
        if self == Scheme::Md5 {
            return md5_hex;
        }
        let mut salt = [0; 16];
        fill_random(&mut salt);
        let _turn = HASHING.acquire();
        let hash: phc::PasswordHash = argon2()
            .hash_password_with_salt(md5_hex.as_bytes(), &salt)
            .expect("valid parameters and enough memory");
        hash.to_string()
    }
}

/// An Argon2id hash of no password, with the parameters above: to verify against it takes as long
/// as against a user's.
const NO_PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether a password is the stored one. Where Argon2id is in use, for any user, each refusal takes
/// one Argon2id: time then tells neither whether there is a user nor which scheme the user's row
/// has.
pub fn verify(stored: Option<&str>, password: &str, argon2id_in_use: bool) -> bool {
    let digest = md5_hex(password);
    let stored = stored.unwrap_or_default();
    if Scheme::of(stored) == Scheme::Argon2id {
        return verify_argon2id(&digest, stored);
    }
    // A digest has 32 characters: the empty text is never the same.
    let fits = constant_time_eq(&digest, stored);
    if !fits && argon2id_in_use {
        black_box(verify_argon2id(&digest, NO_PASSWORD));
    }
    fits
}

#[cfg(test)]
thread_local! {
    /// How often this thread has verified an Argon2id hash.
    pub(crate) static VERIFIED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

fn verify_argon2id(digest: &str, stored: &str) -> bool {
    #[cfg(test)]
    VERIFIED.set(VERIFIED.get() + 1);
    let _turn = HASHING.acquire();
    argon2().verify_password(digest.as_bytes(), stored).is_ok()
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, None)
        .expect("constants within their ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn md5_hex(password: &str) -> String {
    hex(&Md5::digest(password))
}

/// Hashes at once: each takes 19 MiB and a whole core, and the memory of a process has a limit.
const HASHES: usize = 4;
/// As many hashes at once as there are cores, and not more than [`HASHES`].
static HASHING: LazyLock<Semaphore<()>> = LazyLock::new(|| {
    Semaphore::new(
        thread::available_parallelism()
            .map_or(1, usize::from)
            .min(HASHES),
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_is_the_lower_case_hex_digest() {
        assert_eq!(Scheme::Md5.hash("pass"), "1a1dc91c907325c69271ddf0c944bc72");
        assert_eq!(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    /// What `verify` says, and how many Argon2id it took.
    fn verified(stored: Option<&str>, password: &str, argon2id_in_use: bool) -> (bool, u32) {
        let before = VERIFIED.get();
        (
            verify(stored, password, argon2id_in_use),
            VERIFIED.get() - before,
        )
    }

    #[test]
    fn each_scheme_knows_its_own_passwords() {
        for scheme in [Scheme::Md5, Scheme::Argon2id] {
            let stored = scheme.hash("pass");
            assert_eq!(Scheme::of(&stored), scheme);
            for in_use in [false, true] {
                assert!(verify(Some(&stored), "pass", in_use));
                assert!(!verify(Some(&stored), "Pass", in_use));
                assert!(!verify(None, "pass", in_use));
                assert!(
                    !verify(None, "", in_use),
                    "an unknown user has no password, not an empty one"
                );
            }
        }
    }

    #[test]
    fn each_refusal_takes_one_argon2id_where_it_is_in_use_and_none_elsewhere() {
        let (md5, argon2id) = (Scheme::Md5.hash("pass"), Scheme::Argon2id.hash("pass"));
        for stored in [None, Some(&*md5), Some(&*argon2id)] {
            assert_eq!(verified(stored, "wrong", true), (false, 1), "{stored:?}");
        }
        assert_eq!(verified(Some(&md5), "pass", true), (true, 0));
        assert_eq!(verified(Some(&argon2id), "pass", true), (true, 1));
        assert_eq!(
            (
                verified(None, "wrong", false),
                verified(Some(&md5), "wrong", false)
            ),
            ((false, 0), (false, 0))
        );
        let parameters = |hash: &str| {
            hash.split('$')
                .take(4)
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(parameters(NO_PASSWORD), parameters(&argon2id));
        assert_eq!(NO_PASSWORD.len(), argon2id.len());
        assert!(phc::PasswordHash::new(NO_PASSWORD).is_ok());
    }

    #[test]
    fn argon2id_wraps_the_digest_with_the_decided_parameters() {
        let stored = Scheme::Argon2id.wrap(md5_hex("pass"));
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(verify(Some(&stored), "pass", false));
        assert_ne!(stored, Scheme::Argon2id.hash("pass"), "a salt of its own");
    }
}
