//! Settings in environment variables, and the refusal of misspelt names.

use super::settings::{Kind, SETTINGS, Setting};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// The prefix of all variables.
const PREFIX: &str = "ACCOUNTD_";
/// The suffix of variables whose value is the path of a file with a secret.
const FILE_SUFFIX: &str = "_FILE";

/// A function that looks up a setting's variable in the environment of this process. It is an error
/// if a variable looks like a setting but is not one.
pub fn environment() -> Result<impl Fn(&str) -> Option<String>, String> {
    let found = variables(std::env::vars_os())?;
    Ok(move |name: &str| found.get(name).cloned())
}

/// The settings among these variables.
fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let all = all.filter(|(name, value)| {
        name.as_bytes().starts_with(PREFIX.as_bytes()) && !value.is_empty()
    });
    for (name, value) in all {
        let name = name.to_string_lossy().into_owned();
        if SETTINGS.iter().flat_map(names).any(|known| known == name) {
            let value = value
                .into_string()
                .map_err(|_| format!("environment variable {name}: its value is not UTF-8"))?;
            found.insert(name, value);
        } else if !is_of_kubernetes(&name[PREFIX.len()..], &value) {
            let near = nearest(&name.to_uppercase(), SETTINGS.iter().flat_map(names));
            let name = name.escape_debug();
            return Err(format!(
                "environment variable {name} is not a setting; did you mean {near}? Correct the name, or unset the variable"
            ));
        }
    }
    Ok(found)
}

/// The names of a setting's variables.
fn names(setting: &Setting) -> impl Iterator<Item = String> + use<> {
    let name = format!("{PREFIX}{}", setting.name.to_uppercase());
    let in_file = matches!(setting.kind, Kind::Secret).then(|| format!("{name}{FILE_SUFFIX}"));
    [name].into_iter().chain(in_file)
}

/// Whether Kubernetes sets this variable in containers to announce a service
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>). If
/// the service's name begins with `accountd`, the variables have our prefix.
fn is_of_kubernetes(rest: &str, value: &OsString) -> bool {
    let is_port = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.split("PORT_").skip(1).any(is_port)
        || (rest.ends_with("PORT") && value.as_bytes().windows(3).any(|part| part == b"://"))
}

