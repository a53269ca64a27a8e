//! The client's address behind proxies, from `X-Forwarded-For` and `Forwarded`. The headers of
//! trusted proxies alone are used.

use ipnet::IpNet;
use serde::Deserialize;
use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest part of an entry that is logged, in characters.
const MAX_LOGGED: usize = 60;

/// A proxy whose headers are trusted to name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Proxy {
    /// Any connection over the unix socket.
    Unix,
    /// Any address of a network.
    Network(IpNet),
}

impl FromStr for Proxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Proxy, &'static str> {
        if text == "unix" {
            return Ok(Proxy::Unix);
        }
        let single = |text: &str| {
            text.parse()
                .map(|address: IpAddr| IpNet::from(address.to_canonical()))
        };
        let network = text
            .parse()
            .or_else(|_| single(text))
            .map_err(|_| "not an IP, IP/BITS or unix")?;
        Ok(Proxy::Network(network))
    }
}

impl TryFrom<String> for Proxy {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Proxy, &'static str> {
        text.parse()
    }
}

impl Proxy {
    /// Whether a connection from this address is the proxy's. `None` is a connection over the unix
    /// socket.
    pub fn matches(self, peer: Option<IpAddr>) -> bool {
        match (self, peer) {
            (Proxy::Unix, None) => true,
            (Proxy::Network(network), Some(peer)) => network.contains(&peer),
            _ => false,
        }
    }
}

/// The headers in which proxies name the client: the lines of each, in the order of the request.
#[derive(Default)]
pub struct Headers<'a> {
    /// `X-Forwarded-For`
    pub x_forwarded_for: Vec<&'a str>,
    /// `Forwarded` (RFC 7239)
    pub forwarded: Vec<&'a str>,
}

/// The client of a request that came from `peer` (`None` over a unix socket): the rightmost address
/// that is not a trusted proxy. The client could have forged all entries to the left of it.
///
/// A proxy sets one of the two headers and may forward the other one as its client sent it, and the
/// server cannot tell which. So if both name a client, they must name the same one.
///
/// If the headers of trusted proxies name no client, the error is a sentence for the log, and the
/// client's address is unknown. The proxy's address is not used instead: a ban of it would shut out
/// every client behind the proxy.
pub fn client(
    peer: Option<IpAddr>,
    headers: &Headers,
    trusted: &[Proxy],
) -> Result<Option<IpAddr>, String> {
    let x_forwarded_for = headers
        .x_forwarded_for
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(','));
    let x_forwarded_for = x_forwarded_for
        .map(trim)
        .map(|entry| Some(Cow::from(entry)).filter(|entry| !entry.is_empty()));
    let forwarded = headers
        .forwarded
        .iter()
        .rev()
        .flat_map(|line| elements(line).into_iter().rev());
    match (
        find_client(peer, "X-Forwarded-For", x_forwarded_for, trusted)?,
        find_client(peer, "Forwarded", forwarded, trusted)?,
    ) {
        (Some(one), Some(other)) if one != other => Err(format!(
            "X-Forwarded-For and Forwarded of the proxy {} name two clients, {one} and {other}: {UNKNOWN}; have the proxy \
             remove the header that it does not set",
            proxy_name(peer)
        )),
        (one, other) => Ok(one.or(other).or(peer)),
    }
}

/// The consequence of headers that name no client.
const UNKNOWN: &str = "the client's address counts as unknown";

/// The client that one header names, if any. The entries come from right to left; an empty one is
/// `None`.
fn find_client<'a>(
    peer: Option<IpAddr>,
    header: &str,
    mut entries: impl Iterator<Item = Option<Cow<'a, str>>>,
    trusted: &[Proxy],
) -> Result<Option<IpAddr>, String> {
    let mut client = None;
    while trusted.iter().any(|proxy| proxy.matches(client.or(peer))) {
        let Some(entry) = entries.next() else { break };
        if let Some(address) = entry.as_deref().and_then(address) {
            client = Some(address);
            continue;
        }
        // The header ends here if all entries to the left are empty too.
        if entry.is_none() && entries.all(|entry| entry.is_none()) {
            break;
        }
        let entry: String = entry.unwrap_or_default().chars().take(MAX_LOGGED).collect();
        let proxy = proxy_name(client.or(peer));
        return Err(format!(
            "{header} of the proxy {proxy} has {entry:?} instead of an address: {UNKNOWN}"
        ));
    }
    Ok(client)
}

