//! Random texts, digests and constant-time comparison.

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::{self, Read};
use subtle::ConstantTimeEq;

/// The 62 characters of random texts.
const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Copies a stream, and returns its length and its SHA-256 digest in lower-case hex.
pub fn copy_with_checksum(
    from: &mut dyn Read,
    to: &mut dyn io::Write,
) -> io::Result<(u64, String)> {
    let (mut digest, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 128 * 1024]);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((size, hex(&digest.finalize()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        size += count as u64;
    }
}

/// The SHA-256 digest of a token or of a captcha's key, which is stored instead of it.
pub fn sha256(content: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(content).into()
}

/// Compares two texts in constant time.
pub fn constant_time_eq(one: &str, other: &str) -> bool {
    // Digests have the same length; comparing texts would end early if their lengths differ.
    sha256(one).ct_eq(&sha256(other)).into()
}

/// A text of random letters and digits, uniformly distributed.
pub fn random_alphanumeric(count: usize) -> String {
    let mut text = String::with_capacity(count);
    let mut bytes = [0; 64];
    while text.len() < count {
        fill_random(&mut bytes);
        // Rejection sampling: 248 is the largest multiple of 62 in a byte, and the values above it
        // would favour the first letters.
        let uniform = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| char::from(ALPHANUMERIC[usize::from(byte % 62)]));
        text.extend(uniform.take(count - text.len()));
    }
    text
}

/// Fills a buffer from the operating system's random source. Panics if there is none.
pub fn fill_random(buffer: &mut [u8]) {
    SysRng
        .try_fill_bytes(buffer)
        .expect("the operating system's random source");
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_have_every_letter_and_digit_equally_often() {
        let text = random_alphanumeric(20_000);
        assert_eq!(text.len(), 20_000);
        for letter in ALPHANUMERIC {
            let count = text.bytes().filter(|byte| byte == letter).count();
            assert!(
                (200..=460).contains(&count),
                "{} occurs {count} times in 20,000",
                char::from(*letter)
            );
        }
    }

    #[test]
    fn checksums_are_those_of_sha256sum() {
        let mut copy = Vec::new();
        let (size, sum) = copy_with_checksum(&mut &b"abc"[..], &mut copy).unwrap();
        assert_eq!((size, &*copy), (3, &b"abc"[..]));
        assert_eq!(
            sum,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn only_equal_texts_compare_equal() {
        assert!(constant_time_eq("key", "key"));
        assert!(
            !constant_time_eq("key", "ke")
                && !constant_time_eq("key", "kez")
                && !constant_time_eq("", "k")
        );
    }
}
