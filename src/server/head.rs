//! Strict parser of request heads: refuses whatever two parsers could interpret differently.

use crate::http::{Headers, path, query};
use std::ops::Range;

/// The maximum size of a head in bytes, with its request line. It leaves room for the cookies of
/// other programs on the same host.
pub const MAX_HEAD: usize = 64 * 1024;
/// The maximum length of a method. The longest registered one has 17 letters.
const MAX_METHOD: usize = 32;
/// The maximum size in bytes of the empty lines before a request line.
const MAX_EMPTY_LINES: usize = 8;
/// The maximum number of header fields.
const MAX_HEADERS: usize = 100;

/// How the end of a body is found (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By its chunked encoding.
    Chunked,
}

/// A well-formed head.
#[derive(Debug, PartialEq)]
pub struct Head {
    /// The method as it was sent.
    pub method: String,
    /// The path of the target, without its query string.
    pub path: String,
    /// The query string of the target; empty if there is none.
    pub query: String,
    /// The header fields that do not concern the connection.
    pub headers: Headers,
    /// How the end of its body is found.
    pub framing: Framing,
    /// If the connection is kept alive, the value of the reply's header `Connection`: empty for
    /// HTTP/1.1, where it is the default.
    pub keep_alive: Option<&'static str>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Its length in bytes, with the empty line.
    pub length: usize,
}

/// The result of parsing.
#[derive(Debug, PartialEq)]
pub enum Parsed {
    /// The head is not complete.
    Partial,
    /// It is malformed, or not HTTP/1.0 or HTTP/1.1.
    Malformed,
    /// A complete head.
    Complete(Box<Head>),
}

/// Parses a head at the beginning of the received bytes. `scanned` is the number of bytes that
/// earlier calls have searched for its end; it is updated, so that a head that arrives byte by byte
/// is searched only once.
pub fn parse(received: &[u8], scanned: &mut usize) -> Parsed {
    match end_of_head(received, *scanned) {
        Ok(Some(length)) => parse_complete(&received[..length])
            .map_or(Parsed::Malformed, |head| Parsed::Complete(head.into())),
        Ok(None) if received.len() < MAX_HEAD => {
            *scanned = received.len();
            Parsed::Partial
        }
        _ => Parsed::Malformed,
    }
}

/// The length of the head if it is complete. A line that does not end with CR LF, and a first byte
/// that cannot start a method (a TLS handshake's, for example), are malformed.
fn end_of_head(received: &[u8], scanned: usize) -> Result<Option<usize>, ()> {
    let start = received
        .iter()
        .position(|byte| !b"\r\n".contains(byte))
        .unwrap_or(received.len());
    if start > MAX_EMPTY_LINES
        || received
            .get(start)
            .is_some_and(|first| !is_token_byte(*first))
    {
        return Err(());
    }
    for (at, byte) in received.iter().enumerate().skip(scanned) {
        let before = at.checked_sub(1).map(|before| received[before]);
        if *byte != b'\n' {
            // A bare CR.
            if before == Some(b'\r') {
                return Err(());
            }
            continue;
        }
        if before != Some(b'\r') {
            return Err(());
        }
        // The empty line; those before the request line are skipped (RFC 9112, 2.2).
        if at >= start + 3 && received[at - 3..at] == *b"\r\n\r" {
            return if at < MAX_HEAD {
                Ok(Some(at + 1))
            } else {
                Err(())
            };
        }
    }
    Ok(None)
}

fn parse_complete(bytes: &[u8]) -> Option<Head> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).ok()? else {
        return None;
    };
    let (method, target, minor) = (parsed.method?, parsed.path?, parsed.version?);
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut close, mut stays, mut expects) = (false, false, false);
    let mut known = Headers::default();
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        match header.name.len() {
            4 if header.name.eq_ignore_ascii_case("host") => {
                hosts.push(value);
                known.add(header.name, value);
            }
            6 if header.name.eq_ignore_ascii_case("expect") => {
                expects |= value.eq_ignore_ascii_case(b"100-continue")
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                let options = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                close |= options().any(|option| option.eq_ignore_ascii_case(b"close"));
                stays |= options().any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => lengths.push(value),
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => codings.push(value),
            _ => known.add(header.name, value),
        }
    }
    if method.len() > MAX_METHOD
        || hosts.len() > 1
        || minor == 1 && hosts.is_empty()
        || !hosts.iter().all(|host| is_host(host))
    {
        return None;
    }
    let framing = match (&*lengths, &*codings) {
        ([], []) => Framing::Length(0),
        ([length], []) => Framing::Length(number(length)?),
        ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return None,
    };
    Some(Head {
        method: method.into(),
        path: path(target).into(),
        query: query(target).into(),
        headers: known,
        framing,
        keep_alive: match (close, minor, stays) {
            (true, _, _) | (false, 0, false) => None,
            (false, 0, true) => Some("keep-alive"),
            (false, _, _) => Some(""),
        },
        expects_continue: expects && minor == 1 && framing != Framing::Length(0),
        length,
    })
}

