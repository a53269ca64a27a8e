//! Hashing and verifying passwords: MD5 as the interface document has it, or Argon2id over that
//! digest.

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

/// Argon2id with 19 MiB, two passes and one lane: the first choice in OWASP's password storage
/// cheat sheet.
const ARGON2_KIB: u32 = 19 * 1024;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;

impl Scheme {
    /// Hashes a password for the database.
    pub fn hash(self, password: &str) -> String {
        self.wrap(md5_hex(password))
    }

    /// Hashes a password whose MD5 digest is known.
    pub fn wrap(self, md5_hex: String) -> String {
        if self == Scheme::Md5 {
            return md5_hex;
        }
        let mut salt = [0; 16];
        fill_random(&mut salt);
        let _permit = HASH_PERMITS.acquire();
        let hash: phc::PasswordHash = argon2()
            .hash_password_with_salt(md5_hex.as_bytes(), &salt)
            .expect("valid parameters and enough memory");
        hash.to_string()
    }
}

/// An Argon2id hash with the parameters above that no password matches. Verifying it takes as long
/// as verifying a user's hash.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether a password matches the stored hash. If any user has an Argon2id hash, each refusal
/// computes exactly one, so that its time reveals neither whether the user exists nor which scheme
/// the user's row has.
pub fn verify(stored: Option<&str>, password: &str, argon2id_in_use: bool) -> bool {
    let digest = md5_hex(password);
    let stored = stored.unwrap_or_default();
    if Scheme::of(stored) == Scheme::Argon2id {
        return verify_argon2id(&digest, stored);
    }
    // A digest has 32 characters, so an unknown user's empty text never matches.
    let matches = constant_time_eq(&digest, stored);
    if !matches && argon2id_in_use {
        black_box(verify_argon2id(&digest, DUMMY_HASH));
    }
    matches
}

#[cfg(test)]
thread_local! {
    /// How many Argon2id hashes this thread has verified.
    pub(crate) static VERIFIED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

fn verify_argon2id(digest: &str, stored: &str) -> bool {
    #[cfg(test)]
    VERIFIED.set(VERIFIED.get() + 1);
    let _permit = HASH_PERMITS.acquire();
    argon2().verify_password(digest.as_bytes(), stored).is_ok()
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, None)
        .expect("the parameters are within their ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn md5_hex(password: &str) -> String {
    hex(&Md5::digest(password))
}

/// The most hashes at the same time: each takes 19 MiB and a whole core, and a worker's memory is
/// limited.
const MAX_CONCURRENT_HASHES: usize = 4;
/// As many permits as there are cores, but at most [`MAX_CONCURRENT_HASHES`].
static HASH_PERMITS: LazyLock<Semaphore<()>> = LazyLock::new(|| {
    Semaphore::new(
        thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_CONCURRENT_HASHES),
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

    /// The result of `verify`, and how many Argon2id hashes it computed.
    fn verify_counted(stored: Option<&str>, password: &str, argon2id_in_use: bool) -> (bool, u32) {
        let before = VERIFIED.get();
        (
            verify(stored, password, argon2id_in_use),
            VERIFIED.get() - before,
        )
    }

    #[test]
    fn each_scheme_verifies_its_own_hashes() {
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
    fn each_refusal_computes_one_argon2id_hash_if_any_user_has_one_and_none_otherwise() {
        let (md5, argon2id) = (Scheme::Md5.hash("pass"), Scheme::Argon2id.hash("pass"));
        for stored in [None, Some(&*md5), Some(&*argon2id)] {
            assert_eq!(
                verify_counted(stored, "wrong", true),
                (false, 1),
                "{stored:?}"
            );
        }
        assert_eq!(verify_counted(Some(&md5), "pass", true), (true, 0));
        assert_eq!(verify_counted(Some(&argon2id), "pass", true), (true, 1));
        assert_eq!(
            (
                verify_counted(None, "wrong", false),
                verify_counted(Some(&md5), "wrong", false)
            ),
            ((false, 0), (false, 0))
        );
        let parameters = |hash: &str| {
            hash.split('$')
                .take(4)
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(parameters(DUMMY_HASH), parameters(&argon2id));
        assert_eq!(DUMMY_HASH.len(), argon2id.len());
        assert!(phc::PasswordHash::new(DUMMY_HASH).is_ok());
    }

    #[test]
    fn argon2id_wraps_the_digest_with_the_decided_parameters() {
        let stored = Scheme::Argon2id.wrap(md5_hex("pass"));
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(verify(Some(&stored), "pass", false));
        assert_ne!(
            stored,
            Scheme::Argon2id.hash("pass"),
            "each hash has its own salt"
        );
    }
}