/// A proxy's name in `trusted_proxies`.
fn proxy_name(proxy: Option<IpAddr>) -> String {
    proxy.map_or_else(|| "unix".into(), |address| address.to_string())
}

/// The address in an entry, which may have a port, brackets, a zone and quotes.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or(entry, trim);
    let (address, port) = match entry.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        // An IPv6 address without brackets has no port.
        None if entry.matches(':').count() == 1 => entry.split_at(entry.find(':')?),
        None => (entry, ""),
    };
    // RFC 7239, 6: a number, or an obfuscated name.
    let is_port = |port: &str| port.starts_with('_') || port.parse::<u16>().is_ok();
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    let address = address.split('%').next().unwrap_or_default();
    address
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// The `for` parameter of each element of a line of `Forwarded`; `None` if an element has none (RFC
/// 7239, 4).
///
/// A malformed line becomes one entry that is not an address. If a client leaves a quote open,
/// everything that proxies append is inside the quotes, so no part of such a line can be trusted.
fn elements(line: &str) -> Vec<Option<Cow<'_, str>>> {
    let element = |text| {
        let mut node = None;
        for pair in split(text, b';')?
            .into_iter()
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=')?;
            let value = unquoted(trim(value))?;
            if trim(name).eq_ignore_ascii_case("for") && node.replace(value).is_some() {
                return None;
            }
        }
        Some(node)
    };
    let all = split(line, b',').and_then(|all| all.into_iter().map(element).collect());
    all.unwrap_or_else(|| vec![Some(format!("malformed: {line}").into())])
}

