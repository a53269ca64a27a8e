//! What `invite` and `user reset-link` share: a key that is shown once, a link to the page that
//! carries it, and its expiry.

use crate::command::{Args, Failure, Opt, usage};
use crate::config::{Config, Listen};
use crate::contract::KEY_LENGTH;
use crate::crypto;
use crate::process::serve;
use serde::Serialize;

/// The longest time until a key expires, in seconds: ten years, as of tokens.
const MAX_EXPIRY: u64 = 315_360_000;
/// The option that says when a key expires.
const EXPIRES: &str = "expires";

/// A fresh key and the link that carries it.
#[derive(Serialize)]
pub struct Link {
    /// The key, of which only the digest is stored.
    pub key: String,
    /// A link to the page.
    pub link: String,
}

impl Link {
    /// A fresh key in a link whose fragment calls it `kind`. Fragments never reach a server, so no
    /// proxy logs the key.
    pub fn new(config: &Config, kind: &str) -> Link {
        let key = crypto::random_alphanumeric(KEY_LENGTH);
        let link = format!("{}/#{kind}={key}", page(config));
        Link { key, link }
    }

    /// The SHA-256 digest of the key.
    pub fn digest(&self) -> [u8; 32] {
        crypto::sha256(&self.key)
    }

    /// The lines for people.
    pub fn lines(&self) -> String {
        format!("key   {}\nlink  {}\n", self.key, self.link)
    }
}

/// Tells an admin that browsers may need another address than that of the link.
pub fn warn_without_public_url(config: &Config) {
    if config.public_url.is_some() {
        return;
    }
    if page(config).is_empty() {
        eprintln!(
            "accountd: public_url is not set and the server listens on a unix socket, so the link has no address; set public_url"
        );
    } else {
        eprintln!(
            "accountd: public_url is not set, so the link has the address that the server listens on; set it if browsers use another one"
        );
    }
}

/// The address of the page, without a slash at the end. A unix socket has no address that a browser
/// could open.
fn page(config: &Config) -> String {
    match (&config.public_url, &config.listen) {
        (Some(url), _) => url.to_string(),
        (None, Listen::Tcp(_)) => serve::address(&config.listen),
        (None, Listen::Unix(_)) => String::new(),
    }
}

/// The option `--expires` with its description, which names the default.
pub const fn expires_option(doc: &'static str) -> Opt {
    Opt {
        name: EXPIRES,
        value: "TIME",
        doc,
    }
}

/// Seconds until a key expires: those that `--expires` says, or else `default`.
pub fn expiry(args: &Args, default: &str) -> Result<i64, Failure> {
    let text = args.text(EXPIRES)?;
    let text = text.as_deref().unwrap_or(default);
    let seconds = humantime::parse_duration(text).map(|time| time.as_secs());
    let seconds = seconds
        .ok()
        .filter(|seconds| (1..=MAX_EXPIRY).contains(seconds));
    seconds.map(u64::cast_signed).ok_or_else(|| {
        let sentence =
            format!("--{EXPIRES} {text}: it should be a time from 1s to 3650d, like 90min or 7d");
        usage(args.command(), sentence)
    })
}
