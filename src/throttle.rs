//! Who has failed or asked how often: waits that grow for guesses, and budgets for what costs.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

/// Failures of a source on an account that cost no wait.
const FREE: u32 = 2;
/// The waits after the failures that follow, in seconds; the last one stays.
const WAITS: [u64; 6] = [1, 3, 5, 10, 20, 40];
/// A source whose last failure on an account is older than this starts afresh.
const FORGIVEN: Duration = Duration::from_secs(3600);
/// Failures of one source on one account: 100 an hour, as the last of the waits has it over longer.
const PAIR: Rate = Rate { burst: 60, every: Duration::from_secs(90) };
/// Failures on one account over all sources: 300 an hour. A source that has not failed on it is still let in, so that
/// nobody can lock its owner out.
const ACCOUNT: Rate = Rate { burst: 150, every: Duration::from_secs(24) };
/// Failures of one source over all accounts: 600 an hour.
const SOURCE: Rate = Rate { burst: 300, every: Duration::from_secs(12) };
/// Entries at the most, some 60 bytes each; of more, the quarter that was used longest ago goes.
const MOST: usize = 32 * 1024;

/// So many at once, and one more each time this has passed.
struct Rate {
    burst: u32,
    every: Duration,
}

/// What costs enough that a source has a budget for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// A new account.
    Register,
    /// A captcha that is drawn.
    Captcha,
    /// A picture.
    Upload,
}

impl Budget {
    fn rate(self) -> Rate {
        match self {
            Budget::Register => Rate { burst: 300, every: Duration::from_secs(1) },
            Budget::Captcha => Rate { burst: 600, every: Duration::from_millis(200) },
            Budget::Upload => Rate { burst: 150, every: Duration::from_secs(2) },
        }
    }
}

/// Where a request comes from: an address, of IPv6 the first 64 bits, which one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(Option<IpAddr>);

impl Source {
    /// The source of a client; everybody who is unknown is one.
    #[must_use]
    pub fn of(client: Option<IpAddr>) -> Source {
        Source(client.map(|client| match client {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            address @ IpAddr::V4(_) => address,
        }))
    }
}

/// What is remembered of a key. Times are as they come with the requests.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Entry {
    /// Failures in a row.
    failures: u32,
    /// No try before this.
    until: Duration,
    /// When the budget is whole again.
    whole: Duration,
    /// The last use.
    used: Duration,
}

/// The memory of failures and budgets. Times come from the caller, and never from a clock that can be set.
pub struct Throttle {
    on: bool,
    /// By a hash, with a secret of this process or of the one before it.
    entries: HashMap<u64, Entry>,
    secret: u64,
}

impl Throttle {
    /// Nobody has failed yet. Keys are hashed with the secret, so that nobody can aim at the entry of somebody else.
    #[must_use]
    pub fn new(on: bool, secret: u64) -> Throttle {
        Throttle { on, entries: HashMap::new(), secret }
    }

    /// Asks whether a source may try a password for an account.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn admit(&self, account: &str, source: Source, now: Duration) -> Result<(), Duration> {
        if !self.on {
            return Ok(());
        }
        let pair = self.get(&(account, source));
        let fresh = pair.failures == 0 || now.saturating_sub(pair.used) > FORGIVEN;
        let mut wait = if fresh { Duration::ZERO } else { pair.until.saturating_sub(now) };
        wait = wait.max(PAIR.wait(&pair, now)).max(SOURCE.wait(&self.get(&source), now));
        if !fresh {
            wait = wait.max(ACCOUNT.wait(&self.get(&account), now));
        }
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Takes note of a wrong password. Requests at the same moment are all admitted, as many as are worked on at once.
    pub fn failed(&mut self, account: &str, source: Source, now: Duration) {
        if !self.on {
            return;
        }
        let pair = self.entry(&(account, source), now);
        if now.saturating_sub(pair.used) > FORGIVEN {
            pair.failures = 0;
        }
        // What was admitted at the same moment as another one does not lengthen its wait.
        if now >= pair.until {
            pair.failures = pair.failures.saturating_add(1);
            if let Some(nth) = pair.failures.checked_sub(FREE + 1) {
                let wait = WAITS[WAITS.len().min(nth as usize + 1) - 1];
                pair.until = now + Duration::from_secs(wait);
            }
        }
        pair.used = now;
        PAIR.charge(pair, now);
        ACCOUNT.charge(self.entry(&account, now), now);
        SOURCE.charge(self.entry(&source, now), now);
    }

    /// Forgives a source its failures on an account: it has the right password.
    pub fn succeeded(&mut self, account: &str, source: Source) {
        let key = self.key(&(account, source));
        self.entries.remove(&key);
    }

    /// Takes one from the budget of a source.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn spend(&mut self, budget: Budget, source: Source, now: Duration) -> Result<(), Duration> {
        if !self.on {
            return Ok(());
        }
        let entry = self.entry(&(budget, source), now);
        entry.used = now;
        let wait = budget.rate().wait(entry, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        budget.rate().charge(entry, now);
        Ok(())
    }

    /// What another process needs to go on, for which these times are the same.
    #[must_use]
    pub fn state(&self) -> impl Serialize + use<> {
        (self.secret, self.entries.iter().map(|(key, entry)| (*key, *entry)).collect::<Vec<_>>())
    }

    /// Goes on with what [`Throttle::state`] said.
    pub fn restore(&mut self, (secret, entries): State) {
        self.secret = secret;
        self.entries = entries.0.into_iter().take(MOST).collect();
    }

    fn key(&self, of: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        of.hash(&mut hasher);
        hasher.finish()
    }

    fn get(&self, of: &impl Hash) -> Entry {
        self.entries.get(&self.key(of)).copied().unwrap_or_default()
    }