/// The name and text of a setting's variable, if it is set.
pub(super) fn read(
    setting: &Setting,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, String> {
    let mut set = Vec::new();
    for name in names(setting) {
        let text = environment(&name).map(|text| trim(&text).to_string());
        set.extend(
            text.filter(|text| !text.is_empty())
                .map(|text| (name, text)),
        );
    }
    if let [(one, _), (other, _)] = &*set {
        return Err(format!("{one} and {other} are both set; unset one"));
    }
    let Some((name, text)) = set.pop() else {
        return Ok(None);
    };
    if !(matches!(setting.kind, Kind::Secret) && name.ends_with(FILE_SUFFIX)) {
        return Ok(Some((name, text)));
    }
    let secret = fs::read_to_string(&text)
        .map_err(|error| format!("environment variable {name}: {text} cannot be read: {error}"))?;
    match trim(&secret) {
        "" => Err(format!(
            "environment variable {name}: {text} is empty; write the secret into it, or unset the variable"
        )),
        secret => Ok(Some((name, secret.into()))),
    }
}

/// Removes what editors and shells add to a text: a byte order mark, and line breaks at the end.
fn trim(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n'])
}

/// The name with the smallest Levenshtein distance.
pub(super) fn nearest(name: &str, names: impl Iterator<Item = String>) -> String {
    names
        .min_by_key(|other| distance(name, other))
        .unwrap_or_default()
}

/// The Levenshtein distance of two texts.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // One row of the table of distances; it is updated for each character of `one`.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (nth, left) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], nth + 1);
        for (at, right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn one(name: &[u8], value: &[u8]) -> Result<BTreeMap<String, String>, String> {
        variables(
            [(
                OsString::from_vec(name.into()),
                OsString::from_vec(value.into()),
            )]
            .into_iter(),
        )
    }

    #[test]
    fn every_setting_has_its_variable() {
        for name in SETTINGS.iter().flat_map(names) {
            assert_eq!(
                one(name.as_bytes(), b"x")
                    .unwrap()
                    .get(&name)
                    .map(String::as_str),
                Some("x"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_a_suggestion() {
        for (name, near) in [
            ("ACCOUNTD_THREAD", "ACCOUNTD_THREADS"),
            ("ACCOUNTD_threads", "ACCOUNTD_THREADS"),
            ("ACCOUNTD_LISTEN_ON", "ACCOUNTD_LISTEN"),
            ("ACCOUNTD_TRUSTED_PROXY", "ACCOUNTD_TRUSTED_PROXIES"),
            ("ACCOUNTD_SOKET_MODE", "ACCOUNTD_SOCKET_MODE"),
            (
                "ACCOUNTD_FORGET_PASSWORD_KEY_FIEL",
                "ACCOUNTD_FORGET_PASSWORD_KEY_FILE",
            ),
            // Only secrets can be read from files.
            ("ACCOUNTD_THREADS_FILE", "ACCOUNTD_THREADS"),
            (
                "ACCOUNTD_MIN_PASSWORT_LENGTH",
                "ACCOUNTD_MIN_PASSWORD_LENGTH",
            ),
        ] {
            let expected = format!(
                "environment variable {name} is not a setting; did you mean {near}? Correct the name, or unset the variable"
            );
            assert_eq!(one(name.as_bytes(), b"a secret"), Err(expected));
        }
        for name in [
            "ACCOUNTD_",
            "ACCOUNTD_PORT",
            "ACCOUNTD_SERVICE",
            "ACCOUNTD_DATA",
        ] {
            assert!(one(name.as_bytes(), b"8080").is_err(), "{name}");
        }
        let error = one(b"ACCOUNTD_\xff\x1b[2J", b"x").unwrap_err();
        assert!(
            error.starts_with("environment variable ACCOUNTD_\u{fffd}\\u{1b}[2J is not a setting;"),
            "{error}"
        );
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_refused_and_not_shown() {
        let error = one(b"ACCOUNTD_FORGET_PASSWORD_KEY", b"secret\xff").unwrap_err();
        assert_eq!(
            error,
            "environment variable ACCOUNTD_FORGET_PASSWORD_KEY: its value is not UTF-8"
        );
    }

    #[test]
    fn unrelated_and_empty_variables_are_ignored() {
        for (name, value) in [
            ("PATH", "/bin"),
            ("ACCOUNTD", "x"),
            ("MY_ACCOUNTD_THREAD", "x"),
            ("ACCOUNTD_THREAD", ""),
            ("ACCOUNTD_THREADS", ""),
            // From Kubernetes services `accountd` and `accountd-metrics`.
            ("ACCOUNTD_SERVICE_HOST", "10.0.0.11"),
            ("ACCOUNTD_SERVICE_PORT", "9999"),
            ("ACCOUNTD_SERVICE_PORT_HTTP", "9999"),
            ("ACCOUNTD_PORT", "tcp://10.0.0.11:9999"),
            ("ACCOUNTD_PORT_9999_TCP", "tcp://10.0.0.11:9999"),
            ("ACCOUNTD_PORT_9999_TCP_PROTO", "tcp"),
            ("ACCOUNTD_METRICS_SERVICE_HOST", "10.0.0.12"),
            ("ACCOUNTD_METRICS_PORT_9100_TCP_ADDR", "10.0.0.12"),
        ] {
            assert_eq!(
                one(name.as_bytes(), value.as_bytes()),
                Ok(BTreeMap::new()),
                "{name}"
            );
        }
    }

    #[test]
    fn distances() {
        for (one, other, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("abc", "acb", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
