//! The source of a request: its client's address, and the networks that contain that address.

mod eviction;

pub use eviction::entries_to_evict;

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The prefix length of a network, and what such a network usually is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Width {
    /// No bits: all clients.
    Everywhere,
    /// All clients whose address is unknown: one network and one source.
    Unknown,
    /// 24 bits of IPv4: the smallest block that is routed on the internet, so it has one operator.
    V4Block,
    /// An IPv4 address: a person, a household, or all clients behind a NAT.
    V4Address,
    /// 48 bits of IPv6: a site, and the most that one customer usually gets (RFC 6177); phones
    /// share one.
    V6Site,
    /// 56 bits of IPv6: a household.
    V6Home,
    /// 64 bits of IPv6: one link. A host chooses the other 64 bits freely.
    V6Link,
}

/// A network of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Network {
    width: Width,
    /// The first bits of the address, from the highest bit down; the bits after the prefix are 0.
    prefix: u64,
}

/// The source of a request: the narrowest network of its client.
pub type Source = Network;

impl Network {
    /// The network of all clients.
    pub const EVERYWHERE: Network = Network {
        width: Width::Everywhere,
        prefix: 0,
    };

    /// The source of a client; `None` is an unknown address.
    pub fn of(client: Option<IpAddr>) -> Source {
        match client {
            None => Network {
                width: Width::Unknown,
                prefix: 0,
            },
            Some(IpAddr::V4(address)) => Network {
                width: Width::V4Address,
                prefix: u64::from(address.to_bits()) << 32,
            },
            Some(IpAddr::V6(address)) => Network {
                width: Width::V6Link,
                prefix: (address.to_bits() >> 64) as u64,
            },
        }
    }

    /// The width of the network.
    pub fn width(self) -> Width {
        self.width
    }

    /// Whether this is the source of requests, not a wider network around sources.
    pub fn is_source(self) -> bool {
        matches!(
            self.width,
            Width::Unknown | Width::V4Address | Width::V6Link
        )
    }

    /// The wider networks around this one that have their own limits, the widest first, with their
    /// prefix lengths.
    fn wider(self) -> &'static [(Width, u32)] {
        match self.width {
            Width::V4Address => &[(Width::V4Block, 24)],
            Width::V6Link => &[(Width::V6Site, 48), (Width::V6Home, 56)],
            Width::V6Home => &[(Width::V6Site, 48)],
            Width::Everywhere | Width::Unknown | Width::V4Block | Width::V6Site => &[],
        }
    }

    /// The network `level` levels below the widest one around this network, or this network if
    /// there are fewer levels.
    fn at_level(self, level: usize) -> Network {
        let found = self.wider().get(level);
        found.map_or(self, |&(width, bits)| Network {
            width,
            prefix: self.prefix & (u64::MAX << (64 - bits)),
        })
    }

    /// This network and the wider ones around it, the widest one last.
    pub fn with_wider(self) -> impl Iterator<Item = Network> {
        (0..=self.wider().len())
            .rev()
            .map(move |level| self.at_level(level))
    }

    /// The widest network that one customer usually has: an IPv4 address, 48 bits of IPv6.
    pub fn of_customer(self) -> Network {
        if self.width == Width::V6Link {
            self.at_level(0)
        } else {
            self
        }
    }

    /// A sort key that puts all networks within another one next to each other.
    fn sort_key(self) -> (u8, u64, Width) {
        let family = match self.width {
            Width::Everywhere => 0,
            Width::Unknown => 1,
            Width::V4Block | Width::V4Address => 4,
            Width::V6Site | Width::V6Home | Width::V6Link => 6,
        };
        (family, self.prefix, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Network {
        Network::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn the_last_64_bits_of_an_ipv6_address_do_not_change_the_source() {
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(Network::of(None), of("::"));
    }

    #[test]
    fn a_source_is_within_its_wider_networks() {
        let widths = |one: Network| {
            one.with_wider()
                .map(|network| network.width)
                .collect::<Vec<_>>()
        };
        assert_eq!(widths(of("192.0.2.1")), [Width::V4Address, Width::V4Block]);
        assert_eq!(
            widths(of("2001:db8::1")),
            [Width::V6Link, Width::V6Home, Width::V6Site]
        );
        assert_eq!(widths(Network::of(None)), [Width::Unknown]);
        // Whether two addresses share the second or third narrowest network.
        let share = |one: &str, other: &str, nth: usize| {
            of(one).with_wider().nth(nth) == of(other).with_wider().nth(nth)
        };
        assert!(share("192.0.2.1", "192.0.2.255", 1) && !share("192.0.2.1", "192.0.3.1", 1));
        assert!(
            share("2001:db8::", "2001:db8:0:ff::", 1)
                && !share("2001:db8::", "2001:db8:0:100::", 1)
        );
        assert!(
            share("2001:db8::", "2001:db8:0:ffff::", 2) && !share("2001:db8::", "2001:db8:1::", 2)
        );
    }

    #[test]
    fn a_customer_has_an_ipv4_address_or_48_bits_of_ipv6() {
        assert_eq!(
            of("2001:db8:1:2::3").of_customer(),
            of("2001:db8:1:3::3").of_customer()
        );
        assert_ne!(
            of("2001:db8:1::").of_customer(),
            of("2001:db8:2::").of_customer()
        );
        assert_ne!(of("192.0.2.1").of_customer(), of("192.0.2.2").of_customer());
    }

    #[test]
    fn sorting_puts_the_networks_within_a_network_together() {
        let mut all: Vec<Network> = Vec::new();
        for address in [
            "1.2.3.0",
            "1.2.3.4",
            "1.2.4.4",
            "102:300::1",
            "102:304::1",
            "102:300:0:1::",
            "102:300:0:100::",
        ] {
            all.extend(of(address).with_wider());
        }
        all.extend([Network::EVERYWHERE, Network::of(None)]);
        all.sort_by_key(|network| network.sort_key());
        for level in 0..3 {
            let mut groups: Vec<Network> =
                all.iter().map(|network| network.at_level(level)).collect();
            groups.dedup();
            let count = groups.len();
            groups.sort_by_key(|network| network.sort_key());
            groups.dedup();
            assert_eq!(
                groups.len(),
                count,
                "the members of a network are not together"
            );
        }
    }
}
