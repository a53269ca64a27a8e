//! The rate limits: growing waits after wrong guesses, and budgets for costly requests.
//!
//! A guess is charged when it is admitted, so that concurrent guesses count each other, and
//! refunded if it was right or turned out not to be a guess. Each is one step under the throttle's
//! lock.

mod limits;
mod table;

pub use crate::http::network::Source;
pub use limits::Limits;

use crate::http::network::Network;
use limits::{Kind, WRONG_CAPTCHA_COST};
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use table::{Entry, Key, Table, millis};

/// A costly request, for which each source has a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// A request for a new account.
    Register,
    /// A new captcha.
    Captcha,
    /// An uploaded picture.
    Upload,
    /// A change of an account. The account has a budget too, if its id is known.
    Change(Option<i64>),
}

/// A new account, which counts only once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewAccount {
    /// With the configured key. The whole server has a budget for these too, so that a program
    /// that knows the key cannot fill the database.
    WithKey,
    /// With an invitation, which limits them itself.
    Invited,
}

/// A secret that a client may guess at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secret<'a> {
    /// The password of the user with this name, even if no such user exists.
    Password(&'a str),
    /// The configured key that resets passwords.
    ResetKey,
    /// The configured key that registers accounts.
    RegistrationKey,
    /// The user key of the user with this name, even if no such user exists.
    UserKey(&'a str),
    /// The key of any invitation or reset link, asked about without a captcha.
    Link,
}

impl Secret<'_> {
    /// Whether a guess costs the client nothing: it needs neither a solved captcha nor a token.
    fn is_free(&self) -> bool {
        match self {
            Secret::Password(_) | Secret::ResetKey | Secret::RegistrationKey => false,
            Secret::UserKey(_) | Secret::Link => true,
        }
    }
}

/// How a guess ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The guess was right.
    Right,
    /// The guess was wrong.
    Wrong,
    /// The guess was right, but the code of the second factor is absent. It counts as wrong for the
    /// source's own waits alone, which the next right guess forgives: many people behind one
    /// address sign in this way.
    Incomplete,
    /// The request failed for another reason: the rest of it was invalid, or the server failed.
    Unknown,
}

/// A pending guess or new account, and the keys that it is charged to. It must always be settled.
#[derive(Debug, Default)]
pub struct Guess {
    keys: Vec<Key>,
    /// When it was admitted.
    at: u64,
    /// Whether its entries are in the table of free requests.
    is_free: bool,
}

/// The wrong guesses and budgets of all sources. Times come from the caller and are monotonic.
pub struct Throttle {
    enabled: bool,
    /// The key of the hashes. The next worker takes it over with the entries.
    secret: u64,
    /// Guesses and budgets of requests that cost the client nothing, such as captchas.
    free: Table,
    /// Guesses and budgets of requests that need a solved captcha or a token. Their table is
    /// separate, so that free requests evict none of them.
    paid: Table,
}

impl Throttle {
    /// An empty throttle. Secrets are hashed with the key `secret`, so that clients cannot
    /// construct collisions with each other's entries.
    pub fn new(enabled: bool, limits: Limits, secret: u64) -> Throttle {
        Throttle {
            enabled,
            secret,
            free: Table::new(limits),
            paid: Table::new(limits),
        }
    }

    /// Charges a source for one guess at each of these secrets. If it must wait first, the error is
    /// the wait, and nothing is charged.
    pub fn admit(
        &mut self,
        secrets: &[Secret],
        source: Source,
        now: Duration,
    ) -> Result<Guess, Duration> {
        let at = millis(now);
        if !self.enabled {
            return Ok(Guess::default());
        }
        let is_free = secrets.iter().any(Secret::is_free);
        let mut wait = 0;
        let mut keys: Vec<Key> = source
            .with_wider()
            .map(|network| Key {
                kind: Kind::Guesser,
                network,
                about: 0,
            })
            .collect();
        for secret in secrets {
            let about = self.hash(secret);
            keys.extend(source.with_wider().map(|network| Key {
                kind: Kind::Guess,
                network,
                about,
            }));
            let of_source = Key {
                kind: Kind::Guess,
                network: source,
                about,
            };
            let table = self.table(is_free);
            let (guess_wait, has_free_guess) = table.guess_wait(&of_source, at);
            wait = wait.max(guess_wait);
            // The guesses of other sources do not lock out a source with a free guess left, for
            // example the account's owner.
            let of_all = Key {
                kind: Kind::Secret,
                network: Network::EVERYWHERE,
                about,
            };
            if !has_free_guess || table.wait(&of_all, at) == 0 {
                keys.push(of_all);
            }
        }
        let table = self.table(is_free);
        let waits = keys.iter().map(|key| table.wait(key, at));
        let wait = waits.fold(wait, u64::max);
        if wait > 0 {
            return Err(Duration::from_millis(wait));
        }
        for key in &keys {
            table.begin(*key, at);
        }
        Ok(Guess { keys, at, is_free })
    }

