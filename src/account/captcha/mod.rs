//! Captchas: a picture with characters, and the key that a client sends with its answer.

pub mod draw;
mod glyphs;

use crate::contract::CAPTCHA_KEY_LENGTH;
use crate::crypto;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Characters of an answer, `contract.md`.
const ANSWER_LENGTH: usize = 6;

/// A captcha that has just been drawn.
pub struct Captcha {
    /// Identifies the captcha; the client sends it with its answer.
    pub key: String,
    /// The characters in the picture.
    pub answer: String,
    /// A PNG file.
    pub picture: Vec<u8>,
}

impl Captcha {
    /// A new captcha. The answer is random, unless `answer` is a fixed one for a smoke test.
    pub fn new(answer: Option<&str>) -> Captcha {
        let mut seed = [0; 32];
        crypto::fill_random(&mut seed);
        let mut random = SmallRng::from_seed(seed);
        let mut pick = || char::from(draw::ALPHABET[random.random_range(..draw::ALPHABET.len())]);
        let random_answer = || (0..ANSWER_LENGTH).map(|_| pick()).collect();
        let answer = answer.map_or_else(random_answer, String::from);
        Captcha {
            key: crypto::random_alphanumeric(CAPTCHA_KEY_LENGTH),
            picture: draw::draw(&answer, &mut random),
            answer,
        }
    }
}

/// Whether two answers are equal, ignoring case.
pub fn answers_match(expected: &str, answer: &str) -> bool {
    crypto::constant_time_eq(&expected.to_lowercase(), &answer.to_lowercase())
}
