//! Chooses the connections to close when there are too many, so that a source that holds many loses its own.

use crate::throttle::Source;
use std::collections::HashMap;
use std::time::Instant;

/// The part of all connections that is closed at once: looking at all of them for each new one would be slow.
const PART: usize = 16;

/// What a choice goes by.
pub struct Member {
    /// Where the connection comes from.
    pub source: Source,
    /// What it takes of what is scarce; one that takes nothing is not chosen.
    pub weight: usize,
    /// Since when it is in its phase.
    pub since: Instant,
    /// Whether no thread works on it.
    pub closable: bool,
}

/// Chooses connections to close, by their places in the list: those of the source that weighs most, and of these the ones
/// that have been in their phase for longest.
pub fn choose(members: &[Member]) -> Vec<usize> {
    let mut sources: HashMap<Source, usize> = HashMap::new();
    for member in members {
        *sources.entry(member.source).or_default() += member.weight;
    }
    let mut chosen: Vec<usize> =
        (0..members.len()).filter(|at| members[*at].closable && members[*at].weight > 0).collect();
    chosen.sort_by_key(|at| (std::cmp::Reverse(sources[&members[*at].source]), members[*at].since));
    chosen.truncate((members.len() / PART).max(1));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn member(last: u8, weight: usize, age: u64, closable: bool) -> Member {
        let since = Instant::now() - Duration::from_secs(age);
        Member { source: Source::of(Some(IpAddr::from([192, 0, 2, last]))), weight, since, closable }
    }

    #[test]
    fn a_source_with_many_connections_loses_its_own_and_the_oldest_first() {
        let mut members: Vec<Member> = (0..60).map(|age| member(1, 1, age, true)).collect();
        members.extend((0..20).map(|last| member(100 + last, 1, 1000, true)));
        assert_eq!(choose(&members), [59, 58, 57, 56, 55]);
    }

    #[test]
    fn one_that_is_worked_on_or_takes_nothing_is_left_alone() {
        let members = [member(1, 9, 9, false), member(1, 0, 9, true), member(2, 1, 1, true)];
        assert_eq!(choose(&members), [2]);
        assert!(choose(&members[..2]).is_empty());
    }
}
