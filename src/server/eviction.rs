//! Chooses the connections to close if there are too many or if they use too much memory, so that a
//! flood evicts its own.

use crate::http::network::{Source, entries_to_evict};
use std::time::Instant;

/// The excess is divided into about this many units. Each unit counts as one entry of its
/// connection's network.
const UNITS: usize = 256;

/// A connection, as far as the choice depends on it.
pub struct Candidate {
    /// The network of its client.
    pub source: Source,
    /// How much of the scarce resource it uses. A connection with weight 0 is never chosen.
    pub weight: usize,
    /// When its phase began.
    pub since: Instant,
    /// How bad closing it would be.
    pub rank: Rank,
}

/// How bad closing a connection is, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It uses much more than an honest client's connection.
    Large,
    /// It may belong to an honest client.
    Normal,
    /// It belongs to a trusted proxy and so serves many clients.
    Proxy,
    /// A thread works on it, so it is never chosen.
    Busy,
}

/// Returns the indices of connections to close whose weights add up to about `excess`. The lowest
/// rank comes first; within a rank, the networks with the greatest weight; within a source, the
/// connections whose phase began first.
pub fn choose(candidates: &[Candidate], excess: usize) -> Vec<usize> {
    let Some(first) = candidates.iter().map(|candidate| candidate.since).min() else {
        return Vec::new();
    };
    let unit = excess.div_ceil(UNITS).max(1);
    let mut chosen = Vec::new();
    let mut left = excess.div_ceil(unit);
    for rank in [Rank::Large, Rank::Normal, Rank::Proxy] {
        let mut entries = Vec::new();
        for (at, candidate) in candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.rank == rank)
        {
            let age =
                u64::try_from(candidate.since.duration_since(first).as_nanos()).unwrap_or(u64::MAX);
            entries
                .extend((0..candidate.weight.div_ceil(unit)).map(|_| (candidate.source, age, at)));
        }
        let units = entries_to_evict(entries, left);
        left -= units.len();
        chosen.extend(units);
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

    fn candidate(address: &str, weight: usize, age: u64) -> Candidate {
        let source = Source::of(Some(address.parse::<IpAddr>().unwrap()));
        let since = Instant::now() - Duration::from_secs(age);
        Candidate {
            source,
            weight,
            since,
            rank: Rank::Normal,
        }
    }

    #[test]
    fn a_source_with_many_connections_loses_its_own_and_the_oldest_first() {
        let mut candidates: Vec<Candidate> =
            (0..60).map(|age| candidate("192.0.2.1", 1, age)).collect();
        candidates
            .extend((0..20).map(|last| candidate(&format!("192.0.2.{}", 100 + last), 1, 1000)));
        assert_eq!(choose(&candidates, 5), [55, 56, 57, 58, 59]);
    }

    #[test]
    fn an_ipv6_site_with_many_links_loses_connections_before_a_client_with_a_few() {
        let mut candidates: Vec<Candidate> =
            (0..6).map(|_| candidate("192.0.2.1", 1, 1000)).collect();
        candidates.extend((0..100).map(|link| candidate(&format!("2001:db8:0:{link:x}::"), 1, 0)));
        assert!(choose(&candidates, 90).iter().all(|chosen| *chosen >= 6));
    }

    #[test]
    fn no_more_connections_are_closed_than_necessary() {
        let mut candidates: Vec<Candidate> = (0..40)
            .map(|_| candidate("192.0.2.1", 400_000, 0))
            .collect();
        // Many idle connections, and some in the middle of a request.
        candidates
            .extend((0..4000).map(|nth| candidate(&format!("198.51.100.{}", nth % 250), 0, 0)));
        candidates.extend((0..100).map(|nth| candidate(&format!("203.0.113.{nth}"), 1000, 1000)));
        let chosen = choose(&candidates, 4_000_000);
        assert!(chosen.iter().all(|chosen| *chosen < 40), "{chosen:?}");
        assert!((10..=11).contains(&chosen.len()), "{}", chosen.len());
    }

    #[test]
    fn busy_connections_and_those_without_weight_stay() {
        let mut candidates = [
            candidate("192.0.2.1", 9, 9),
            candidate("192.0.2.1", 0, 9),
            candidate("192.0.2.2", 1, 1),
        ];
        candidates[0].rank = Rank::Busy;
        assert_eq!(choose(&candidates, 100), [2]);
        assert!(choose(&candidates[..2], 100).is_empty());
    }

    #[test]
    fn a_proxy_loses_connections_only_after_all_clients_have_lost_theirs() {
        let mut candidates: Vec<Candidate> =
            (0..50).map(|_| candidate("127.0.0.1", 1, 1000)).collect();
        candidates
            .iter_mut()
            .for_each(|candidate| candidate.rank = Rank::Proxy);
        candidates.extend((0..20).map(|nth| candidate(&format!("198.51.{nth}.1"), 1, 0)));
        assert_eq!(choose(&candidates, 20), (50..70).collect::<Vec<_>>());
        assert_eq!(choose(&candidates, 30).len(), 30);
    }

    #[test]
    fn of_one_source_a_small_one_stays_while_there_are_large_ones() {
        let mut candidates: Vec<Candidate> = (0..20)
            .map(|age| candidate("192.0.2.1", 60_000, age))
            .collect();
        candidates.push(candidate("192.0.2.1", 100, 1000));
        candidates[..20]
            .iter_mut()
            .for_each(|candidate| candidate.rank = Rank::Large);
        assert_eq!(choose(&candidates, 1_200_000), (0..20).collect::<Vec<_>>());
        assert_eq!(choose(&candidates, 1_300_000).len(), 21);
    }
}
