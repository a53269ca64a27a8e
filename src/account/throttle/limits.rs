//! The limits of the throttle: the size of each budget, and how fast it refills.

use crate::http::network::Width;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Wrong guesses at one secret after which a source need not wait.
pub const FREE_GUESSES: u16 = 3;
/// The waits after further wrong guesses, in seconds. The last one is repeated.
pub const WAITS: [u64; 6] = [1, 3, 5, 10, 20, 40];
/// How long a source's wrong guesses at a secret count after the last one. No wait is longer.
pub const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// The most guesses of one source at one secret that are pending at the same time, wrong ones
/// included: more than an honest client sends, and far fewer than the server handles at the same
/// time.
pub const MAX_CONCURRENT_GUESSES: u16 = 8;
/// How long a source with more pending guesses than that must wait: longer than hashing a password
/// takes.
pub const CONCURRENCY_WAIT: Duration = Duration::from_secs(1);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Wrong guesses of one network at one secret.
    Guess,
    /// Wrong guesses of all clients at one secret.
    Secret,
    /// Wrong guesses of one network at all secrets.
    Guesser,
    /// Requests for a new account from one network, refused ones included.
    Register,
    /// New accounts from one network, or on the whole server.
    NewAccount,
    /// New captchas for one network.
    Captcha,
    /// Uploads from one network.
    Upload,
    /// Changes of accounts from one network.
    Change,
    /// Changes of one account.
    Account,
}

/// What a wrong answer to a captcha costs in further captchas. With the captcha itself that is ten:
/// a program that reads one in twenty gets one right in 38 seconds, after its burst. People who
/// mistype one in five spend 2.8 captchas on each right answer, so behind one address 214 of them
/// can sign in at once, and 1.8 a second after that.
pub const WRONG_CAPTCHA_COST: u32 = 9;
/// Milliseconds until one more new account of a source is allowed.
const NEW_ACCOUNT_INTERVAL: u64 = 10_000;
const HOUR: u64 = 3_600_000;

/// The limits that the configuration sets; 0 means that there is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// New accounts of one source at once.
    pub registrations_per_source: u32,
    /// New accounts on the whole server in an hour. As many are allowed at once.
    pub registrations_per_hour: u32,
}

/// A token bucket: `burst` requests at once, and one more after each `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The most requests at once.
    pub burst: u32,
    /// Milliseconds until one more request is allowed.
    pub interval: u64,
}

impl Limits {
    /// The rate of one source, or of all clients for the kinds that are not per network. The
    /// numbers are for many people who share an address (a campus, a mobile carrier); one person
    /// never reaches a limit.
    fn of_source(self, kind: Kind) -> Rate {
        let (burst, interval) = match kind {
            // 100 in the first hour, as the longest wait allows too, then 40 an hour.
            Kind::Guess => (60, 90_000),
            // 300 in the first hour, then 150 an hour. Sources with free guesses left are admitted
            // beyond that.
            Kind::Secret => (150, 24_000),
            // 600 in the first hour, then 300 an hour: the typing errors of some thousand people.
            Kind::Guesser => (300, 12_000),
            Kind::Register | Kind::Account => (300, 1000),
            Kind::NewAccount => (self.registrations_per_source, NEW_ACCOUNT_INTERVAL),
            // Each log-in needs a captcha, and one or two changes may follow: some thousand people
            // in ten minutes.
            Kind::Captcha | Kind::Change => (600, 200),
            Kind::Upload => (150, 2000),
        };
        Rate { burst, interval }
    }

    /// The rate of a network. `None` means that there is no limit.
    pub fn rate(self, kind: Kind, width: Width) -> Option<Rate> {
        let rate = match (kind, width) {
            (Kind::NewAccount, Width::Everywhere) => Rate {
                burst: self.registrations_per_hour,
                interval: HOUR / u64::from(self.registrations_per_hour.max(1)),
            },
            _ => {
                let (rate, multiplier) = (self.of_source(kind), kind.multiplier(width));
                Rate {
                    burst: rate.burst * multiplier,
                    interval: rate.interval / u64::from(multiplier),
                }
            }
        };
        (rate.burst > 0).then_some(rate)
    }
}

impl Kind {
    /// The rate of a network, as a multiple of the rate of a source.
    ///
    /// A client with a whole network has many addresses, and should not have as many budgets. But
    /// the network may also have other people in it: an IPv4 block of a campus or a carrier's NAT,
    /// an IPv6 site with a link for each phone. So that no source uses up the budget of its
    /// neighbours, a wider network has at least twice the budget of a narrower one. The captchas of
    /// 8 sources are 4,800, then 40 a second: half a percent of one core (117 µs each), and fewer
    /// than `max_captchas` (20,000) within the five minutes that a captcha lives.
    fn multiplier(self, width: Width) -> u32 {
        match (self, width) {
            (_, Width::Everywhere | Width::V4Address | Width::V6Link) => 1,
            (_, Width::V6Home) => 2,
            // Few people guess at one account, even in a large network: 400 in the first hour, then
            // 160 an hour.
            (Kind::Guess, _) => 4,
            // Many clients may have an unknown address.
            (_, Width::Unknown | Width::V4Block | Width::V6Site) => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        registrations_per_source: 20,
        registrations_per_hour: 300,
    };

    const ALL: [Kind; 9] = [
        Kind::Guess,
        Kind::Secret,
        Kind::Guesser,
        Kind::Register,
        Kind::NewAccount,
        Kind::Captcha,
        Kind::Upload,
        Kind::Change,
        Kind::Account,
    ];

    #[test]
    fn one_source_never_uses_up_the_budget_of_its_network() {
        for kind in ALL {
            for path in [
                &[Width::V4Address, Width::V4Block][..],
                &[Width::V6Link, Width::V6Home, Width::V6Site],
            ] {
                for pair in path.windows(2) {
                    let [narrow, wide] =
                        [pair[0], pair[1]].map(|width| LIMITS.rate(kind, width).unwrap());
                    assert!(
                        wide.burst >= 2 * narrow.burst && narrow.interval >= 2 * wide.interval,
                        "{kind:?} {pair:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_site_does_not_fill_the_table_of_captchas() {
        let rate = LIMITS.rate(Kind::Captcha, Width::V6Site).unwrap();
        assert!(u64::from(rate.burst) + 300_000 / rate.interval < 20_000);
    }
}
