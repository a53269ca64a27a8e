//! The limits of the throttle: how much of each kind a network may do at once, and how often after
//! that.

use crate::http::network::Width;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Wrong guesses at one secret that cost a source no wait.
pub const FREE: u16 = 3;
/// The waits after the wrong guesses that follow, in seconds; the last one stays.
pub const WAITS: [u64; 6] = [1, 3, 5, 10, 20, 40];
/// A source whose last wrong guess at a secret is older than this starts afresh, so it also bounds
/// every wait.
pub const FORGIVEN: Duration = Duration::from_secs(3600);
/// Guesses of one source at one secret at the same moment, wrong ones counted: more than an honest
/// client has under way, and far fewer than the requests that are worked on at once.
pub const AT_ONCE: u16 = 8;
/// How long a source waits that has more than that under way: hashing one password takes less.
pub const MOMENT: Duration = Duration::from_secs(1);

/// The kinds of things that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Wrong guesses of one network at one secret.
    Guess,
    /// Wrong guesses of all clients at one secret.
    Secret,
    /// Wrong guesses of one network at all secrets.
    Guesser,
    /// New accounts from one network.
    Register,
    /// Captchas that are drawn for one network.
    Captcha,
    /// Pictures from one network.
    Upload,
    /// Changes of accounts from one network.
    Change,
    /// Changes of one account.
    Account,
}

/// So many at once, and one more each time that `every` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// Milliseconds until there is one more.
    pub every: u64,
}

impl Kind {
    /// The rate of one source, or of all clients if the kind is not about networks. One person
    /// never meets a limit; the numbers are for many people who share an address (a campus, a
    /// mobile carrier).
    fn of_source(self) -> Rate {
        let (burst, every) = match self {
            // 100 in the first hour, as the last of the waits has it over longer, then 40 an hour.
            Kind::Guess => (60, 90_000),
            // 300 in the first hour, then 150 an hour; a source that is still free of waits is let
            // in beyond that.
            Kind::Secret => (150, 24_000),
            // 600 in the first hour, then 300 an hour: typing errors of some thousand people.
            Kind::Guesser => (300, 12_000),
            Kind::Register | Kind::Account => (300, 1000),
            // Each log-in needs a captcha, and leads to a change or two: some thousand people in
            // ten minutes.
            Kind::Captcha | Kind::Change => (600, 200),
            Kind::Upload => (150, 2000),
        };
        Rate { burst, every }
    }

    /// How many times the rate of a source a network has.
    ///
    /// A client that has a whole network has many addresses, and should not have as many budgets.
    /// But other people may be in the network too: an IPv4 block of a campus or a carrier's NAT, an
    /// IPv6 site with a link for each phone. So that one source alone never uses up what its
    /// neighbours need, a wider network has at least twice the budget of a narrower one. 8 sources'
    /// worth of captchas is 4,800, then 40 a second: half a percent of one core (117 µs each), and
    /// fewer than `max_captchas` (20,000) within the five minutes that a captcha lives.
    fn times(self, width: Width) -> u32 {
        match (self, width) {
            (_, Width::Everywhere | Width::V4Address | Width::V6Link) => 1,
            (_, Width::V6Home) => 2,
            // Guesses at one account come from few people, however many share the network: 400 in
            // the first hour, then 160.
            (Kind::Guess, _) => 4,
            // Clients without a known address may be many.
            (_, Width::Unknown | Width::V4Block | Width::V6Site) => 8,
        }
    }

    /// The rate of a network.
    pub fn rate(self, width: Width) -> Rate {
        let (rate, times) = (self.of_source(), self.times(width));
        Rate {
            burst: rate.burst * times,
            every: rate.every / u64::from(times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 8] = [
        Kind::Guess,
        Kind::Secret,
        Kind::Guesser,
        Kind::Register,
        Kind::Captcha,
        Kind::Upload,
        Kind::Change,
        Kind::Account,
    ];

    #[test]
    fn one_source_never_uses_up_what_its_neighbours_need() {
        for kind in ALL {
            for path in [
                &[Width::V4Address, Width::V4Block][..],
                &[Width::V6Link, Width::V6Home, Width::V6Site],
            ] {
                for pair in path.windows(2) {
                    let [narrow, wide] = [pair[0], pair[1]].map(|width| kind.rate(width));
                    assert!(
                        wide.burst >= 2 * narrow.burst && narrow.every >= 2 * wide.every,
                        "{kind:?} {pair:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_site_alone_does_not_fill_the_captchas() {
        let rate = Kind::Captcha.rate(Width::V6Site);
        assert!(u64::from(rate.burst) + 300_000 / rate.every < 20_000);
    }
}