    fn entry(&mut self, of: &impl Hash, now: Duration) -> &mut Entry {
        if self.entries.len() >= MOST {
            let mut times: Vec<Duration> = self.entries.values().map(|entry| entry.used).collect();
            let (_, limit, _) = times.select_nth_unstable(MOST / 4);
            let limit = *limit;
            let mut left = MOST / 4;
            self.entries.retain(|_, entry| {
                let goes = entry.used <= limit && left > 0;
                left -= usize::from(goes);
                !goes
            });
        }
        let key = self.key(of);
        self.entries.entry(key).or_insert(Entry { used: now, ..Entry::default() })
    }
}

/// What one process tells the next.
pub type State = (u64, Entries);

/// Entries as they travel.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Entries(Vec<(u64, Entry)>);

impl Rate {
    /// How long until there is one more to take.
    fn wait(&self, entry: &Entry, now: Duration) -> Duration {
        (entry.whole + self.every).saturating_sub(now + self.every * self.burst)
    }

    fn charge(&self, entry: &mut Entry, now: Duration) {
        entry.used = now;
        entry.whole = entry.whole.max(now) + self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(100_000 + seconds)
    }

    fn from(address: &str) -> Source {
        Source::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn waits_grow_after_three_failures() {
        let (mut throttle, source, mut now) = (Throttle::new(true, 1), from("192.0.2.1"), seconds(0));
        for expected in [0, 0, 1, 3, 5, 10, 20, 40, 40] {
            assert_eq!(throttle.admit("rei", source, now), Ok(()));
            throttle.failed("rei", source, now);
            let wait = Duration::from_secs(expected);
            if expected > 0 {
                assert_eq!(throttle.admit("rei", source, now), Err(wait));
                throttle.failed("rei", source, now);
                assert_eq!(throttle.admit("rei", source, now), Err(wait), "a failure within it lengthens it");
            }
            now += wait;
        }
        assert_eq!(throttle.admit("asuka", source, now), Ok(()));
        assert_eq!(throttle.admit("rei", from("192.0.2.2"), now), Ok(()));
        throttle.succeeded("rei", source);
        throttle.failed("rei", source, now);
        assert_eq!(throttle.admit("rei", source, now), Ok(()));
    }

    #[test]
    fn whoever_has_waited_an_hour_starts_afresh() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
        (0..60).for_each(|nth| throttle.failed("rei", source, seconds(nth * 40)));
        let later = seconds(60 * 40 + 3601);
        assert_eq!(throttle.admit("rei", source, later), Ok(()));
        throttle.failed("rei", source, later);
        assert_eq!(throttle.admit("rei", source, later), Ok(()));
    }

    /// Tries as fast as it is let, for so many hours.
    fn tries(throttle: &mut Throttle, hours: u64, who: impl Fn(u64) -> (String, Source)) -> u64 {
        let mut count = 0;
        for second in 0..hours * 3600 {
            for _ in 0..3 {
                let (account, source) = who(count);
                if throttle.admit(&account, source, seconds(second)).is_ok() {
                    throttle.failed(&account, source, seconds(second));
                    count += 1;
                }
            }
        }
        count
    }

    #[test]
    fn tries_an_hour_are_bounded() {
        let one = tries(&mut Throttle::new(true, 1), 1, |_| ("rei".into(), from("192.0.2.1")));
        assert!((60..=100).contains(&one), "{one}");
        let many = tries(&mut Throttle::new(true, 1), 1, |count| (format!("user {count}"), from("192.0.2.1")));
        assert!((500..=600).contains(&many), "{many}");
    }

    #[test]
    fn an_account_has_a_budget_and_its_owner_gets_in() {
        let mut throttle = Throttle::new(true, 1);
        let botnet = |count| ("rei".into(), from(&format!("198.51.100.{}", count % 200)));
        let count = tries(&mut throttle, 1, botnet);
        assert!(count <= 300 + 200, "{count}");
        assert_eq!(throttle.admit("rei", from("192.0.2.1"), seconds(3600)), Ok(()));
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
    }

    #[test]
    fn budgets_end_and_come_back() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
        for _ in 0..600 {
            assert_eq!(throttle.spend(Budget::Captcha, source, seconds(0)), Ok(()));
        }
        assert_eq!(throttle.spend(Budget::Captcha, source, seconds(0)), Err(Duration::from_millis(200)));
        assert_eq!(throttle.spend(Budget::Register, source, seconds(0)), Ok(()));
        assert_eq!(throttle.spend(Budget::Captcha, from("192.0.2.2"), seconds(0)), Ok(()));
        assert_eq!((0..9).filter(|_| throttle.spend(Budget::Captcha, source, seconds(1)).is_ok()).count(), 5);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let mut throttle = Throttle::new(true, 1);
        for nth in 0..100_000_u32 {
            throttle.failed(&nth.to_string(), Source::of(Some(IpAddr::V4(nth.into()))), seconds(u64::from(nth) / 1000));
            assert!(throttle.entries.len() <= MOST);
        }
        assert_eq!(throttle.get(&(&*99_999.to_string(), Source::of(Some(IpAddr::V4(99_999.into()))))).failures, 1);
    }

    #[test]
    fn it_goes_over_to_another_process_and_can_be_off() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
        (0..3).for_each(|_| throttle.failed("rei", source, seconds(0)));
        let text = serde_json::to_string(&throttle.state()).unwrap();
        let mut other = Throttle::new(true, 2);
        other.restore(serde_json::from_str(&text).unwrap());
        assert!(other.admit("rei", source, seconds(0)).is_err());
        let mut off = Throttle::new(false, 1);
        (0..1000).for_each(|_| off.failed("rei", source, seconds(0)));
        assert_eq!(off.admit("rei", source, seconds(0)), Ok(()));
    }
}
