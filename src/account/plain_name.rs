//! Plain names, which no program behind a proxy trims, folds or splits.

/// The most characters of a plain name.
pub const MAX_LENGTH: usize = 64;

/// The form of a plain name, as the end of a sentence that begins with "it must have".
pub const FORM: &str =
    "1 to 64 characters of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit";

/// Whether a name is plain: a-z, 0-9, `.`, `_`, `-`; at most [`MAX_LENGTH`]; starts with a letter
/// or digit. Names of groups are always plain, names of users with the setting `usernames: plain`.
pub fn is_plain(name: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= MAX_LENGTH
        && name.bytes().next().is_some_and(is_alphanumeric)
        && name
            .bytes()
            .all(|byte| is_alphanumeric(byte) || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_has_lower_case_letters_digits_and_three_signs() {
        for name in ["a", "7", "rei", "r.e_i-2", "0-", "a..", &"a".repeat(64)] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "",
            ".",
            "-a",
            "_a",
            ".a",
            "Rei",
            "rei ",
            " rei",
            "a,b",
            "a b",
            "a@b",
            "a+b",
            "a/b",
            "a:b",
            "a\n",
            "a\0",
            "é",
            "ｒ",
            "丽",
            "a\u{200b}",
            &"a".repeat(65),
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
