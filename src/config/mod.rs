//! The configuration, from the table of settings, the file, the environment and the command line.

pub mod cookie_domain;
mod environment;
pub mod logo;
mod public_url;
mod scheme;
mod settings;

pub use environment::environment;
pub use public_url::PublicUrl;
pub use scheme::{ARGON2ID_PREFIX, Scheme};
pub use settings::{Kind, SETTINGS, Setting};

use crate::http::client_address::Proxy;
use crate::log::Level;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of the file in the data folder.
pub const FILE: &str = "config.json";

/// The configuration in force.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // SETTINGS documents them
pub struct Config {
    pub registration_function_status: bool,
    pub forgot_password_function_status: bool,
    pub secret_key_required_for_account_registration: Option<String>,
    pub forget_password_key: Option<String>,
    pub totp_key: Option<String>,
    pub usernames: Usernames,
    pub public_url: Option<PublicUrl>,
    pub cookie_domain: Option<String>,
    pub listen: Listen,
    pub socket_mode: Mode,
    pub socket_group: Option<String>,
    pub metrics_listen: Option<Listen>,
    pub threads: usize,
    pub token_ttl_seconds: i64,
    pub sessions_per_user: i64,
    pub password_hash: Scheme,
    pub min_password_length: usize,
    pub refuse_common_passwords: bool,
    pub audit_days: i64,
    pub max_avatar_bytes: u64,
    pub captcha_ttl_seconds: i64,
    pub max_captchas: usize,
    pub cors_origins: Vec<String>,
    pub trusted_proxies: Vec<Proxy>,
    pub throttle: bool,
    pub registrations_per_source: u32,
    pub registrations_per_hour: u32,
    pub supervise: bool,
    pub memory_limit_mib: u64,
    pub page: bool,
    pub title: Option<String>,
    pub logo: Option<String>,
    pub log: Level,
}

/// The default of `sessions_per_user` if `cookie_domain` is set: enough for a person's devices.
const SHARED_SESSIONS: i64 = 10;

/// The maximum length of a unix socket's path in bytes: sockaddr_un has 108, with a null byte at
/// the end (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// The names that new users may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usernames {
    /// Any name that is not too long, as the user API document has it.
    Any,
    /// Plain names alone.
    Plain,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Permission bits, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Mode, &'static str> {
        let octal = text.len() == 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = u32::from_str_radix(&text, 8)
            .ok()
            .filter(|mode| octal && *mode <= 0o777);
        mode.map(Mode).ok_or("not permissions in octal")
    }
}

/// The origin of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    Argument(&'static str),
}

/// A setting with its value and the origin of that.
pub struct ResolvedSetting {
    setting: &'static Setting,
    value: Value,
    origin: Origin,
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Listen, &'static str> {
        match text.strip_prefix("unix:") {
            Some(path) if (1..=MAX_SOCKET_PATH).contains(&path.len()) && !path.contains('\0') => {
                Ok(Listen::Unix(path.into()))
            }
            Some(_) => Err("not the path of a unix socket"),
            None => text.parse().map(Listen::Tcp).map_err(|_| "not IP:PORT"),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Listen, &'static str> {
        text.parse()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config { secrets hidden, the rest: see `accountd config` }")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{} line {line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Argument(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for ResolvedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ResolvedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResolvedSetting {
            setting,
            value,
            origin,
        } = self;
        match setting.kind {
            Kind::Secret if !value.is_null() => {
                write!(f, "{} = (hidden)  [{origin}]", setting.name)
            }
            Kind::Secret => write!(f, "{} = (not set)  [{origin}]", setting.name),
            _ => write!(f, "{} = {value}  [{origin}]", setting.name),
        }
    }
}

/// Loads the configuration: the defaults, overridden by the file, the environment and the
/// arguments, in this order. An error names the setting, its origin and the valid values.
pub fn load(
    data: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    arguments: &[(&'static str, &'static str, String)],
) -> Result<(Config, Vec<ResolvedSetting>), String> {
    parse(data, &file(data)?, environment, arguments)
}

/// The text of the file. A missing file counts as one without settings.
pub fn file(data: &Path) -> Result<String, String> {
    let path = data.join(FILE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("{}".into()),
        text => text.map_err(|error| format!("{}: cannot be read: {error}", path.display())),
    }
}

