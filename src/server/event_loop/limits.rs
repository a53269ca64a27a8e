//! Limits on the number of connections and on their memory.

use super::EventLoop;
use crate::server::connection::{Phase, State};
use crate::server::eviction::{self, Candidate, Rank};
use std::sync::atomic::Ordering;

/// The maximum number of connections; each takes about a kilobyte.
const MAX_CONNECTIONS: usize = 4096;
/// Descriptors reserved for other things: the database, pictures, the log.
const OTHER_DESCRIPTORS: u64 = 128;
/// The most bytes of memory that all connections may use together: requests until a thread takes
/// them, and replies that clients do not read.
pub(super) const MAX_MEMORY: usize = 8 * 1024 * 1024;
/// The most bytes that an honest client's request or unread reply takes. Uploads and pictures are
/// not kept in memory.
const NORMAL_SIZE: usize = 4 * 1024;
/// If there are too many connections, this fraction of them (one in 16) is closed at once, since
/// choosing among all of them takes a millisecond.
const EVICTED_FRACTION: usize = 16;
/// If connections use too much memory, this fraction of the limit (a quarter) is freed at once,
/// since a flood fills it many times a second.
const MEMORY_FRACTION: usize = 4;

impl EventLoop {
    /// Closes connections if they use too much memory together.
    pub(super) fn enforce_memory_limit(&self) {
        if let Some(excess) = self
            .memory_used
            .load(Ordering::Relaxed)
            .checked_sub(self.memory_limit)
        {
            self.evict(excess + self.memory_limit / MEMORY_FRACTION, State::memory);
        }
    }

    /// Closes connections to make room for new ones.
    pub(super) fn evict_idle(&self) {
        let excess = (self.max_connections / EVICTED_FRACTION).max(1);
        self.evict(excess, idle_weight);
    }

    /// Closes connections with a total weight of about `excess`, first those of the networks with
    /// the greatest weight. Connections that a thread works on stay.
    fn evict(&self, excess: usize, weight: fn(&State) -> usize) {
        let all = self.all();
        let mut candidates = Vec::new();
        for connection in &all {
            let state = connection.state();
            let rank = match state.phase {
                Phase::Busy => Rank::Busy,
                _ if weight(&state) > NORMAL_SIZE => Rank::Large,
                _ if self
                    .proxies
                    .iter()
                    .any(|proxy| proxy.matches(connection.peer)) =>
                {
                    Rank::Proxy
                }
                _ => Rank::Normal,
            };
            candidates.push(Candidate {
                source: connection.source,
                weight: weight(&state),
                since: state.since,
                rank,
            });
        }
        for chosen in eviction::choose(&candidates, excess) {
            let mut state = all[chosen].state();
            if !matches!(state.phase, Phase::Busy) {
                self.close_without_flush(&all[chosen], &mut state);
            }
        }
    }
}

/// The maximum number of connections with this number of descriptors. A connection takes two while
/// it sends or receives a picture.
pub(super) fn max_connections(descriptors: u64) -> usize {
    let connections = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    usize::try_from(connections)
        .unwrap_or(usize::MAX)
        .min(MAX_CONNECTIONS)
}

/// The weight of a connection when there are too many. A queued request is answered soon, so its
/// connection stays.
fn idle_weight(state: &State) -> usize {
    usize::from(!matches!(state.phase, Phase::Queued(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_may_have_a_file_open() {
        assert_eq!(
            [256, 1024, 1 << 20].map(max_connections),
            [64, 448, MAX_CONNECTIONS]
        );
    }
}
