//! Variables of the environment: the settings among them, and names that are nearly a setting's.

use super::settings::{Kind, SETTINGS, Setting};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// What the names of all variables begin with.
const PREFIX: &str = "ACCOUNTD_";
/// What the name of a variable ends with whose value is the path of a file with a secret.
const IN_FILE: &str = "_FILE";

/// Looks a variable up in the environment of this process.
///
/// # Errors
/// A sentence that names a variable that looks like a setting and is not one.
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
                "environment variable {name} is not a setting; the nearest one is {near}; correct the name, or unset it"
            ));
        }
    }
    Ok(found)
}

/// The names of a setting's variables.
fn names(setting: &Setting) -> impl Iterator<Item = String> + use<> {
    let name = format!("{PREFIX}{}", setting.name.to_uppercase());
    let in_file = matches!(setting.kind, Kind::Secret).then(|| format!("{name}{IN_FILE}"));
    [name].into_iter().chain(in_file)
}

/// Whether a variable is one of those by which Kubernetes tells a container of a service
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>). If
/// the service's name begins with `accountd`, they begin as ours do.
fn is_of_kubernetes(rest: &str, value: &OsString) -> bool {
    let is_port = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.split("PORT_").skip(1).any(is_port)
        || (rest.ends_with("PORT") && value.as_bytes().windows(3).any(|part| part == b"://"))
}

/// A setting's variable and its text, if it is set.
pub(super) fn read(
    setting: &Setting,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, String> {
    let mut set = Vec::new();
    for name in names(setting) {
        let text = environment(&name).map(|text| bare(&text).to_string());
        set.extend(
            text.filter(|text| !text.is_empty())
                .map(|text| (name, text)),
        );
    }
    if let [(one, _), (other, _)] = &*set {
        return Err(format!("{one} and {other} are both set; leave one"));
    }
    let Some((name, text)) = set.pop() else {
        return Ok(None);
    };
    if !(matches!(setting.kind, Kind::Secret) && name.ends_with(IN_FILE)) {
        return Ok(Some((name, text)));
    }
    let secret = fs::read_to_string(&text)
        .map_err(|error| format!("environment variable {name}: {text} cannot be read: {error}"))?;
    match bare(&secret) {
        "" => Err(format!(
            "environment variable {name}: {text} is empty; write the secret into it, or unset the variable"
        )),
        secret => Ok(Some((name, secret.into()))),
    }
}

/// A text without what editors and shells put around it: a byte order mark, and line breaks at its
/// end.
fn bare(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n'])
}

/// The one of these names that takes the fewest changes of a character.
pub(super) fn nearest(name: &str, names: impl Iterator<Item = String>) -> String {
    names
        .min_by_key(|other| distance(name, other))
        .unwrap_or_default()
}

/// The Levenshtein distance of two texts.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // One row of the table, from the beginning of `one` to the whole of it.
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
    fn a_misspelt_variable_is_refused_with_the_nearest_name() {
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
            // A secret alone may stand in a file.
            ("ACCOUNTD_THREADS_FILE", "ACCOUNTD_THREADS"),
            (
                "ACCOUNTD_MIN_PASSWORT_LENGTH",
                "ACCOUNTD_MIN_PASSWORD_LENGTH",
            ),
        ] {
            let expected = format!(
                "environment variable {name} is not a setting; the nearest one is {near}; correct the name, or unset it"
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
    fn variables_that_are_not_ours_or_empty_are_left_alone() {
        for (name, value) in [
            ("PATH", "/bin"),
            ("ACCOUNTD", "x"),
            ("MY_ACCOUNTD_THREAD", "x"),
            ("ACCOUNTD_THREAD", ""),
            ("ACCOUNTD_THREADS", ""),
            // Of Kubernetes services `accountd` and `accountd-metrics`.
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
