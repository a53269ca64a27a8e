//! Chooses the connections to close when there are too many, or when they hold too much memory: a
//! flood loses its own.

use crate::http::network::{Source, entries_to_evict};
use std::time::Instant;

/// What is to be freed is divided into about so many pieces, each of which counts as one entry of
/// its connection's network.
const PIECES: usize = 256;

/// What a choice goes by.
pub struct Member {
    /// The network that the connection comes from.
    pub source: Source,
    /// What it takes of what is scarce; one that takes nothing is not chosen.
    pub weight: usize,
    /// Since when it is in its phase.
    pub since: Instant,
    /// How much closing it hurts.
    pub rank: Rank,
}

/// How much closing a connection hurts, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It holds much more than an honest client's.
    Bulky,
    /// It may be an honest client's.
    Plain,
    /// It is a trusted proxy's, whose connections are those of many clients.
    Proxy,
    /// A thread works on it, so it is not chosen.
    Busy,
}

/// Chooses connections to close, by their places in the list, that take about `excess` together. Of
/// the lowest rank those of the networks that take most go first, and of each source the ones that
/// have been in their phase for longest.
pub fn choose(members: &[Member], excess: usize) -> Vec<usize> {
    let Some(first) = members.iter().map(|member| member.since).min() else {
        return Vec::new();
    };
    let piece = excess.div_ceil(PIECES).max(1);
    let mut chosen = Vec::new();
    let mut left = excess.div_ceil(piece);
    for rank in [Rank::Bulky, Rank::Plain, Rank::Proxy] {
        let mut entries = Vec::new();
        for (at, member) in members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.rank == rank)
        {
            let age =
                u64::try_from(member.since.duration_since(first).as_nanos()).unwrap_or(u64::MAX);
            entries.extend((0..member.weight.div_ceil(piece)).map(|_| (member.source, age, at)));
        }
        let pieces = entries_to_evict(entries, left);
        left -= pieces.len();
        chosen.extend(pieces);
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn member(address: &str, weight: usize, age: u64) -> Member {
        let source = Source::of(Some(address.parse::<IpAddr>().unwrap()));
        let since = Instant::now() - Duration::from_secs(age);
        Member {
            source,
            weight,
            since,
            rank: Rank::Plain,
        }
    }

    #[test]
    fn a_source_with_many_connections_loses_its_own_and_the_oldest_first() {
        let mut members: Vec<Member> = (0..60).map(|age| member("192.0.2.1", 1, age)).collect();
        members.extend((0..20).map(|last| member(&format!("192.0.2.{}", 100 + last), 1, 1000)));
        assert_eq!(choose(&members, 5), [55, 56, 57, 58, 59]);
    }

    #[test]
    fn a_site_with_many_links_loses_its_own_before_a_client_with_a_few() {
        let mut members: Vec<Member> = (0..6).map(|_| member("192.0.2.1", 1, 1000)).collect();
        members.extend((0..100).map(|link| member(&format!("2001:db8:0:{link:x}::"), 1, 0)));
        assert!(choose(&members, 90).iter().all(|chosen| *chosen >= 6));
    }

    #[test]
    fn no_more_is_closed_than_has_to_be() {
        let mut members: Vec<Member> = (0..40).map(|_| member("192.0.2.1", 400_000, 0)).collect();
        // Many others that are idle, and some that are in the middle of a request.
        members.extend((0..4000).map(|nth| member(&format!("198.51.100.{}", nth % 250), 0, 0)));
        members.extend((0..100).map(|nth| member(&format!("203.0.113.{nth}"), 1000, 1000)));
        let chosen = choose(&members, 4_000_000);
        assert!(chosen.iter().all(|chosen| *chosen < 40), "{chosen:?}");
        assert!((10..=11).contains(&chosen.len()), "{}", chosen.len());
    }

    #[test]
    fn one_that_is_worked_on_or_takes_nothing_is_left_alone() {
        let mut members = [
            member("192.0.2.1", 9, 9),
            member("192.0.2.1", 0, 9),
            member("192.0.2.2", 1, 1),
        ];
        members[0].rank = Rank::Busy;
        assert_eq!(choose(&members, 100), [2]);
        assert!(choose(&members[..2], 100).is_empty());
    }

    #[test]
    fn a_proxy_has_many_connections_and_loses_none_while_others_do() {
        let mut members: Vec<Member> = (0..50).map(|_| member("127.0.0.1", 1, 1000)).collect();
        members
            .iter_mut()
            .for_each(|member| member.rank = Rank::Proxy);
        members.extend((0..20).map(|nth| member(&format!("198.51.{nth}.1"), 1, 0)));
        assert_eq!(choose(&members, 20), (50..70).collect::<Vec<_>>());
        assert_eq!(choose(&members, 30).len(), 30);
    }

    #[test]
    fn of_one_source_a_small_one_stays_while_there_are_bulky_ones() {
        let mut members: Vec<Member> = (0..20)
            .map(|age| member("192.0.2.1", 60_000, age))
            .collect();
        members.push(member("192.0.2.1", 100, 1000));
        members[..20]
            .iter_mut()
            .for_each(|member| member.rank = Rank::Bulky);
        assert_eq!(choose(&members, 1_200_000), (0..20).collect::<Vec<_>>());
        assert_eq!(choose(&members, 1_300_000).len(), 21);
    }
}
