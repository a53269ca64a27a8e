//! Secrets that the database keeps encrypted, each for one user.

use crate::crypto::{fill_random, sha256};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

/// Bytes of a nonce. Random ones of this length do not repeat in practice.
const NONCE_BYTES: usize = 24;

/// Encrypts a secret for a user with the key of the configuration. The result begins with the
/// nonce.
pub fn seal(key: &str, user: i64, secret: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce);
    let payload = Payload {
        msg: secret,
        aad: &associated(user),
    };
    let sealed = cipher(key)
        .encrypt(&XNonce::from(nonce), payload)
        .expect("a short secret can be encrypted");
    [&nonce[..], &sealed].concat()
}

/// Decrypts a secret. `None` if the key or the user is not the one of its encryption, or if it is
/// damaged.
pub fn open(key: &str, user: i64, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload {
        msg: sealed,
        aad: &associated(user),
    };
    cipher(key).decrypt(&XNonce::from(*nonce), payload).ok()
}

/// The key is a text of any length. It is random, so a fast digest is enough.
fn cipher(key: &str) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&sha256(key).into())
}

/// A row that is copied to another user cannot be decrypted.
fn associated(user: i64) -> [u8; 8] {
    user.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_user_open_what_was_sealed() {
        let sealed = seal("key", 7, b"secret");
        assert_eq!(open("key", 7, &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(open("other key", 7, &sealed), None);
        assert_eq!(open("key", 8, &sealed), None);
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(open("key", 7, &damaged), None, "byte {at}");
            assert_eq!(open("key", 7, &sealed[..at]), None, "{at} bytes");
        }
        assert_ne!(seal("key", 7, b"secret"), sealed, "each has its own nonce");
    }
}