/// The trimmed parts between the separators outside quotes; `None` if a quote is left open.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut in_quotes, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            _ if byte == separator && !in_quotes => {
                parts.push(trim(&text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(trim(&text[start..]));
    Some(parts).filter(|_| !in_quotes)
}

/// A value without the quotes around it; `None` if there are quotes elsewhere.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(inside) = value.strip_prefix('"') else {
        return Some(value.into()).filter(|_| !value.contains('"'));
    };
    let (mut text, mut characters) = (String::new(), inside.chars());
    loop {
        match characters.next()? {
            '"' => return Some(text.into()).filter(|_| characters.as_str().is_empty()),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

/// Removes the spaces and tabs around a text.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(all: &[&str]) -> Vec<Proxy> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    /// The client (`-` for one over a unix socket) or the log line.
    fn by_both(
        peer: &str,
        list: &[&str],
        standard: &[&str],
        trusted: &[&str],
    ) -> Result<String, String> {
        let headers = Headers {
            x_forwarded_for: list.to_vec(),
            forwarded: standard.to_vec(),
        };
        let client = client(peer.parse().ok(), &headers, &proxies(trusted))?;
        Ok(client.map_or_else(|| "-".into(), |client| client.to_string()))
    }

    const TRUSTED: [&str; 4] = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "unix"];

    fn by_list(peer: &str, lines: &[&str]) -> Result<String, String> {
        by_both(peer, lines, &[], &TRUSTED)
    }

    fn by_standard(lines: &[&str]) -> Result<String, String> {
        by_both("127.0.0.1", &[], lines, &TRUSTED)
    }

    #[test]
    fn the_headers_of_an_unlisted_proxy_are_ignored() {
        for (peer, trusted, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["127.0.0.1"], "192.0.2.1"),
            ("unix", &["0.0.0.0/0", "::/0"], "-"),
        ] {
            for (list, standard) in [
                (&["198.51.100.7"][..], &[][..]),
                (&[], &["for=198.51.100.7"]),
                (&["garbage"], &["for=\""]),
            ] {
                assert_eq!(
                    by_both(peer, list, standard, trusted).as_deref(),
                    Ok(expected),
                    "{peer} {list:?} {standard:?}"
                );
            }
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_a_listed_proxy() {
        for (peer, lines, expected) in [
            ("127.0.0.1", &["198.51.100.7"][..], "198.51.100.7"),
            (
                "127.0.0.1",
                &["1.1.1.1, 198.51.100.7, 10.1.2.3"],
                "198.51.100.7",
            ),
            (
                "127.0.0.1",
                &["1.1.1.1", "198.51.100.7,10.1.2.3"],
                "198.51.100.7",
            ),
            ("127.0.0.1", &["nonsense, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("2001:db8::1", &["2001:db9::1"], "2001:db9::1"),
            ("unix", &["198.51.100.7"], "198.51.100.7"),
            // The client sent no header, and the proxy appended nothing.
            ("127.0.0.1", &[""], "127.0.0.1"),
            ("127.0.0.1", &[" , 10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &["", ",", "10.0.0.1"], "10.0.0.1"),
        ] {
            assert_eq!(
                by_list(peer, lines).as_deref(),
                Ok(expected),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn an_entry_may_have_port_brackets_quotes_and_spaces() {
        for (entry, expected) in [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("  198.51.100.7\t", "198.51.100.7"),
            ("\"198.51.100.7\"", "198.51.100.7"),
            ("\" 198.51.100.7:80 \"", "198.51.100.7"),
            ("2001:db9::1", "2001:db9::1"),
            ("2001:db9::1:4711", "2001:db9::1:4711"),
            ("[2001:db9::1]", "2001:db9::1"),
            ("[2001:db9::1]:4711", "2001:db9::1"),
            ("\"[2001:db9::1]:4711\"", "2001:db9::1"),
            ("[::ffff:198.51.100.7]:1", "198.51.100.7"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]:80", "fe80::1"),
            ("198.51.100.7:_hidden", "198.51.100.7"),
        ] {
            assert_eq!(
                by_list("127.0.0.1", &[entry]).as_deref(),
                Ok(expected),
                "{entry}"
            );
            let element = format!("for=\"{}\"", entry.trim_matches(['"', ' ', '\t']));
            assert_eq!(
                by_standard(&[&element]).as_deref(),
                Ok(expected),
                "{element}"
            );
        }
    }

    #[test]
    fn an_entry_that_is_not_an_address_is_logged_with_its_proxy() {
        for entry in [
            "unknown",
            "_hidden",
            "localhost",
            "198.51.100.7:",
            "198.51.100.7:65536",
            "198.51.100.7:80:80",
            "198.51.100",
            "198.51.100.07",
            "[2001:db9::1",
            "2001:db9::1]",
            "[2001:db9::1]4711",
            "[2001:db9::1]:",
            "\"198.51.100.7",
            "unix:",
            "198.51.100.7 10.0.0.1",
        ] {
            let expected = format!(
                "X-Forwarded-For of the proxy 127.0.0.1 has {entry:?} instead of an address: the client's \
                 address counts as unknown"
            );
            assert_eq!(by_list("127.0.0.1", &[entry]), Err(expected), "{entry}");
            assert!(by_standard(&[&format!("for={entry}")]).is_err(), "{entry}");
        }
        for (peer, lines, expected) in [
            (
                "127.0.0.1",
                &["198.51.100.7, nonsense, 10.0.0.1"][..],
                "of the proxy 10.0.0.1 has \"nonsense\"",
            ),
            ("unix", &["nonsense"], "of the proxy unix has \"nonsense\""),
            // A proxy that does not know its client appends an empty entry; the client could have
            // forged those before it.
            (
                "127.0.0.1",
                &["198.51.100.7,"],
                "of the proxy 127.0.0.1 has \"\"",
            ),
            (
                "127.0.0.1",
                &["198.51.100.7", ""],
                "of the proxy 127.0.0.1 has \"\"",
            ),
            ("127.0.0.1", &["a\nb\u{1b}[2J"], "has \"a\\nb\\u{1b}[2J\""),
        ] {
            let error = by_list(peer, lines).unwrap_err();
            assert!(
                error.contains(expected) && !error.contains(char::is_control),
                "{error}"
            );
        }
        assert!(
            by_list("127.0.0.1", &[&"x".repeat(10_000)])
                .unwrap_err()
                .len()
                < 250
        );
    }

    #[test]
    fn forwarded_is_read_like_x_forwarded_for() {
        for (lines, expected) in [
            (&["for=198.51.100.7"][..], "198.51.100.7"),
            (&["For=\"198.51.100.7:4711\""], "198.51.100.7"),
            (&["FOR=\"[2001:db9:cafe::17]:4711\""], "2001:db9:cafe::17"),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (
                &["by=203.0.113.43 ;\tfor = 192.0.2.60; ;proto=https"],
                "192.0.2.60",
            ),
            (
                &["for=1.1.1.1, for=198.51.100.7, for=10.1.2.3"],
                "198.51.100.7",
            ),
            (
                &["for=1.1.1.1", "for=198.51.100.7,for=10.1.2.3"],
                "198.51.100.7",
            ),
            (&["for=_hidden, for=198.51.100.7"], "198.51.100.7"),
            // Separators inside quotes do not count.
            (
                &["for=198.51.100.7;host=\"a,for=1.1.1.1;b\""],
                "198.51.100.7",
            ),
            (
                &["host=\"\\\",for=1.1.1.1\";for=198.51.100.7"],
                "198.51.100.7",
            ),
            (&["for=\"198.51.100\\.7\""], "198.51.100.7"),
            // A malformed line to the left of the client's entry does not matter.
            (&["for=\"", "for=198.51.100.7"], "198.51.100.7"),
            // Lines without a client.
            (&["proto=https;host=example.org"], "127.0.0.1"),
            (&["", " , "], "127.0.0.1"),
            (&["proto=https, for=10.0.0.1"], "10.0.0.1"),
        ] {
            assert_eq!(by_standard(lines).as_deref(), Ok(expected), "{lines:?}");
        }
        for lines in [
            &["for=unknown"][..],
            &["for=\"_hidden\""],
            &["for="],
            &["198.51.100.7"],
            &["for"],
            &["for=198.51.100.7;for=192.0.2.1"],
            &["for=198.51.100.7, proto=https"],
            // A quote left open by the client encloses what the proxy appends.
            &["for=\", for=198.51.100.7"],
            &["for=1.1.1.1, for=x;a=\", for=\"[2001:db9::1]\""],
            &["for=1.1.1.1;a=\"\\, for=\"198.51.100.7\""],
            &["for=1.1.1.1\", for=198.51.100.7;by=\""],
            &["for=\"198.51.100.7\"x"],
        ] {
            let error = by_standard(lines).expect_err(lines[0]);
            assert!(
                error.starts_with("Forwarded of the proxy 127.0.0.1 has "),
                "{error}"
            );
        }
    }

    #[test]
    fn a_header_that_the_proxy_only_forwards_never_chooses_the_address() {
        for (list, standard, expected) in [
            ("198.51.100.7", "for=198.51.100.7", Some("198.51.100.7")),
            (
                "1.1.1.1, 198.51.100.7",
                "for=198.51.100.7:80;proto=https",
                Some("198.51.100.7"),
            ),
            ("198.51.100.7", "proto=https", Some("198.51.100.7")),
            ("", "for=198.51.100.7", Some("198.51.100.7")),
            ("198.51.100.7", "for=203.0.113.9", None),
            ("127.0.0.1", "for=203.0.113.9", None),
            ("203.0.113.9", "for=127.0.0.1", None),
            ("198.51.100.7", "for=unknown", None),
            ("unknown", "for=198.51.100.7", None),
        ] {
            let found = by_both("127.0.0.1", &[list], &[standard], &TRUSTED);
            assert_eq!(found.as_deref().ok(), expected, "{list:?} {standard:?}");
        }
        assert_eq!(
            by_both(
                "127.0.0.1",
                &["198.51.100.7"],
                &["for=203.0.113.9"],
                &TRUSTED
            )
            .unwrap_err(),
            "X-Forwarded-For and Forwarded of the proxy 127.0.0.1 name two clients, 198.51.100.7 and 203.0.113.9: the \
             client's address counts as unknown; have the proxy remove the header that it does not set"
        );
    }

    #[test]
    fn networks_end_where_their_bits_do() {
        for (network, inside, outside) in [
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("192.168.5.1/22", "192.168.4.0", "192.168.3.255"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8:0:4::/62", "2001:db8:0:7::1", "2001:db8:0:8::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
        ] {
            let client_from = |peer| by_both(peer, &["203.0.113.9"], &[], &[network]);
            assert_eq!(
                client_from(inside).as_deref(),
                Ok("203.0.113.9"),
                "{network}"
            );
            assert_eq!(client_from(outside).as_deref(), Ok(outside), "{network}");
        }
        assert_eq!(
            by_both("192.0.2.1", &["203.0.113.9"], &[], &["0.0.0.0/0"]).as_deref(),
            Ok("203.0.113.9")
        );
        for wrong in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "localhost",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "unix:",
        ] {
            assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
        }
    }
}
