//! The address of accountd's page as browsers see it.

use super::cookie_domain::is_host_name;
use serde::Deserialize;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The longest address in bytes, far above what any page needs.
const MAX_LENGTH: usize = 1024;

/// An address of the form `http(s)://HOST[:PORT][/PATH]`, without the default port and without a
/// slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    https: bool,
    /// In lower case; an IPv6 address with its brackets.
    host: String,
    port: Option<u16>,
    /// Empty, or a slash and more.
    path: String,
}

impl PublicUrl {
    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, unless it is the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The origin as browsers send it: scheme, host and port.
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let port = self.port.map(|port| format!(":{port}"));
        format!("{scheme}://{}{}", self.host, port.unwrap_or_default())
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<PublicUrl, &'static str> {
        let wrong = "not http(s)://HOST[:PORT][/PATH]";
        if text.len() > MAX_LENGTH {
            return Err(wrong);
        }
        let (https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(wrong),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // The colons in the brackets belong to the host.
        let at = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[at..].find(':') {
            Some(colon) => (&authority[..at + colon], Some(&authority[at + colon + 1..])),
            None => (authority, None),
        };
        let port = port.map(parse_port).transpose()?;
        let path = path.trim_end_matches('/');
        if !is_host(host) || !is_path(path) {
            return Err(wrong);
        }
        Ok(PublicUrl {
            https,
            host: host.to_ascii_lowercase(),
            port: port.filter(|port| *port != if https { 443 } else { 80 }),
            path: path.into(),
        })
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<PublicUrl, &'static str> {
        text.parse()
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or("not a port")
}

/// Whether a text is an IPv6 address in brackets, a domain, or an IPv4 address.
fn is_host(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.map_or_else(
        || is_host_name(text),
        |inner| inner.parse::<Ipv6Addr>().is_ok(),
    )
}

/// Whether a text can stand in an address as a path: without a query, a fragment, a step upwards or
/// anything that a browser would rewrite.
fn is_path(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&byte);
    text.bytes().all(is_allowed)
        && !text.contains("//")
        && !text.split('/').any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (text, shown, origin) in [
            (
                "https://a.example.org",
                "https://a.example.org",
                "https://a.example.org",
            ),
            (
                "https://a.example.org/",
                "https://a.example.org",
                "https://a.example.org",
            ),
            (
                "https://A.Example.org:443//",
                "https://a.example.org",
                "https://a.example.org",
            ),
            ("http://a:80/x/y/", "http://a/x/y", "http://a"),
            (
                "http://127.0.0.1:9999",
                "http://127.0.0.1:9999",
                "http://127.0.0.1:9999",
            ),
            ("https://lan:80/A", "https://lan:80/A", "https://lan:80"),
            ("http://[::1]:81", "http://[::1]:81", "http://[::1]:81"),
            ("http://[::1]", "http://[::1]", "http://[::1]"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(
                (&*url.to_string(), &*url.origin()),
                (shown, origin),
                "{text}"
            );
        }
        let url: PublicUrl = "https://A.example.org:8443/x".parse().unwrap();
        assert!(url.is_https());
        assert_eq!((url.host(), url.port()), ("a.example.org", Some(8443)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "a.example.org",
            "//a",
            "ftp://a",
            "HTTPS://a",
            "https:/a",
            "https://",
            "https:///x",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+80",
            "https://a:x",
            "https://user@a",
            "https://a/?q",
            "https://a/#f",
            "https://a?q",
            "https://a#f",
            "https://a b",
            "https://a\\b",
            "https://a/\\",
            "https://a/ b",
            "https://a/é",
            "https://é",
            "https://-a",
            "https://a-",
            "https://.a",
            "https://a.",
            "https://a..b",
            "https://[::1",
            "https://::1",
            "https://[a]",
            "https://[::1]x",
            "https://a/../b",
            "https://a/./b",
            "https://a//b",
            "https://a\n",
            " https://a",
            "https://*",
            "https://a,b",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
        let long = format!("https://a/{}", "x".repeat(MAX_LENGTH));
        assert!(long.parse::<PublicUrl>().is_err());
    }
}
