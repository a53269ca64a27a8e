//! One-time codes of a second factor (TOTP, RFC 6238), and recovery codes.

use crate::crypto::{constant_time_eq, fill_random};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Bytes of a secret: as many as HMAC-SHA1 returns, which RFC 4226 recommends.
pub const SECRET_BYTES: usize = 20;
/// Seconds of a time step, the default of RFC 6238.
const STEP: i64 = 30;
/// Digits of a code, the default of authenticator apps.
const DIGITS: u32 = 6;
/// Steps before and after the current one whose codes are accepted too, since clocks differ and
/// people type slowly.
const DRIFT: i64 = 1;

/// How many recovery codes an account gets.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code, five bits each.
const RECOVERY_LENGTH: usize = 12;
/// Characters between two hyphens of a recovery code.
const RECOVERY_GROUP: usize = 4;

/// RFC 4648's alphabet, which authenticator apps read.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Crockford's alphabet, which has no two characters that look alike.
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a person has typed as the code of a second factor.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Six digits: the code of a moment.
    Code(String),
    /// A recovery code in its normal form.
    Recovery(String),
    /// Neither of both.
    Neither,
}

impl Typed {
    /// Reads what was typed. Spaces, hyphens and the case of letters do not matter.
    pub fn read(text: &str) -> Typed {
        let relevant = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        // One more than the longest, so that longer texts are neither.
        let typed: String = relevant
            .take(RECOVERY_LENGTH + 1)
            .map(|c| match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                c => c,
            })
            .collect();
        let is_code = typed.len() == DIGITS as usize && typed.bytes().all(|b| b.is_ascii_digit());
        if is_code {
            Typed::Code(typed)
        } else if typed.len() == RECOVERY_LENGTH && typed.bytes().all(|b| CROCKFORD.contains(&b)) {
            Typed::Recovery(typed)
        } else {
            Typed::Neither
        }
    }
}

/// A new secret.
pub fn new_secret() -> [u8; SECRET_BYTES] {
    let mut secret = [0; SECRET_BYTES];
    fill_random(&mut secret);
    secret
}

/// A secret in base32 without padding, as people type it into an app.
pub fn base32(secret: &[u8]) -> String {
    encode(secret, BASE32)
}

/// New recovery codes in their normal form.
pub fn new_recovery_codes() -> [String; RECOVERY_CODES] {
    [(); RECOVERY_CODES].map(|()| {
        // 60 bits.
        let mut random = [0; RECOVERY_LENGTH * 5 / 8 + 1];
        fill_random(&mut random);
        let mut code = encode(&random, CROCKFORD);
        code.truncate(RECOVERY_LENGTH);
        code
    })
}

/// A recovery code as it is shown: `abcd-efgh-jkmn`.
pub fn with_hyphens(code: &str) -> String {
    let groups: Vec<&str> = (0..code.len())
        .step_by(RECOVERY_GROUP)
        .map(|at| &code[at..code.len().min(at + RECOVERY_GROUP)])
        .collect();
    groups.join("-")
}

/// The time step whose code this is, of those that are accepted at this time in Unix seconds. If
/// there are two, the later one. It takes the same time for every code.
pub fn matching_step(secret: &[u8], code: &str, now: i64) -> Option<i64> {
    let current = now.div_euclid(STEP);
    let mut found = None;
    for step in current - DRIFT..=current + DRIFT {
        if constant_time_eq(&code_of(secret, step), code) {
            found = Some(step);
        }
    }
    found
}

/// The code of a time in Unix seconds, as an authenticator app shows it.
#[cfg(test)]
pub fn code_at(secret: &[u8], now: i64) -> String {
    code_of(secret, now.div_euclid(STEP))
}

/// The code of a time step.
fn code_of(secret: &[u8], step: i64) -> String {
    let number = truncated(secret, step) % 10_u32.pow(DIGITS);
    format!("{number:0width$}", width = DIGITS as usize)
}

/// The dynamic truncation of RFC 4226, section 5.3: 31 bits of the digest.
fn truncated(secret: &[u8], step: i64) -> u32 {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("a key of HMAC has any length");
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[digest.len() - 1] & 0xf);
    let four = digest[at..at + 4].try_into().expect("the slice has four");
    u32::from_be_bytes(four) & 0x7fff_ffff
}

/// Five bits a character, the last ones filled up with zeros.
fn encode(bytes: &[u8], alphabet: &[u8; 32]) -> String {
    let (mut text, mut buffer, mut bits) = (String::new(), 0_u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(alphabet[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(alphabet[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238's test vectors.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (now, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(truncated(SECRET, now / STEP) % 100_000_000, code, "{now}");
            assert_eq!(
                code_of(SECRET, now / STEP),
                format!("{:06}", code % 1_000_000)
            );
        }
    }

    #[test]
    fn clocks_may_differ_by_one_step() {
        let now = 1_800_000_000;
        for (drift, accepted) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let step = now / STEP + drift;
            let found = matching_step(SECRET, &code_of(SECRET, step), now);
            assert_eq!(found, accepted.then_some(step), "{drift}");
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for (text, expected) in [
            ("123456", Typed::Code("123456".into())),
            (" 123 456\t", Typed::Code("123456".into())),
            ("123-456", Typed::Code("123456".into())),
            ("ABCD-EFGH-JKMN", Typed::Recovery("abcdefghjkmn".into())),
            ("abcd efgh o0Il", Typed::Recovery("abcdefgh0011".into())),
            ("12345", Typed::Neither),
            ("1234567", Typed::Neither),
            ("１２３４５６", Typed::Neither),
            ("abcd-efgh-jkmu", Typed::Neither),
            ("abcd-efgh-jkmn-p", Typed::Neither),
            ("", Typed::Neither),
        ] {
            assert_eq!(Typed::read(text), expected, "{text}");
        }
    }

    #[test]
    fn recovery_codes_differ_and_are_read_as_they_are_shown() {
        let codes = new_recovery_codes();
        for (nth, code) in codes.iter().enumerate() {
            let shown = with_hyphens(code);
            assert_eq!((shown.len(), &shown[4..5], &shown[9..10]), (14, "-", "-"));
            assert_eq!(Typed::read(&shown), Typed::Recovery(code.clone()));
            assert!(!codes[..nth].contains(code));
        }
    }
}
