//! Captchas: handed out with a key, answered once.

pub mod draw;
mod glyphs;

use crate::api::body::json::Form;
use crate::app::App;
use crate::contract;
use crate::contract::{CAPTCHA, Done, No};
use crate::crypto;
use crate::http::network::Source;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Characters of an answer, `contract.md`.
const LETTERS: usize = 6;

/// A fresh captcha, remembered until it is answered or too old.
///
/// # Errors
/// [`No::Moved`].
pub fn hand_out(app: &App, source: Source, now: i64) -> Result<Done, No> {
    let mut seed = [0; 32];
    crypto::fill_random(&mut seed);
    let mut random = SmallRng::from_seed(seed);
    let mut pick = || char::from(draw::ALPHABET[random.random_range(..draw::ALPHABET.len())]);
    let answer = app
        .captcha_answer
        .clone()
        .unwrap_or_else(|| (0..LETTERS).map(|_| pick()).collect());
    let picture = draw::draw(&answer, &mut random);
    let key = crypto::random_alphanumeric(contract::CAPTCHA_KEY_LENGTH);
    app.captchas()?
        .put(crypto::sha256(&key), answer, source, now);
    Ok(Done::Captcha { key, picture })
}

/// Takes the captcha that a form answers; whatever the answer, the captcha is used up.
///
/// # Errors
/// [`No::CaptchaAbsent`] if a field of it is absent, [`No::CaptchaWrong`], [`No::Moved`].
pub fn spend(app: &App, form: &Form, now: i64) -> Result<(), No> {
    let [key, answer] = CAPTCHA.map(|name| form.get(name));
    if key.is_empty() || answer.is_empty() {
        return Err(No::CaptchaAbsent);
    }
    let key = crypto::sha256(key);
    let expected = app.captchas()?.take(&key, now).ok_or(No::CaptchaWrong)?;
    if is_same(&expected, answer) {
        Ok(())
    } else {
        Err(No::CaptchaWrong)
    }
}

/// Whether a form answers a captcha rightly, which stays as it is. It tells the client nothing,
/// since [`spend`] follows.
#[must_use]
pub fn is_right(app: &App, form: &Form, now: i64) -> bool {
    let [key, answer] = CAPTCHA.map(|name| form.get(name));
    let key = crypto::sha256(key);
    app.captchas().is_ok_and(|mut captchas| {
        captchas
            .get(&key, now)
            .is_some_and(|expected| is_same(expected, answer))
    })
}

/// Whether two answers are the same, whatever their case.
fn is_same(expected: &str, answer: &str) -> bool {
    crypto::constant_time_eq(&expected.to_lowercase(), &answer.to_lowercase())
}
