//! The password policy for new passwords. By default every password is accepted.

use crate::config::Config;
use crate::http::encoding::decompress_text;

/// Compressed, since few servers use it: one password per line, in lower case. The comment lines at
/// the top start with `#`.
static COMMON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/common-passwords.txt.gz"));

/// The list of the most common passwords.
pub fn common_passwords() -> String {
    decompress_text(COMMON)
}

/// The passwords in the list, the most common first.
pub fn words(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.starts_with('#'))
}

/// Checks a new password of the user with this name. The error completes a sentence that starts
/// with "the password".
pub fn check(config: &Config, password: &str, name: &str) -> Result<(), &'static str> {
    if password.chars().count() < config.min_password_length {
        return Err("has fewer characters than min_password_length requires");
    }
    if config.refuse_common_passwords {
        let lower = password.to_lowercase();
        if name.to_lowercase() == lower {
            return Err("is the user's own name (refuse_common_passwords)");
        }
        if words(&common_passwords()).any(|word| word == lower) {
            return Err("is one of the most common passwords (refuse_common_passwords)");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    fn config(text: &'static [(&str, &str)]) -> Config {
        let variable = |name: &str| {
            text.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_string())
        };
        config::load(Path::new("/no-such-folder"), &variable, &[])
            .unwrap()
            .0
    }

    #[test]
    fn by_default_every_password_is_accepted() {
        let config = config(&[]);
        for password in ["", "1", "123456", "rei"] {
            assert!(check(&config, password, "rei").is_ok(), "{password}");
        }
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let config = config(&[("ACCOUNTD_MIN_PASSWORD_LENGTH", "4")]);
        assert!(
            check(&config, "阿巴阿", "rei").is_err() && check(&config, "阿巴阿巴", "rei").is_ok()
        );
        assert!(
            check(&config, "1234", "1234").is_ok(),
            "common passwords are refused by another setting"
        );
    }

    #[test]
    fn common_passwords_and_the_user_name_are_refused_ignoring_case() {
        let config = config(&[("ACCOUNTD_REFUSE_COMMON_PASSWORDS", "true")]);
        for password in ["123456", "PassWord", "qwerty", "Rei"] {
            assert!(check(&config, password, "rEI").is_err(), "{password}");
        }
        for password in ["", "password ", "correct horse", "rei's"] {
            assert!(check(&config, password, "rei").is_ok(), "{password}");
        }
    }

    #[test]
    fn the_list_has_the_documented_length_and_is_in_lower_case() {
        let text = common_passwords();
        let list: Vec<&str> = words(&text).collect();
        assert_eq!(list.len(), 2500);
        assert!(
            list.iter()
                .all(|password| !password.is_empty() && *password == password.to_lowercase())
        );
    }
}
