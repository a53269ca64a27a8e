//! The header `Authorization`: a token, or a user name and a key.

use base64ct::{Base64, Encoding};

/// What a client identifies itself with.
#[derive(Debug, PartialEq, Eq)]
pub enum Authorization {
    /// `Bearer TOKEN` (RFC 6750, 2.1).
    Bearer(String),
    /// `Basic`, a name and a key (RFC 7617, 2).
    Basic(String, String),
}

impl Authorization {
    /// Parses the value; `None` if it is empty, malformed or of another scheme.
    pub fn parse(value: &str) -> Option<Authorization> {
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case("bearer") {
            return (!rest.is_empty()).then(|| Authorization::Bearer(rest.into()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(Base64::decode_vec(rest).ok()?).ok()?;
        let (name, key) = text.split_once(':')?;
        Some(Authorization::Basic(name.into(), key.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_schemes_are_parsed_and_nothing_else() {
        let basic = |name: &str, key: &str| Authorization::Basic(name.into(), key.into());
        for (value, expected) in [
            ("Bearer abc", Some(Authorization::Bearer("abc".into()))),
            ("bearer  abc ", Some(Authorization::Bearer("abc".into()))),
            ("Basic cmVpOmtleQ==", Some(basic("rei", "key"))),
            ("BASIC cmVpOms6ZXk=", Some(basic("rei", "k:ey"))),
            ("Basic Og==", Some(basic("", ""))),
            ("Basic 6Zi/OmtleQ==", Some(basic("阿", "key"))),
            ("Basic cmVp", None),
            ("Basic /w==", None),
            ("Basic !", None),
            ("Basic", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("Digest a", None),
            ("", None),
        ] {
            assert_eq!(Authorization::parse(value), expected, "{value}");
        }
    }
}