/// Loads the configuration as [`load`] does, with this text of the file.
pub fn parse(
    data: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    arguments: &[(&'static str, &'static str, String)],
) -> Result<(Config, Vec<ResolvedSetting>), String> {
    let path = data.join(FILE);
    let text = text.trim_start_matches('\u{feff}');
    let members = members(text).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = |raw: &RawValue| {
        1 + text[..raw.get().as_ptr() as usize - text.as_ptr() as usize]
            .matches('\n')
            .count()
    };

    for (at, (name, raw)) in members.iter().enumerate() {
        let place = Origin::File(path.clone(), line(raw));
        if !SETTINGS.iter().any(|setting| setting.name == name) {
            let near =
                environment::nearest(name, SETTINGS.iter().map(|setting| setting.name.into()));
            let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
            let names = names.join(", ");
            return Err(format!(
                "{place}: \"{name}\" is not a setting; did you mean \"{near}\"? The settings are {names}"
            ));
        }
        if members[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("{place}: \"{name}\" is set twice; remove one"));
        }
    }

    let mut resolved = Vec::new();
    for setting in SETTINGS {
        let mut value: Value =
            serde_json::from_str(setting.default).expect("the table's defaults are JSON");
        let mut origin = Origin::Default;
        if let Some((_, raw)) = members.iter().find(|(name, _)| name == setting.name) {
            value = serde_json::from_str(raw.get())
                .map_err(|error| format!("{}: {error}", path.display()))?;
            origin = Origin::File(path.clone(), line(raw));
        }
        if let Some((name, text)) = environment::read(setting, environment)? {
            (value, origin) = (setting.kind.parse_text(&text), Origin::Environment(name));
        }
        if let Some((_, option, text)) = arguments.iter().find(|(name, ..)| *name == setting.name) {
            (value, origin) = (setting.kind.parse_text(text), Origin::Argument(option));
        }
        if origin != Origin::Default && !setting.kind.accepts(&value) {
            let shown = if matches!(setting.kind, Kind::Secret) {
                "invalid".into()
            } else {
                value.to_string()
            };
            return Err(format!(
                "{origin}: \"{}\" is {shown}; it should be {}",
                setting.name, setting.kind
            ));
        }
        resolved.push(ResolvedSetting {
            setting,
            value,
            origin,
        });
    }
    share_sessions(&mut resolved);
    let values: Map<String, Value> = resolved
        .iter()
        .map(|one| (one.setting.name.into(), one.value.clone()))
        .collect();
    // Not from a `Value`, which may also be a list: the code for that would take 10 KB.
    let config = Config::deserialize(MapDeserializer::new(values.into_iter()))
        .map_err(|error: serde_json::Error| format!("{}: {error}", path.display()))?;
    // Port 0 is a different port each time.
    let is_fixed = !matches!(config.listen, Listen::Tcp(address) if address.port() == 0);
    if is_fixed && config.metrics_listen.as_ref() == Some(&config.listen) {
        let metrics = resolved
            .iter()
            .find(|one| one.setting.name == "metrics_listen");
        let origin = &metrics.expect("every setting has a value").origin;
        return Err(format!(
            "{origin}: \"metrics_listen\" is the same address as \"listen\"; set a different one"
        ));
    }
    check_cookie_domain(&config, &resolved)?;
    Ok((config, resolved))
}

/// With `cookie_domain`, a person's laptop and phone are signed in for all programs on the box, and
/// the second sign-in must not end the first: `sessions_per_user` has another default.
fn share_sessions(resolved: &mut [ResolvedSetting]) {
    let is_shared =
        |one: &ResolvedSetting| one.setting.name == "cookie_domain" && !one.value.is_null();
    if resolved.iter().any(is_shared)
        && let Some(sessions) = resolved
            .iter_mut()
            .find(|one| one.setting.name == "sessions_per_user" && one.origin == Origin::Default)
    {
        sessions.value = SHARED_SESSIONS.into();
    }
}

