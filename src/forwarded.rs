//! Who asks where a proxy asks for others: `X-Forwarded-For`, believed of listed proxies alone.

use serde::Deserialize;
use std::net::IpAddr;
use std::str::FromStr;

/// Who may say for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Proxy {
    /// Whoever connects over the unix socket.
    Unix,
    /// The addresses that begin with so many bits of this one.
    Network(IpAddr, u32),
}

impl FromStr for Proxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Proxy, &'static str> {
        const WRONG: &str = "no IP, IP/BITS or unix";
        if text == "unix" {
            return Ok(Proxy::Unix);
        }
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| WRONG)?;
        if bits > most { Err(WRONG) } else { Ok(Proxy::Network(address, bits)) }
    }
}

impl TryFrom<String> for Proxy {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Proxy, &'static str> {
        text.parse()
    }
}

impl Proxy {
    fn is(self, peer: Option<IpAddr>) -> bool {
        match (self, peer) {
            (Proxy::Unix, None) => true,
            (Proxy::Network(IpAddr::V4(network), bits), Some(IpAddr::V4(one))) => {
                (network.to_bits() ^ one.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (Proxy::Network(IpAddr::V6(network), bits), Some(IpAddr::V6(one))) => {
                (network.to_bits() ^ one.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The client of a request that came from `peer` (nothing over a unix socket) with these lines of `X-Forwarded-For`,
/// in their order: the rightmost address that is no trusted proxy. What stands left of it anybody may have written.
#[must_use]
pub fn client(peer: Option<IpAddr>, lines: &[&str], trusted: &[Proxy]) -> Option<IpAddr> {
    let mut client = peer;
    for one in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !trusted.iter().any(|proxy| proxy.is(client)) {
            break;
        }
        match one.trim().parse::<IpAddr>() {
            Ok(address) => client = Some(address.to_canonical()),
            // Whoever wrote it is the last who is known.
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(all: &[&str]) -> Vec<Proxy> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    fn ask(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        client(peer.parse().ok(), lines, &proxies(trusted)).map_or_else(|| "-".into(), |client| client.to_string())
    }

    #[test]
    fn nobody_is_believed_who_is_not_listed() {
        assert_eq!(ask("192.0.2.1", &["198.51.100.7"], &[]), "192.0.2.1");
        assert_eq!(ask("192.0.2.1", &["198.51.100.7"], &["127.0.0.1"]), "192.0.2.1");
        assert_eq!(ask("unix", &["198.51.100.7"], &["0.0.0.0/0"]), "-");
    }

    #[test]
    fn the_rightmost_address_that_is_not_listed_counts() {
        let trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "unix"];
        for (peer, lines, expected) in [
            ("127.0.0.1", &["198.51.100.7"][..], "198.51.100.7"),
            ("127.0.0.1", &["1.1.1.1, 198.51.100.7, 10.1.2.3"], "198.51.100.7"),
            ("127.0.0.1", &["1.1.1.1", "198.51.100.7,10.1.2.3"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7, nonsense, 10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("2001:db8::1", &["2001:db9::1"], "2001:db9::1"),
            ("unix", &["198.51.100.7"], "198.51.100.7"),
        ] {
            assert_eq!(ask(peer, lines, &trusted), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn networks_end_where_their_bits_do() {
        for (network, inside, outside) in [
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8:0:4::/62", "2001:db8:0:7::1", "2001:db8:0:8::"),
        ] {
            assert_eq!(ask(inside, &["203.0.113.9"], &[network]), "203.0.113.9");
            assert_eq!(ask(outside, &["203.0.113.9"], &[network]), outside);
        }
        assert_eq!(ask("192.0.2.1", &["203.0.113.9"], &["0.0.0.0/0"]), "203.0.113.9");
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "localhost", "10.0.0.0/-1", "10.0.0.0/", "unix:"] {
            assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
        }
    }
}