    /// Settles a guess: a wrong one stays charged, any other is refunded. After a right one, the
    /// source's earlier wrong guesses are forgotten.
    pub fn settle(&mut self, guess: Guess, verdict: Verdict) {
        let table = self.table(guess.is_free);
        for key in &guess.keys {
            match verdict {
                Verdict::Wrong => table.confirm(key, guess.at),
                Verdict::Incomplete if key.has_waits() => table.confirm(key, guess.at),
                Verdict::Incomplete => table.refund(key, false),
                Verdict::Right | Verdict::Unknown => table.refund(key, verdict == Verdict::Right),
            }
        }
    }

    /// Charges the budgets for a new account. If one of them is used up, the error is the wait, and
    /// nothing is charged. [`Verdict::Wrong`] keeps the charge, any other verdict refunds it: if
    /// refused requests counted, a client without the key could use up the whole server's budget.
    pub fn reserve(
        &mut self,
        account: NewAccount,
        source: Source,
        now: Duration,
    ) -> Result<Guess, Duration> {
        if !self.enabled {
            return Ok(Guess::default());
        }
        let of_server = (account == NewAccount::WithKey).then_some(Network::EVERYWHERE);
        let keys: Vec<Key> = source
            .with_wider()
            .chain(of_server)
            .map(|network| Key {
                kind: Kind::NewAccount,
                network,
                about: 0,
            })
            .collect();
        let at = millis(now);
        let waits = keys.iter().map(|key| self.paid.wait(key, at));
        let wait = waits.max().unwrap_or_default();
        if wait > 0 {
            return Err(Duration::from_millis(wait));
        }
        for key in &keys {
            self.paid.begin(*key, at);
        }
        Ok(Guess {
            keys,
            at,
            is_free: false,
        })
    }

    /// Charges the budgets of a source and of the networks around it for a wrong answer to a
    /// captcha: for several further captchas, but no more than the source's budget can owe. So one
    /// source never uses up the budget of its network, however many captchas it has kept.
    pub fn charge_wrong_captcha(&mut self, source: Source, now: Duration) {
        if !self.enabled {
            return;
        }
        let now = millis(now);
        let keys = source.with_wider().map(|network| Key {
            kind: Kind::Captcha,
            network,
            about: 0,
        });
        let keys: Vec<Key> = keys.collect();
        let credits = keys.iter().map(|key| self.free.credit(key, now));
        let cost = credits.fold(WRONG_CAPTCHA_COST, u32::min);
        for key in keys {
            (0..cost).for_each(|_| self.free.charge(key, now));
        }
    }