/// A browser accepts a cookie for a domain only from a host within that domain.
fn check_cookie_domain(config: &Config, resolved: &[ResolvedSetting]) -> Result<(), String> {
    let (Some(url), Some(domain)) = (&config.public_url, &config.cookie_domain) else {
        return Ok(());
    };
    if cookie_domain::is_within(url.host(), domain) {
        return Ok(());
    }
    let setting = resolved
        .iter()
        .find(|one| one.setting.name == "cookie_domain");
    let origin = &setting.expect("every setting has a value").origin;
    Err(format!(
        "{origin}: the host of \"public_url\", {}, is not within \"cookie_domain\", {domain}; correct one of them",
        url.host()
    ))
}

/// The members of a JSON object in their order. The text of each value borrows from the whole text,
/// so its line can be found.
fn members(text: &str) -> serde_json::Result<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of settings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let members = json.deserialize_map(Members)?;
    json.end()?;
    Ok(members)
}

/// Writes the initial file, readable only by its owner. An existing file is left unchanged,
/// since an admin may have written it, and an older program refuses settings that it does not know.
pub fn write_initial(data: &Path, secrets: [String; 3]) -> io::Result<()> {
    let path = data.join(FILE);
    if path.try_exists()? {
        return Ok(());
    }
    let [registration, reset, totp] = secrets;
    let text = format!(
        "{{\n  \"registration_function_status\": true,\n  \"forgot_password_function_status\": false,\n  \
         \"secret_key_required_for_account_registration\": \"{registration}\",\n  \
         \"forget_password_key\": \"{reset}\",\n  \"totp_key\": \"{totp}\"\n}}\n"
    );
    // A crash must not leave an incomplete file, so it is renamed into place.
    let fresh = data.join("config.json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        text: &str,
        environment: &[(&str, &str)],
    ) -> Result<(Config, Vec<ResolvedSetting>), String> {
        let data = std::env::temp_dir().join(format!(
            "accountd-config-{}",
            crate::crypto::random_alphanumeric(10)
        ));
        fs::create_dir(&data).unwrap();
        fs::write(data.join(FILE), text).unwrap();
        let variable = |name: &str| {
            environment
                .iter()
                .find(|one| one.0 == name)
                .map(|one| one.1.replace("DIR", data.to_str().unwrap()))
        };
        fs::write(data.join("secret"), "from a file\n").unwrap();
        let result = load(&data, &variable, &[]);
        fs::remove_dir_all(&data).unwrap();
        result.map_err(|error| error.replace(data.to_str().unwrap(), "DIR"))
    }

    #[test]
    fn the_table_and_the_struct_agree() {
        let (config, resolved) = read("{}", &[]).unwrap();
        assert_eq!(resolved.len(), SETTINGS.len());
        assert_eq!(
            config.listen,
            Listen::Tcp("127.0.0.1:9999".parse().unwrap())
        );
        assert_eq!(
            (
                config.token_ttl_seconds,
                config.sessions_per_user,
                config.threads
            ),
            (86_400, 1, 4)
        );
        for setting in SETTINGS
            .iter()
            .filter(|setting| !matches!(setting.kind, Kind::Secret))
        {
            assert!(
                setting
                    .kind
                    .accepts(&serde_json::from_str(setting.default).unwrap()),
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let (config, resolved) = read(
            "\u{feff}{\n\"threads\": 2,\n\"log\":\"error\"}",
            &[("ACCOUNTD_LOG", "debug")],
        )
        .unwrap();
        assert_eq!((config.threads, config.log), (2, Level::Debug));
        let shown: Vec<String> = resolved.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(
            |line| line.starts_with("threads = 2  [") && line.ends_with("config.json line 2]")
        ));
        assert!(
            shown.contains(&"log = \"debug\"  [environment variable ACCOUNTD_LOG]".to_string())
        );
    }

    #[test]
    fn an_error_names_the_setting_its_origin_and_the_valid_values() {
        for (text, error) in [
            (
                "{\n \"thread\": 4}",
                "DIR/config.json line 2: \"thread\" is not a setting; did you mean \"threads\"? The settings are registration_function",
            ),
            (
                "{\"threads\": \"four\"}",
                "line 1: \"threads\" is \"four\"; it should be a whole number from 1 to 64",
            ),
            (
                "{\"threads\": 0}",
                "\"threads\" is 0; it should be a whole number from 1 to 64",
            ),
            (
                "{\"threads\": 1,\n\"threads\": 2}",
                "line 2: \"threads\" is set twice",
            ),
            (
                "{\"listen\": \"localhost\"}",
                "it should be IP:PORT or unix:PATH",
            ),
            (
                "{\"cors_origins\": [\"example.org\"]}",
                "it should be a list of origins",
            ),
            (
                "{\"forget_password_key\": \"\"}",
                "is invalid; it should be a text of 1 to 1024 characters",
            ),
            (
                "{\"forget_password_key\": 7}",
                "is invalid; it should be a text of 1 to 1024 characters or null",
            ),
            (
                "{\"usernames\": \"simple\"}",
                "\"usernames\" is \"simple\"; it should be one of any, plain",
            ),
            (
                "{\"public_url\": \"example.org\"}",
                "\"public_url\" is \"example.org\"; it should be an address like https://accounts.example.org or null",
            ),
            ("[]", "expected an object of settings at line 1"),
            ("{\"threads\": 4", "EOF while parsing an object at line 1"),
            ("{} {}", "trailing characters at line 1"),
        ] {
            let message = read(text, &[]).expect_err(text);
            assert!(message.contains(error), "{text}: {message}");
            assert!(!message.contains("\"secret\""), "{message}");
        }
        let message = read("{}", &[("ACCOUNTD_THREADS", "many")]).unwrap_err();
        assert_eq!(
            message,
            "environment variable ACCOUNTD_THREADS: \"threads\" is \"many\"; it should be a whole number from 1 to 64"
        );
    }

    #[test]
    fn malformed_addresses_are_refused() {
        let path = |bytes: usize| format!("unix:{}", "p".repeat(bytes));
        for (text, right) in [
            ("127.0.0.1:80", true),
            ("[::1]:0", true),
            ("unix:/run/accountd/socket", true),
            ("unix:a b?c%20#d", true),
            (&path(107), true),
            (&path(108), false),
            ("unix:", false),
            ("unix:a\0b", false),
            ("localhost:80", false),
            ("127.0.0.1", false),
            ("::1:80", false),
            ("", false),
        ] {
            for (name, form) in [
                ("listen", "IP:PORT or unix:PATH (at most 107 bytes)"),
                (
                    "metrics_listen",
                    "IP:PORT, unix:PATH (at most 107 bytes) or null",
                ),
            ] {
                let shown = serde_json::to_string(text).unwrap();
                let found = read(&format!("{{\"{name}\": {shown}}}"), &[]).map(drop);
                let wrong =
                    format!("DIR/config.json line 1: \"{name}\" is {shown}; it should be {form}");
                assert_eq!(found, if right { Ok(()) } else { Err(wrong) });
            }
        }
    }

    #[test]
    fn metrics_listen_must_differ_from_listen() {
        for (listen, metrics, right) in [
            ("127.0.0.1:80", "127.0.0.1:80", false),
            ("unix:socket", "unix:socket", false),
            ("unix:socket", "unix:metrics", true),
            ("127.0.0.1:0", "127.0.0.1:0", true),
        ] {
            let text = format!("{{\"listen\": \"{listen}\"}}");
            let found = read(&text, &[("ACCOUNTD_METRICS_LISTEN", metrics)]).map(drop);
            let wrong = "environment variable ACCOUNTD_METRICS_LISTEN: \"metrics_listen\" is the same address as \"listen\"; \
                         set a different one";
            assert_eq!(
                found,
                if right { Ok(()) } else { Err(wrong.into()) },
                "{listen} {metrics}"
            );
        }
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        for empty in ["", "\n", "\r\n"] {
            let text = "{\"threads\": 2, \"forget_password_key\": \"of the file\"}";
            let environment = [
                ("ACCOUNTD_THREADS", empty),
                ("ACCOUNTD_LISTEN", empty),
                ("ACCOUNTD_FORGET_PASSWORD_KEY", empty),
                ("ACCOUNTD_FORGET_PASSWORD_KEY_FILE", empty),
                (
                    "ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION",
                    empty,
                ),
                (
                    "ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION_FILE",
                    "DIR/secret",
                ),
            ];
            let (config, _) = read(text, &environment).unwrap();
            assert_eq!(
                (config.threads, config.forget_password_key.as_deref()),
                (2, Some("of the file"))
            );
            assert_eq!(
                config.listen,
                Listen::Tcp("127.0.0.1:9999".parse().unwrap())
            );
            assert_eq!(
                config
                    .secret_key_required_for_account_registration
                    .as_deref(),
                Some("from a file")
            );
        }
        let (config, _) = read("{}", &[("ACCOUNTD_LISTEN", "unix:socket\r")]).unwrap();
        assert_eq!(
            config.listen,
            Listen::Unix("socket".into()),
            "a file of variables with CRLF"
        );
    }

    #[test]
    fn byte_order_marks_and_final_line_breaks_are_not_part_of_a_secret() {
        for (content, secret) in [
            ("a secret", "a secret"),
            ("a secret\n", "a secret"),
            ("a secret\r\n", "a secret"),
            ("\u{feff}a secret\r\n", "a secret"),
            (" a\nb ", " a\nb "),
        ] {
            let folder = std::env::temp_dir().join(format!(
                "accountd-secret-{}",
                crate::crypto::random_alphanumeric(10)
            ));
            fs::write(&folder, content).unwrap();
            let path = folder.to_str().unwrap();
            let (config, _) = read("{}", &[("ACCOUNTD_FORGET_PASSWORD_KEY_FILE", path)]).unwrap();
            assert_eq!(
                config.forget_password_key.as_deref(),
                Some(secret),
                "{content:?}"
            );
            for empty in ["", "\n", "\u{feff}\r\n"] {
                fs::write(&folder, empty).unwrap();
                let error = read("{}", &[("ACCOUNTD_FORGET_PASSWORD_KEY_FILE", path)])
                    .map(drop)
                    .unwrap_err();
                let expected = format!(
                    "environment variable ACCOUNTD_FORGET_PASSWORD_KEY_FILE: {path} is empty; write the secret into it, or \
                     unset the variable"
                );
                assert_eq!(error, expected);
            }
            fs::remove_file(folder).unwrap();
        }
        let both = [
            ("ACCOUNTD_FORGET_PASSWORD_KEY_FILE", "DIR/secret"),
            ("ACCOUNTD_FORGET_PASSWORD_KEY", "x"),
        ];
        assert!(
            read("{}", &both)
                .map(drop)
                .unwrap_err()
                .ends_with("_KEY_FILE are both set; unset one")
        );
    }

    #[test]
    fn a_secret_can_be_read_from_a_file_and_is_never_shown() {
        let (config, resolved) =
            read("{}", &[("ACCOUNTD_FORGET_PASSWORD_KEY_FILE", "DIR/secret")]).unwrap();
        assert_eq!(config.forget_password_key.as_deref(), Some("from a file"));
        let shown: Vec<String> = resolved.iter().map(ToString::to_string).collect();
        assert!(
            !shown.concat().contains("from a file")
                && !format!("{config:?}").contains("from a file")
        );
        assert!(
            read(
                "{}",
                &[("ACCOUNTD_FORGET_PASSWORD_KEY_FILE", "DIR/nothing")]
            )
            .unwrap_err()
            .contains("cannot be read")
        );
    }

    #[test]
    fn the_cookie_domain_contains_the_page_and_allows_more_sessions() {
        for (url, domain, expected) in [
            ("https://accounts.example.org", "example.org", Ok(10)),
            ("https://example.org", "example.org", Ok(10)),
            (
                "https://accounts.example.com",
                "example.org",
                Err("is not within"),
            ),
            (
                "https://accounts.example.org",
                ".example.org",
                Err("it should be a domain"),
            ),
            ("https://accounts.lan", "lan", Err("it should be a domain")),
            ("https://accounts.example.org", "", Ok(1)),
        ] {
            let environment = |name: &str| match name {
                "ACCOUNTD_PUBLIC_URL" => Some(url.to_string()),
                "ACCOUNTD_COOKIE_DOMAIN" if !domain.is_empty() => Some(domain.to_string()),
                _ => None,
            };
            match (load(Path::new("/nowhere"), &environment, &[]), expected) {
                (Ok((config, _)), Ok(sessions)) => assert_eq!(config.sessions_per_user, sessions),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (Ok(_), Err(part)) => panic!("{url} {domain}: {part}"),
                (Err(error), Ok(_)) => panic!("{error}"),
            }
        }
    }
}