/// Parses a number of decimal digits only; `str::parse` would also accept a sign.
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

/// Whether a byte is allowed in a method or a field name (RFC 9110, 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a value of `Host` is valid: empty, or a name, an IPv4 address or a bracketed IPv6
/// address, with an optional port (RFC 9110, 7.2; RFC 3986, 3.2.2).
fn is_host(value: &[u8]) -> bool {
    let name_end: Range<usize> = match value.iter().position(|byte| *byte == b']') {
        Some(end) if value[0] == b'[' => {
            let address = std::str::from_utf8(&value[1..end]).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            end + 1..value.len()
        }
        _ => {
            value
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(value.len())..value.len()
        }
    };
    let name = if value.first() == Some(&b'[') {
        &[][..]
    } else {
        &value[..name_end.start]
    };
    let port = &value[name_end];
    name.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte))
        && port.strip_prefix(b":").map_or(port.is_empty(), |digits| {
            digits.iter().all(u8::is_ascii_digit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: impl AsRef<[u8]>) -> Option<Head> {
        match parse(text.as_ref(), &mut 0) {
            Parsed::Complete(head) => Some(*head),
            _ => None,
        }
    }

    fn with(lines: &str) -> Option<Head> {
        head(format!(
            "POST /api/login/?a=b HTTP/1.1\r\nHost: a\r\n{lines}\r\n"
        ))
    }

    /// Parses a head twice, at once and as it arrives byte by byte, and checks that both agree.
    fn parse_bytewise(text: &[u8]) -> Parsed {
        let mut scanned = 0;
        let bytewise = (1..=text.len())
            .map(|end| parse(&text[..end], &mut scanned))
            .find(|parsed| *parsed != Parsed::Partial)
            .unwrap_or(Parsed::Partial);
        assert_eq!(
            parse(text, &mut 0),
            bytewise,
            "{:?}",
            text.escape_ascii().to_string()
        );
        bytewise
    }

    #[test]
    fn a_head_is_complete_at_its_empty_line_and_not_before() {
        let text = b"\r\nPOST /api/login/?a=b HTTP/1.1\r\nHost: a\r\ntoken:  x y \r\n\r\nbody";
        let mut scanned = 0;
        for end in 0..text.len() - 4 {
            assert_eq!(parse(&text[..end], &mut scanned), Parsed::Partial, "{end}");
        }
        let Parsed::Complete(head) = parse(text, &mut scanned) else {
            panic!("a complete head")
        };
        assert_eq!(head.length, text.len() - 4);
        assert_eq!(
            (&*head.method, &*head.path, &*head.headers.token),
            ("POST", "/api/login/", "x y")
        );
        assert_eq!(head.framing, Framing::Length(0));
    }

    #[test]
    fn malformed_heads_are_refused() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Transfer-Encoding: identity\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: \r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: b\r\n",
            " folded: x\r\n",
            "X: a\r\n b\r\n",
            "X : a\r\n",
            "X(: a\r\n",
            ": a\r\n",
            "X\r\n",
            "X: \x0ba\r\n",
            "X: a\x0c\r\n",
            "X: \0\r\n",
            "X: a\nY: b\r\n",
            "X: a\rY: b\r\n",
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_eq!(
                parse_bytewise(text.as_bytes()),
                Parsed::Malformed,
                "{text:?}"
            );
        }
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\x16\x03\x01",
            "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            "AMETHODOFMORETHANTHIRTYTWOLETTERS / HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(
                parse_bytewise(text.as_bytes()),
                Parsed::Malformed,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_head_may_be_as_large_as_the_limits_and_not_larger() {
        let value = |bytes: usize| "x".repeat(bytes);
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let of_size = |bytes: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                value(bytes - start)
            )
        };
        assert_eq!(head(of_size(MAX_HEAD)).unwrap().length, MAX_HEAD);
        let with_fields = |count: usize| {
            let fields = "X: a\r\n".repeat(count - 1);
            format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
        };
        assert!(head(with_fields(MAX_HEADERS)).is_some());
        let with_method = |bytes: usize| format!("{} / HTTP/1.0\r\n\r\n", "A".repeat(bytes));
        assert!(head(with_method(MAX_METHOD)).is_some());
        let after_empty =
            |bytes: usize| format!("{}GET / HTTP/1.0\r\n\r\n", "\r\n".repeat(bytes / 2));
        assert!(head(after_empty(MAX_EMPTY_LINES)).is_some());
        for text in [
            of_size(MAX_HEAD + 1),
            with_fields(MAX_HEADERS + 1),
            with_method(MAX_METHOD + 1),
            after_empty(MAX_EMPTY_LINES + 2),
        ] {
            assert_eq!(parse(text.as_bytes(), &mut 0), Parsed::Malformed);
        }
        // A head that does not end is refused as soon as it is too large.
        let endless = of_size(2 * MAX_HEAD);
        let (below, limit) = (
            &endless.as_bytes()[..MAX_HEAD - 1],
            &endless.as_bytes()[..MAX_HEAD],
        );
        assert_eq!(parse(below, &mut 0), Parsed::Partial);
        assert_eq!(parse(limit, &mut 0), Parsed::Malformed);
    }

    #[test]
    fn the_framing_of_a_body_follows_its_header_fields() {
        for (lines, framing) in [
            ("", Framing::Length(0)),
            ("Content-Length: 0\r\n", Framing::Length(0)),
            ("content-length: 007 \r\n", Framing::Length(7)),
            (
                "Content-Length: 18446744073709551615\r\n",
                Framing::Length(u64::MAX),
            ),
            ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
            ("transfer-encoding:Chunked\r\n", Framing::Chunked),
        ] {
            assert_eq!(with(lines).unwrap().framing, framing, "{lines:?}");
        }
    }

    #[test]
    fn malformed_hosts_are_refused() {
        for host in [
            "a",
            "a.example.org:80",
            "127.0.0.1",
            "[::1]",
            "[::1]:9999",
            "",
            "a_b",
            "a:",
        ] {
            assert!(
                head(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_some(),
                "{host}"
            );
        }
        for host in [
            "a b", "a/b", "a@b", "[::1", "[x]", "::1", "a:b", "a:80:90", "a,b\"", "阿", "[::1]x",
            "][",
        ] {
            assert!(
                head(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_none(),
                "{host}"
            );
        }
        assert!(head("GET / HTTP/1.0\r\n\r\n").is_some());
    }

    #[test]
    fn non_ascii_bytes_are_allowed_in_field_values_and_targets() {
        let cookie = with("Cookie: a=阿巴\r\ntoken: x\r\n").unwrap();
        assert_eq!(cookie.headers.token, "x");
        assert!(with("Cookie: a=\u{fffd}\r\n").is_some());
        let target = head("GET /s/阿 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(target.path, "/s/阿");
    }

    #[test]
    fn keep_alive_follows_the_version_and_the_header_connection() {
        for (text, keep_alive) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some("")),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
                None,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
                Some(""),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: foo\r\nConnection: x, close\r\n\r\n",
                None,
            ),
            ("GET / HTTP/1.0\r\n\r\n", None),
            (
                "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                Some("keep-alive"),
            ),
        ] {
            assert_eq!(head(text).unwrap().keep_alive, keep_alive, "{text:?}");
        }
    }

    #[test]
    fn only_http_1_1_clients_that_ask_and_have_a_body_get_100_continue() {
        assert!(
            with("Expect: 100-Continue\r\nContent-Length: 9\r\n")
                .unwrap()
                .expects_continue
        );
        assert!(
            with("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")
                .unwrap()
                .expects_continue
        );
        assert!(!with("Expect: 100-continue\r\n").unwrap().expects_continue);
        assert!(!with("Content-Length: 9\r\n").unwrap().expects_continue);
        let old =
            head("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n").unwrap();
        assert!(!old.expects_continue);
    }
}
