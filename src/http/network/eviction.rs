//! Chooses the entries that a full table evicts: those of the networks that have most, so that a
//! flood evicts its own entries.

use super::Network;
use std::cmp::Reverse;

/// Levels of networks, the source included: 48, 56 and 64 bits of IPv6.
const LEVELS: usize = 3;

/// Picks `count` of these entries. Each has its network and the time at which it was made or used:
/// the lowest number is the oldest entry.
///
/// The widest networks with most entries lose entries until they have as many as the network after
/// them, then all of those do, and so on: no network loses an entry to one that has fewer. The same
/// is done with the narrower networks within each of them, and a source loses its oldest entries.
/// This takes as long as sorting all entries, so callers evict many at once.
pub fn entries_to_evict<T: Copy>(mut entries: Vec<(Network, u64, T)>, count: usize) -> Vec<T> {
    entries.sort_unstable_by_key(|(network, time, _)| (network.sort_key(), *time));
    let mut picked = Vec::with_capacity(count);
    pick(&entries, 0, count.min(entries.len()), &mut picked);
    picked
}

fn pick<T: Copy>(entries: &[(Network, u64, T)], level: usize, count: usize, picked: &mut Vec<T>) {
    if level == LEVELS || count == 0 {
        picked.extend(entries[..count].iter().map(|(_, _, entry)| *entry));
        return;
    }
    let at = |entry: &(Network, u64, T), level| entry.0.at_level(level);
    let mut groups: Vec<_> = entries
        .chunk_by(|one, other| at(one, level) == at(other, level))
        .collect();
    let above = |limit: usize| {
        groups
            .iter()
            .map(|group| group.len().saturating_sub(limit))
            .sum::<usize>()
    };
    let limit = limit(entries.len(), count, above);
    // The limit may evict a few entries too many, so as many groups keep one more than the limit.
    // These are first the entries of the network itself, which count for all clients in it, then
    // the groups with the newest entries.
    let mut spared = above(limit) - count;
    groups.sort_by_cached_key(|group| {
        let is_whole = level > 0 && at(&group[0], level) == at(&group[0], level - 1);
        Reverse((is_whole, group.iter().map(|(_, time, _)| *time).min()))
    });
    for group in groups {
        let mut evicted = group.len().saturating_sub(limit);
        if evicted > 0 && spared > 0 {
            (evicted, spared) = (evicted - 1, spared - 1);
        }
        pick(group, level + 1, evicted, picked);
    }
}

/// The highest limit that `count` entries or more are above. `above` returns how many entries are
/// above a limit: all of them for 0, none for `most`.
fn limit(most: usize, count: usize, above: impl Fn(usize) -> usize) -> usize {
    let (mut enough, mut too_few) = (0, most);
    while too_few - enough > 1 {
        let middle = enough.midpoint(too_few);
        if above(middle) >= count {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many entries each source keeps, of the number that is given with it.
    fn kept(sources: &[(&str, usize)], count: usize) -> Vec<usize> {
        let source = |nth: usize| Network::of(sources[nth].0.parse().ok());
        let entries =
            (0..sources.len()).flat_map(|nth| (0..sources[nth].1).map(move |age| (nth, age)));
        let entries: Vec<_> = entries
            .map(|(nth, age)| (source(nth), age as u64, (nth, age)))
            .collect();
        let all = entries.len();
        let picked = entries_to_evict(entries, count);
        assert_eq!(picked.len(), count.min(all));
        (0..sources.len())
            .map(|nth| {
                let mut ages: Vec<usize> = picked
                    .iter()
                    .filter(|one| one.0 == nth)
                    .map(|one| one.1)
                    .collect();
                ages.sort_unstable();
                assert_eq!(
                    ages,
                    (0..ages.len()).collect::<Vec<_>>(),
                    "a source loses its oldest entries, each once"
                );
                sources[nth].1 - ages.len()
            })
            .collect()
    }

    #[test]
    fn the_largest_network_loses_entries_until_all_have_the_same_number() {
        let sources = [
            ("192.0.2.1", 10),
            ("198.51.100.1", 3),
            ("203.0.113.1", 6),
            ("?", 7),
        ];
        assert_eq!(kept(&sources, 0), [10, 3, 6, 7]);
        assert_eq!(kept(&sources, 3), [7, 3, 6, 7]);
        assert_eq!(kept(&sources, 5), [6, 3, 6, 6]);
        assert_eq!(kept(&sources, 14), [3, 3, 3, 3]);
        assert_eq!(kept(&sources, 26), [0, 0, 0, 0]);
        assert_eq!(kept(&sources, 1000), [0, 0, 0, 0]);
        assert_eq!(kept(&[], 3), [0; 0]);
    }

    #[test]
    fn networks_with_the_same_number_lose_the_oldest_entries() {
        let source =
            |nth: u64| Network::of(format!("2001:{:x}::", (nth * 7919) % 0x1_0000).parse().ok());
        let mut picked =
            entries_to_evict((0..1000).map(|nth| (source(nth), nth, nth)).collect(), 300);
        picked.sort_unstable();
        assert_eq!(picked, (0..300).collect::<Vec<u64>>());
    }

    #[test]
    fn a_wide_network_counts_as_a_whole_and_its_largest_part_loses_entries() {
        let sources = [
            ("2001:db8:1:100::1", 1),
            ("2001:db8:1:101::1", 2),
            ("2001:db8:1:200::1", 5),
            ("2001:db8:1:201::1", 4),
            ("2001:db8:2::1", 7),
            ("192.0.2.1", 4),
            ("192.0.2.2", 2),
        ];
        assert_eq!(kept(&sources, 5), [1, 2, 2, 2, 7, 4, 2]);
        assert_eq!(kept(&sources, 6), [1, 2, 2, 2, 6, 4, 2]);
    }

    #[test]
    fn no_network_loses_an_entry_to_one_that_has_fewer() {
        let mut seed = 7_usize;
        let mut random = |below: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let names: Vec<String> = (0..1 + random(9))
                .map(|nth| format!("2001:db8:{}:{nth}::", random(3)))
                .collect();
            let sources: Vec<(&str, usize)> =
                names.iter().map(|name| (&**name, 1 + random(40))).collect();
            let all: usize = sources.iter().map(|one| one.1).sum();
            let remaining = kept(&sources, random(all + 1));
            for nth in 0..3 {
                let within = |name: &str| name.starts_with(&format!("2001:db8:{nth}:"));
                let sum =
                    |count: &dyn Fn(usize) -> usize, inside: &dyn Fn(&str) -> bool| -> usize {
                        (0..sources.len())
                            .filter(|at| inside(sources[*at].0))
                            .map(count)
                            .sum()
                    };
                let (before, after) = (
                    sum(&|at| sources[at].1, &within),
                    sum(&|at| remaining[at], &within),
                );
                for other in 0..3 {
                    let elsewhere = |name: &str| name.starts_with(&format!("2001:db8:{other}:"));
                    let theirs = sum(&|at| remaining[at], &elsewhere);
                    assert!(
                        after == before || theirs <= after + 1,
                        "{sources:?} became {remaining:?}"
                    );
                }
            }
        }
    }
}