    /// Charges the budgets of a source and of the networks around it for one request. If one of
    /// them is used up, the error is the wait, and nothing is charged.
    pub fn spend(&mut self, budget: Budget, source: Source, now: Duration) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let kind = match budget {
            Budget::Register => Kind::Register,
            Budget::Captcha => Kind::Captcha,
            Budget::Upload => Kind::Upload,
            Budget::Change(_) => Kind::Change,
        };
        let mut keys: Vec<Key> = source
            .with_wider()
            .map(|network| Key {
                kind,
                network,
                about: 0,
            })
            .collect();
        if let Budget::Change(Some(id)) = budget {
            keys.push(Key {
                kind: Kind::Account,
                network: Network::EVERYWHERE,
                about: id.cast_unsigned(),
            });
        }
        let table = self.table(budget == Budget::Captcha);
        let now = millis(now);
        let wait = keys
            .iter()
            .map(|key| table.wait(key, now))
            .max()
            .unwrap_or_default();
        if wait > 0 {
            return Err(Duration::from_millis(wait));
        }
        for key in keys {
            table.charge(key, now);
        }
        Ok(())
    }

    /// The state for the next worker. Pending guesses count as wrong in it, since that worker never
    /// learns how they end.
    pub fn state(&self) -> impl Serialize + use<> {
        (self.secret, self.free.state(), self.paid.state())
    }

    /// Takes over the state of the previous worker.
    pub fn restore(&mut self, (secret, free, paid): State) {
        self.secret = secret;
        self.free.restore(free.0);
        self.paid.restore(paid.0);
    }

    fn table(&mut self, is_free: bool) -> &mut Table {
        if is_free {
            &mut self.free
        } else {
            &mut self.paid
        }
    }

    fn hash(&self, value: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

/// The state that one worker sends to the next.
pub type State = (u64, Entries, Entries);

/// The entries of one table in that state.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Entries(Vec<(Key, Entry)>);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The address of the nth source.
    type Sources = fn(u64) -> String;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(100_000 + seconds)
    }

    const LIMITS: Limits = Limits {
        registrations_per_source: 20,
        registrations_per_hour: 300,
    };

    fn throttle() -> Throttle {
        Throttle::new(true, LIMITS, 1)
    }

    fn from(address: &str) -> Source {
        Source::of(address.parse().ok())
    }

    fn rei() -> Secret<'static> {
        Secret::Password("rei")
    }

    /// Admits and settles a guess. Returns the wait if it is refused.
    fn guess(
        throttle: &mut Throttle,
        secret: Secret,
        source: Source,
        now: Duration,
        verdict: Verdict,
    ) -> Duration {
        match throttle.admit(&[secret], source, now) {
            Ok(guess) => throttle.settle(guess, verdict),
            Err(wait) => return wait,
        }
        Duration::ZERO
    }

    fn wrong(throttle: &mut Throttle, secret: Secret, source: Source, now: Duration) -> Duration {
        guess(throttle, secret, source, now, Verdict::Wrong)
    }

    /// All entries, without the times of the last guesses.
    fn entries(throttle: &Throttle) -> HashMap<String, String> {
        let text = serde_json::to_value(throttle.state()).unwrap();
        let tables = text.as_array().unwrap()[1..]
            .iter()
            .flat_map(|table| table.as_array().unwrap());
        tables
            .map(|entry| {
                let mut value = entry[1].clone();
                value["begun"] = 0.into();
                (entry[0].to_string(), value.to_string())
            })
            .collect()
    }

    #[test]
    fn waits_grow_after_three_wrong_guesses() {
        for secret in [
            rei(),
            Secret::ResetKey,
            Secret::RegistrationKey,
            Secret::UserKey("rei"),
            Secret::Link,
        ] {
            let (mut throttle, source, mut now) = (throttle(), from("192.0.2.1"), seconds(0));
            for expected in [0, 0, 1, 3, 5, 10, 20, 40, 40] {
                assert_eq!(
                    wrong(&mut throttle, secret, source, now),
                    Duration::ZERO,
                    "{secret:?}"
                );
                let wait = Duration::from_secs(expected);
                if expected > 0 {
                    assert_eq!(wrong(&mut throttle, secret, source, now), wait);
                    assert_eq!(
                        wrong(&mut throttle, secret, source, now),
                        wait,
                        "a refused guess does not lengthen the wait"
                    );
                }
                now += wait;
            }
            for other in ["192.0.2.2", "2001:db8::1", "?"] {
                assert!(
                    throttle.admit(&[secret], from(other), now).is_ok(),
                    "another source"
                );
            }
            assert_eq!(
                wrong(&mut throttle, Secret::Password("asuka"), source, now),
                Duration::ZERO,
                "another secret"
            );
            assert_eq!(
                guess(&mut throttle, secret, source, now, Verdict::Right),
                Duration::ZERO
            );
            assert_eq!(
                wrong(&mut throttle, secret, source, now),
                Duration::ZERO,
                "a right guess resets the waits"
            );
            assert_eq!(wrong(&mut throttle, secret, source, now), Duration::ZERO);
        }
    }

    #[test]
    fn wrong_guesses_are_forgotten_an_hour_after_the_last_one() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        (0..60).for_each(|nth| {
            assert!(wrong(&mut throttle, rei(), source, seconds(nth * 40)).is_zero())
        });
        let later = seconds(59 * 40 + 3601);
        for _ in 0..3 {
            assert!(wrong(&mut throttle, rei(), source, later).is_zero());
        }
        assert_eq!(
            wrong(&mut throttle, rei(), source, later),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn of_sixty_simultaneous_guesses_eight_are_admitted() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        let mut pending: Vec<_> = (0..60)
            .filter_map(|_| throttle.admit(&[rei()], source, seconds(0)).ok())
            .collect();
        assert_eq!(pending.len(), 8);
        assert_eq!(
            throttle.admit(&[rei()], source, seconds(0)).unwrap_err(),
            Duration::from_secs(1)
        );
        pending
            .drain(..)
            .for_each(|guess| throttle.settle(guess, Verdict::Wrong));
        assert_eq!(
            throttle.admit(&[rei()], source, seconds(0)).unwrap_err(),
            Duration::from_secs(40)
        );
        // Without free guesses, only one may be pending.
        let admitted = (0..60)
            .filter_map(|_| throttle.admit(&[rei()], source, seconds(40)).ok())
            .collect::<Vec<_>>();
        assert_eq!(admitted.len(), 1);
    }

    #[test]
    fn a_client_with_the_right_password_may_log_in_six_times_at_once() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        // Also after one or two typing errors.
        for round in 0..100 {
            for _ in 0..round % 3 {
                assert!(wrong(&mut throttle, rei(), source, seconds(round)).is_zero());
            }
            let pending: Vec<_> = (0..6)
                .map(|_| {
                    throttle
                        .admit(&[rei()], source, seconds(round))
                        .expect("admitted")
                })
                .collect();
            pending
                .into_iter()
                .for_each(|guess| throttle.settle(guess, Verdict::Right));
        }
    }

    #[test]
    fn a_refund_restores_what_was_charged() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..50 {
            // Both throttles have the same wrong guesses; one also has guesses that are refunded.
            let (mut one, mut other) = (throttle(), throttle());
            let mut pending = Vec::new();
            let mut now = seconds(0);
            for _ in 0..200 {
                now += Duration::from_millis(random(20_000));
                let name = random(4).to_string();
                let source = from(&format!("2001:db8:0:{:x}::", random(3) * 0x80));
                // Refunded guesses have another secret: a pending guess at the same one would
                // rightly delay the others.
                let (secret, attempts) = (Secret::Password(&name), [Secret::Password("another")]);
                if random(2) == 0 {
                    pending.extend(one.admit(&attempts, source, now));
                } else {
                    assert_eq!(
                        wrong(&mut one, secret, source, now),
                        wrong(&mut other, secret, source, now)
                    );
                }
                if random(3) == 0 && !pending.is_empty() {
                    let nth = random(pending.len() as u64) as usize;
                    let verdict = if random(2) == 0 {
                        Verdict::Right
                    } else {
                        Verdict::Unknown
                    };
                    one.settle(pending.swap_remove(nth), verdict);
                }
            }
            pending
                .drain(..)
                .for_each(|guess| one.settle(guess, Verdict::Unknown));
            assert_eq!(entries(&one), entries(&other));
        }
    }

    #[test]
    fn guesses_an_hour_are_bounded() {
        let address = |_| "192.0.2.1".into();
        let block = |count| format!("192.0.2.{}", count % 0x100);
        let home = |count| format!("2001:db8:0:{:x}::", count % 0x100);
        let site = |count| format!("2001:db8:0:{:x}::", count * 0x101 % 0x1_0000);
        let unknown = |_| "?".into();
        // Sources, and their most guesses in an hour at one account and at all accounts.
        let rows: [(Sources, u64, u64); 5] = [
            (address, 100, 600),
            (block, 400, 4800),
            (home, 200, 1200),
            (site, 400, 4800),
            (unknown, 100, 4800),
        ];
        for (source, at_one, at_all) in rows {
            for (names, most) in [(1, at_one), (u64::MAX, at_all)] {
                let (mut throttle, mut count) = (throttle(), 0);
                for half in 0..2 * 3600 {
                    let name = (count % names).to_string();
                    let wait = wrong(
                        &mut throttle,
                        Secret::Password(&name),
                        from(&source(count)),
                        seconds(half / 2),
                    );
                    count += u64::from(wait.is_zero());
                }
                assert!(
                    (most * 9 / 10..=most).contains(&count),
                    "{} {names} {count}",
                    source(0)
                );
            }
        }
    }

    /// Eighty sources in as many networks each guess once at rei's password, in this second.
    /// Returns how many guesses are admitted.
    fn botnet(throttle: &mut Throttle, second: u64) -> usize {
        let sources = (0..80).map(|nth| from(&format!("198.51.{nth}.1")));
        sources
            .filter(|source| wrong(throttle, rei(), *source, seconds(second)).is_zero())
            .count()
    }

    #[test]
    fn during_an_attack_the_owner_has_three_guesses_from_a_new_source() {
        let mut throttle = throttle();
        let count: usize = (0..3600).map(|second| botnet(&mut throttle, second)).sum();
        assert!(count <= 300 + 3 * 80, "{count}");
        for owner in ["192.0.2.1", "2001:db8::1", "?"] {
            for _ in 0..2 {
                assert!(
                    wrong(&mut throttle, rei(), from(owner), seconds(3600)).is_zero(),
                    "{owner}"
                );
            }
            let verdict = guess(
                &mut throttle,
                rei(),
                from(owner),
                seconds(3600),
                Verdict::Right,
            );
            assert!(verdict.is_zero(), "{owner}");
        }
    }

    #[test]
    fn during_an_attack_on_the_registration_key_every_new_source_is_admitted() {
        let mut throttle = throttle();
        for second in 0..3600 {
            wrong(
                &mut throttle,
                Secret::RegistrationKey,
                from("192.0.2.1"),
                seconds(second),
            );
            wrong(
                &mut throttle,
                Secret::RegistrationKey,
                from(&format!("198.51.{}.1", second % 250)),
                seconds(second),
            );
            let honest = from(&format!("2001:db8:{second:x}::"));
            let key = guess(
                &mut throttle,
                Secret::RegistrationKey,
                honest,
                seconds(second),
                Verdict::Right,
            );
            assert!(key.is_zero(), "{second}");
        }
    }

    #[test]
    fn no_wait_exceeds_an_hour() {
        let mut throttle = throttle();
        let owner = from("192.0.2.1");
        let mut longest = Duration::ZERO;
        let mut waiting = 0;
        for second in 0..2 * 3600 {
            botnet(&mut throttle, second);
            let wait = wrong(&mut throttle, rei(), owner, seconds(second));
            longest = longest.max(wait);
            // Even in a long attack, and if the owner keeps guessing wrong.
            waiting = if wait.is_zero() { 0 } else { waiting + 1 };
            assert!(waiting <= 3601, "{second}");
        }
        for nth in 0..20_000 {
            let name = format!("user {nth}");
            let at = seconds(2 * 3600);
            longest = longest.max(wrong(
                &mut throttle,
                Secret::Password(&name),
                from("203.0.113.1"),
                at,
            ));
            for budget in [
                Budget::Register,
                Budget::Captcha,
                Budget::Upload,
                Budget::Change(Some(1)),
            ] {
                longest = longest.max(
                    throttle
                        .spend(budget, from("203.0.113.1"), at)
                        .err()
                        .unwrap_or_default(),
                );
            }
        }
        assert!(
            longest > Duration::ZERO && longest <= Duration::from_secs(90),
            "{longest:?}"
        );
    }

    #[test]
    fn a_budget_refills_after_it_is_used_up() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        for _ in 0..600 {
            assert_eq!(throttle.spend(Budget::Captcha, source, seconds(0)), Ok(()));
        }
        assert_eq!(
            throttle.spend(Budget::Captcha, source, seconds(0)),
            Err(Duration::from_millis(200))
        );
        assert_eq!(throttle.spend(Budget::Register, source, seconds(0)), Ok(()));
        assert_eq!(
            throttle.spend(Budget::Captcha, from("192.0.2.2"), seconds(0)),
            Ok(())
        );
        assert_eq!(
            (0..9)
                .filter(|_| throttle.spend(Budget::Captcha, source, seconds(1)).is_ok())
                .count(),
            5
        );
    }

    #[test]
    fn the_sources_of_a_network_share_a_budget() {
        let sources: [(Sources, usize); 4] = [
            (|nth| format!("2001:db8:0:{:x}::", nth % 0x1_0000), 4800),
            (|nth| format!("2001:db8:0:{:x}::", nth % 0x100), 1200),
            (|nth| format!("198.51.100.{}", nth % 256), 4800),
            (|_| "?".into(), 4800),
        ];
        for (source, most) in sources {
            let mut throttle = throttle();
            let spent = (0..10_000).filter(|nth| {
                throttle
                    .spend(Budget::Captcha, from(&source(*nth)), seconds(0))
                    .is_ok()
            });
            assert_eq!(spent.count(), most, "{}", source(0));
            for other in ["2001:db8:1::", "198.51.101.1", "192.0.2.1"] {
                assert_eq!(
                    throttle.spend(Budget::Captcha, from(other), seconds(0)),
                    Ok(()),
                    "{other}"
                );
            }
        }
    }

    #[test]
    fn the_changes_of_an_account_have_a_budget_for_all_sources_together() {
        let mut throttle = throttle();
        let mut change = |id: i64, nth: u32, now| {
            throttle.spend(
                Budget::Change(Some(id)),
                from(&format!("2001:db8:{nth:x}::")),
                now,
            )
        };
        assert_eq!(
            (0..1000)
                .filter(|nth| change(7, *nth, seconds(0)).is_ok())
                .count(),
            300
        );
        assert_eq!(change(7, 1, seconds(0)), Err(Duration::from_secs(1)));
        assert_eq!(
            (0..1000)
                .filter(|nth| change(7, *nth, seconds(60)).is_ok())
                .count(),
            60
        );
        assert_eq!(change(8, 1, seconds(0)), Ok(()), "another account");
    }

    #[test]
    fn a_refused_request_is_not_charged() {
        let mut throttle = throttle();
        for nth in 0..4800 {
            assert!(
                throttle
                    .spend(
                        Budget::Captcha,
                        from(&format!("2001:db8:0:{nth:x}::")),
                        seconds(0)
                    )
                    .is_ok()
            );
        }
        for _ in 0..8 {
            assert!(
                wrong(&mut throttle, rei(), from("192.0.2.1"), seconds(0)) < Duration::from_secs(2)
            );
        }
        let before = entries(&throttle);
        for nth in 5000..6000 {
            assert!(
                throttle
                    .spend(
                        Budget::Captcha,
                        from(&format!("2001:db8:0:{nth:x}::")),
                        seconds(0)
                    )
                    .is_err()
            );
            let both = [Secret::Password("unknown"), rei()];
            assert!(
                throttle
                    .admit(&both, from("192.0.2.1"), seconds(0))
                    .is_err(),
                "charged for neither"
            );
        }
        assert_eq!(entries(&throttle), before);
    }

    #[test]
    fn free_requests_do_not_evict_guesses_that_cost_a_captcha() {
        let mut throttle = throttle();
        for _ in 0..3 {
            assert!(wrong(&mut throttle, rei(), from("192.0.2.1"), seconds(0)).is_zero());
        }
        // Each is in another site and so makes three entries: four times as many as a table holds.
        for nth in 0..40_000 {
            let source = from(&format!("2001:db8:{nth:x}::"));
            assert_eq!(throttle.spend(Budget::Captcha, source, seconds(0)), Ok(()));
            for secret in [Secret::Link, Secret::UserKey("rei")] {
                assert!(wrong(&mut throttle, secret, source, seconds(0)).is_zero());
            }
        }
        assert_eq!(
            wrong(&mut throttle, rei(), from("192.0.2.1"), seconds(0)),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_flood_of_guesses_evicts_its_own_entries() {
        let mut throttle = throttle();
        let honest = ["192.0.2.1", "2001:db9::1", "?"].map(from);
        for source in honest {
            (0..4).for_each(|nth| {
                assert!(wrong(&mut throttle, rei(), source, seconds(nth)).is_zero())
            });
        }
        // Ten sites guess at another name from another link each time, as often as they may.
        let mut count = 0;
        for nth in 0..10 * 2400_u32 {
            let (site, name) = (nth % 10, nth.to_string());
            let source = from(&format!("2001:db8:{site:x}:{:x}::", nth / 10));
            count += u32::from(
                wrong(&mut throttle, Secret::Password(&name), source, seconds(3)).is_zero(),
            );
        }
        assert_eq!(count, 10 * 2400, "within the budget of each site");
        for source in honest {
            assert_eq!(
                wrong(&mut throttle, rei(), source, seconds(3)),
                Duration::from_secs(3)
            );
        }
        // The flood has not evicted the used-up budgets of the sites.
        let refused = (0..10).filter(|site| {
            let source = from(&format!("2001:db8:{site:x}:ffff::"));
            !wrong(&mut throttle, Secret::Password("asuka"), source, seconds(3)).is_zero()
        });
        assert_eq!(refused.count(), 10);
    }

    #[test]
    fn the_next_worker_takes_over_the_state_with_pending_guesses_as_wrong() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        assert!(wrong(&mut throttle, rei(), source, seconds(0)).is_zero());
        let pending = [0, 1].map(|_| throttle.admit(&[rei()], source, seconds(7200)).unwrap());
        (0..600).for_each(|_| {
            throttle
                .spend(Budget::Captcha, source, seconds(7200))
                .unwrap()
        });
        let text = serde_json::to_string(&throttle.state()).unwrap();
        let mut other = Throttle::new(true, LIMITS, 2);
        other.restore(serde_json::from_str(&text).unwrap());
        assert!(other.spend(Budget::Captcha, source, seconds(7200)).is_err());
        assert!(
            wrong(&mut other, rei(), source, seconds(7200)).is_zero(),
            "the third free guess"
        );
        assert_eq!(
            wrong(&mut other, rei(), source, seconds(7200)),
            Duration::from_secs(1)
        );
        pending
            .into_iter()
            .for_each(|guess| throttle.settle(guess, Verdict::Wrong));
        (0..1).for_each(|_| assert!(wrong(&mut throttle, rei(), source, seconds(7200)).is_zero()));
        assert_eq!(entries(&throttle), entries(&other));
        let older_state = r#"[1,[[2,{"failures":3,"until":{"secs":1,"nanos":0}}]]]"#;
        assert!(
            serde_json::from_str::<State>(older_state).is_err(),
            "the state of 1.1.0 is refused, not misread"
        );
    }

    #[test]
    fn a_disabled_throttle_admits_everything() {
        let (mut disabled, source) = (Throttle::new(false, LIMITS, 1), from("192.0.2.1"));
        for _ in 0..1000 {
            assert!(wrong(&mut disabled, rei(), source, seconds(0)).is_zero());
            assert_eq!(disabled.spend(Budget::Upload, source, seconds(0)), Ok(()));
            assert!(
                register(&mut disabled, NewAccount::WithKey, "192.0.2.1", seconds(0)).is_zero()
            );
        }
        assert!(entries(&disabled).is_empty());
    }

    /// Registers one account. Returns the wait if it is refused.
    fn register(
        throttle: &mut Throttle,
        account: NewAccount,
        source: &str,
        now: Duration,
    ) -> Duration {
        match throttle.reserve(account, from(source), now) {
            Ok(charge) => throttle.settle(charge, Verdict::Wrong),
            Err(wait) => return wait,
        }
        Duration::ZERO
    }

    /// How many of 10,000 requests for a new account are admitted at one moment.
    fn registered(
        throttle: &mut Throttle,
        account: NewAccount,
        source: Sources,
        now: Duration,
    ) -> usize {
        (0..10_000)
            .filter(|nth| register(throttle, account, &source(*nth), now).is_zero())
            .count()
    }

    const HOME: Sources = |_| "192.0.2.1".into();
    const BLOCK: Sources = |nth| format!("192.0.2.{}", nth % 256);
    const BOTNET: Sources = |nth| format!("2001:db8:{:x}::", nth % 0x1_0000);

    #[test]
    fn a_source_registers_twenty_accounts_and_then_one_in_ten_seconds() {
        for account in [NewAccount::WithKey, NewAccount::Invited] {
            let mut throttle = throttle();
            assert_eq!(registered(&mut throttle, account, HOME, seconds(0)), 20);
            assert_eq!(
                register(&mut throttle, account, &HOME(0), seconds(4)),
                Duration::from_secs(6)
            );
            assert_eq!(registered(&mut throttle, account, HOME, seconds(10)), 1);
            assert_eq!(registered(&mut throttle, account, HOME, seconds(40)), 3);
            assert_eq!(
                registered(&mut throttle, account, BLOCK, seconds(40)),
                160 - 3
            );
        }
    }

    #[test]
    fn the_whole_server_registers_300_accounts_in_an_hour_and_invitations_do_not_count() {
        let mut throttle = throttle();
        let with_key = NewAccount::WithKey;
        for nth in 0..1000 {
            let wait = register(&mut throttle, NewAccount::Invited, &BOTNET(nth), seconds(0));
            assert!(wait.is_zero());
        }
        assert_eq!(registered(&mut throttle, with_key, BOTNET, seconds(0)), 300);
        let wait = register(&mut throttle, with_key, &BOTNET(999), seconds(0));
        assert_eq!(wait, Duration::from_secs(12));
        let invited = register(&mut throttle, NewAccount::Invited, &BOTNET(999), seconds(0));
        assert!(invited.is_zero());
        let hour = seconds(3600);
        assert_eq!(registered(&mut throttle, with_key, BOTNET, hour), 300);
    }

    #[test]
    fn an_account_that_is_not_made_costs_nothing_and_one_that_is_pending_counts() {
        let (mut throttle, account) = (throttle(), NewAccount::WithKey);
        let before = entries(&throttle);
        let source = from("192.0.2.1");
        for _ in 0..1000 {
            let charge = throttle.reserve(account, source, seconds(0)).unwrap();
            throttle.settle(charge, Verdict::Unknown);
        }
        assert_eq!(entries(&throttle), before);
        let pending: Vec<_> = (0..1000)
            .filter_map(|_| throttle.reserve(account, source, seconds(0)).ok())
            .collect();
        assert_eq!(pending.len(), 20);
        for charge in pending {
            throttle.settle(charge, Verdict::Unknown);
        }
        assert_eq!(entries(&throttle), before);
    }

    #[test]
    fn the_limits_of_new_accounts_are_settings_and_zero_is_no_limit() {
        for (of_source, an_hour, home, botnet) in [
            (0, 0, 10_000, 10_000),
            (0, 7, 7, 0),
            (5, 0, 5, 10_000),
            (5, 1000, 5, 995),
        ] {
            let limits = Limits {
                registrations_per_source: of_source,
                registrations_per_hour: an_hour,
            };
            let (mut throttle, with_key) = (Throttle::new(true, limits, 1), NewAccount::WithKey);
            let count = registered(&mut throttle, with_key, HOME, seconds(0));
            assert_eq!(count, home, "{limits:?}");
            let count = registered(&mut throttle, with_key, BOTNET, seconds(0));
            assert_eq!(count, botnet, "{limits:?}");
        }
    }

    #[test]
    fn the_next_worker_takes_over_the_budgets_of_new_accounts() {
        let (mut throttle, with_key) = (throttle(), NewAccount::WithKey);
        for _ in 0..19 {
            assert!(register(&mut throttle, with_key, &HOME(0), seconds(0)).is_zero());
        }
        let pending = throttle.reserve(with_key, from("192.0.2.1"), seconds(0));
        let text = serde_json::to_string(&throttle.state()).unwrap();
        throttle.settle(pending.unwrap(), Verdict::Wrong);
        let mut other = Throttle::new(true, LIMITS, 2);
        other.restore(serde_json::from_str(&text).unwrap());
        assert_eq!(registered(&mut other, with_key, HOME, seconds(0)), 0);
        assert_eq!(registered(&mut other, with_key, BOTNET, seconds(0)), 280);
    }

    #[test]
    fn a_flood_does_not_evict_the_budget_of_the_whole_server() {
        let (mut throttle, with_key) = (throttle(), NewAccount::WithKey);
        assert_eq!(registered(&mut throttle, with_key, BOTNET, seconds(0)), 300);
        for nth in 0..40_000 {
            let name = format!("user {nth}");
            let source = from(&format!("2001:db8:{nth:x}::"));
            wrong(&mut throttle, Secret::Password(&name), source, seconds(1));
        }
        assert_eq!(registered(&mut throttle, with_key, BOTNET, seconds(1)), 0);
    }

    /// Fetches a captcha and answers it.
    fn solve(throttle: &mut Throttle, source: Source, now: Duration, right: bool) -> bool {
        let fetched = throttle.spend(Budget::Captcha, source, now).is_ok();
        if fetched && !right {
            throttle.charge_wrong_captcha(source, now);
        }
        fetched
    }

    #[test]
    fn a_wrong_answer_to_a_captcha_costs_ten() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        let mut solved = |now, right| {
            (0..1000)
                .filter(|_| solve(&mut throttle, source, now, right))
                .count()
        };
        assert_eq!(solved(seconds(0), false), 60);
        assert_eq!(solved(seconds(1), false), 1, "the budget may owe");
        assert_eq!(solved(seconds(2), false), 0);
        assert_eq!(solved(seconds(3), false), 1);
        assert_eq!(solved(seconds(5), true), 5);
    }

    #[test]
    fn behind_one_address_a_thousand_people_who_mistype_one_in_five_sign_in_within_ten_minutes() {
        let (mut throttle, source) = (throttle(), from("192.0.2.1"));
        let (mut right, mut tries) = (0, 0);
        for second in 0..600 {
            for _ in 0..1000 {
                let is_right = tries % 5 != 0;
                if !solve(&mut throttle, source, seconds(second), is_right) {
                    break;
                }
                tries += 1;
                right += u32::from(is_right);
            }
            if second == 0 {
                assert!(right >= 170, "{right} at once");
            }
        }
        assert!(right >= 1000, "{right}");
    }

    #[test]
    fn a_source_with_many_wrong_answers_waits_for_two_minutes_and_delays_no_neighbour() {
        let (mut throttle, source) = (throttle(), from("2001:db8::"));
        // It keeps its captchas and answers all of them at the end of their time.
        let mut kept = 0;
        for second in 0..300 {
            while throttle
                .spend(Budget::Captcha, source, seconds(second))
                .is_ok()
            {
                kept += 1;
            }
        }
        assert_eq!(kept, 600 + 299 * 5);
        for _ in 0..kept {
            throttle.charge_wrong_captcha(source, seconds(300));
        }
        let wait = throttle.spend(Budget::Captcha, source, seconds(300));
        assert!(wait.unwrap_err() <= Duration::from_millis(120_200));
        for neighbour in ["2001:db8:0:1::", "2001:db8:0:100::", "192.0.2.1"] {
            let spent = throttle.spend(Budget::Captcha, from(neighbour), seconds(300));
            assert_eq!(spent, Ok(()), "{neighbour}");
        }
        assert_eq!(
            throttle.spend(Budget::Captcha, source, seconds(421)),
            Ok(())
        );
        let mut disabled = Throttle::new(false, LIMITS, 1);
        disabled.charge_wrong_captcha(source, seconds(0));
        assert!(entries(&disabled).is_empty());
    }
}
