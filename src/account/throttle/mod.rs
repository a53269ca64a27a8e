//! Slows down clients that guess or ask too often: waits that grow after wrong guesses, and budgets
//! for costly requests.
//!
//! A guess is charged when it is admitted, so that guesses at the same moment count each other, and
//! given back if it was right or not a guess after all. Both are one step under the throttle's
//! lock; nothing else happens to it later.

mod limits;
mod table;

pub use crate::http::network::Source;

use crate::http::network::Network;
use limits::Kind;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use table::{Entry, Key, Table, millis};

/// A request that costs so much that each source has a budget for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// A new account.
    Register,
    /// A captcha that is drawn.
    Captcha,
    /// A picture.
    Upload,
    /// A change of an account, which has a budget too if its id is known.
    Change(Option<i64>),
}

/// A secret that a client may guess at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secret<'a> {
    /// The password of the user with this name, whether there is one or not.
    Password(&'a str),
    /// The configured key that resets passwords.
    ResetKey,
    /// The configured key that registers accounts.
    RegistrationKey,
}

/// How a guess ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The guess was right.
    Right,
    /// The guess was wrong.
    Wrong,
    /// The request failed for another reason: the rest of it was no good, or the server is at
    /// fault.
    Unknown,
}

/// A guess that is under way, with all that it is charged with. It has to be settled in any case.
#[derive(Debug, Default)]
pub struct Guess {
    keys: Vec<Key>,
    /// When it was admitted.
    at: u64,
}

/// The memory of wrong guesses and budgets. Times come from the caller, and never from a clock that
/// can be set.
pub struct Throttle {
    on: bool,
    /// Of this process or of the one before it.
    secret: u64,
    /// Budgets of requests that cost their client nothing: captchas.
    free: Table,
    /// Guesses, and budgets of requests that need a solved captcha or a token. They have a table of
    /// their own, so that free requests push none of them out.
    paid: Table,
}

impl Throttle {
    /// A throttle without entries. The names of guessed secrets are hashed with `secret`, so that
    /// no client can aim at the entry of another one.
    pub fn new(on: bool, secret: u64) -> Throttle {
        Throttle {
            on,
            secret,
            free: Table::default(),
            paid: Table::default(),
        }
    }

    /// Asks whether a source may guess at these secrets, all at once, and charges it for a guess at
    /// each.
    ///
    /// # Errors
    /// How long it has to wait. Then it is charged nothing.
    pub fn admit(
        &mut self,
        secrets: &[Secret],
        source: Source,
        now: Duration,
    ) -> Result<Guess, Duration> {
        let at = millis(now);
        if !self.on {
            return Ok(Guess::default());
        }
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
            let mine = Key {
                kind: Kind::Guess,
                network: source,
                about,
            };
            let (wait_of_mine, is_free) = self.paid.wait_of_guesser(&mine, at);
            wait = wait.max(wait_of_mine);
            // The guesses of others do not lock out a source that has a free guess left: an
            // account's owner, say.
            let of_all = Key {
                kind: Kind::Secret,
                network: Network::EVERYWHERE,
                about,
            };
            if !is_free || self.paid.wait(&of_all, at) == 0 {
                keys.push(of_all);
            }
        }
        let waits = keys.iter().map(|key| self.paid.wait(key, at));
        let wait = waits.fold(wait, u64::max);
        if wait > 0 {
            return Err(Duration::from_millis(wait));
        }
        for key in &keys {
            self.paid.begin(*key, at);
        }
        Ok(Guess { keys, at })
    }

    /// Takes note of how a guess ended: one that was wrong stays charged, any other is given back.
    /// The right one also forgives its source the wrong ones before.
    pub fn settle(&mut self, guess: Guess, verdict: Verdict) {
        for key in &guess.keys {
            match verdict {
                Verdict::Wrong => self.paid.keep(key, guess.at),
                Verdict::Right | Verdict::Unknown => {
                    self.paid.give_back(key, verdict == Verdict::Right)
                }
            }
        }
    }

    /// Takes one from a budget of a source and of the networks around it.
    ///
    /// # Errors
    /// How long it has to wait. Then nothing is taken.
    pub fn spend(&mut self, budget: Budget, source: Source, now: Duration) -> Result<(), Duration> {
        if !self.on {
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
        let table = if budget == Budget::Captcha {
            &mut self.free
        } else {
            &mut self.paid
        };
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

    /// The entries, for another process on this machine to go on with. A guess that is under way
    /// goes over as a wrong one, since the other process never learns how it ends.
    pub fn state(&self) -> impl Serialize + use<> {
        (self.secret, self.free.state(), self.paid.state())
    }

    /// Goes on with the state of another process.
    pub fn restore(&mut self, (secret, free, paid): State) {
        self.secret = secret;
        self.free.restore(free.0);
        self.paid.restore(paid.0);
    }

    fn hash(&self, of: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        of.hash(&mut hasher);
        hasher.finish()
    }
}

/// The state that one process sends to the next.
pub type State = (u64, Entries, Entries);

/// Entries as they travel.
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

    fn from(address: &str) -> Source {
        Source::of(address.parse().ok())
    }

    fn rei() -> Secret<'static> {
        Secret::Password("rei")
    }

    /// A guess that is settled at once; how long it has to wait if it is refused.
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

    /// All entries, but for the time at which a guess last began.
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
        for secret in [rei(), Secret::ResetKey, Secret::RegistrationKey] {
            let (mut throttle, source, mut now) =
                (Throttle::new(true, 1), from("192.0.2.1"), seconds(0));
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
                        "what is refused lengthens nothing"
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
                "the right one forgives the others"
            );
            assert_eq!(wrong(&mut throttle, secret, source, now), Duration::ZERO);
        }
    }

    #[test]
    fn a_source_that_has_waited_an_hour_starts_afresh() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
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
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
        let mut under_way: Vec<_> = (0..60)
            .filter_map(|_| throttle.admit(&[rei()], source, seconds(0)).ok())
            .collect();
        assert_eq!(under_way.len(), 8);
        assert_eq!(
            throttle.admit(&[rei()], source, seconds(0)).unwrap_err(),
            Duration::from_secs(1)
        );
        under_way
            .drain(..)
            .for_each(|guess| throttle.settle(guess, Verdict::Wrong));
        assert_eq!(
            throttle.admit(&[rei()], source, seconds(0)).unwrap_err(),
            Duration::from_secs(40)
        );
        // After waits have begun, one at a time.
        let admitted = (0..60)
            .filter_map(|_| throttle.admit(&[rei()], source, seconds(40)).ok())
            .collect::<Vec<_>>();
        assert_eq!(admitted.len(), 1);
    }

    #[test]
    fn an_honest_client_with_the_right_password_is_let_in_six_times_at_once() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
        // Two typing errors before change nothing.
        for round in 0..100 {
            for _ in 0..round % 3 {
                assert!(wrong(&mut throttle, rei(), source, seconds(round)).is_zero());
            }
            let under_way: Vec<_> = (0..6)
                .map(|_| {
                    throttle
                        .admit(&[rei()], source, seconds(round))
                        .expect("let in")
                })
                .collect();
            under_way
                .into_iter()
                .for_each(|guess| throttle.settle(guess, Verdict::Right));
        }
    }

    #[test]
    fn what_is_given_back_is_what_was_charged() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..50 {
            // Beside the same wrong guesses, one throttle has guesses under way that in the end are
            // none.
            let (mut one, mut other) = (Throttle::new(true, 1), Throttle::new(true, 1));
            let mut under_way = Vec::new();
            let mut now = seconds(0);
            for _ in 0..200 {
                now += Duration::from_millis(random(20_000));
                let name = random(4).to_string();
                let source = from(&format!("2001:db8:0:{:x}::", random(3) * 0x80));
                // With waits, one at a time: there a guess under way is in the way of others, as it
                // should be.
                let (secret, attempts) = (Secret::Password(&name), [Secret::Password("another")]);
                if random(2) == 0 {
                    under_way.extend(one.admit(&attempts, source, now));
                } else {
                    assert_eq!(
                        wrong(&mut one, secret, source, now),
                        wrong(&mut other, secret, source, now)
                    );
                }
                if random(3) == 0 && !under_way.is_empty() {
                    let nth = random(under_way.len() as u64) as usize;
                    let verdict = if random(2) == 0 {
                        Verdict::Right
                    } else {
                        Verdict::Unknown
                    };
                    one.settle(under_way.swap_remove(nth), verdict);
                }
            }
            under_way
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
        // Sources, and what they may do at most in an hour at one account and at all.
        let rows: [(Sources, u64, u64); 5] = [
            (address, 100, 600),
            (block, 400, 4800),
            (home, 200, 1200),
            (site, 400, 4800),
            (unknown, 100, 4800),
        ];
        for (source, at_one, at_all) in rows {
            for (names, most) in [(1, at_one), (u64::MAX, at_all)] {
                let (mut throttle, mut count) = (Throttle::new(true, 1), 0);
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

    /// Eighty sources in as many networks guess at rei's password, at one time of each second.
    fn botnet(throttle: &mut Throttle, second: u64) -> usize {
        let sources = (0..80).map(|nth| from(&format!("198.51.{nth}.1")));
        sources
            .filter(|source| wrong(throttle, rei(), *source, seconds(second)).is_zero())
            .count()
    }

    #[test]
    fn during_an_attack_the_owner_has_three_tries_from_a_fresh_source() {
        let mut throttle = Throttle::new(true, 1);
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
    fn a_registration_key_that_is_attacked_lets_every_fresh_source_in() {
        let mut throttle = Throttle::new(true, 1);
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
        let mut throttle = Throttle::new(true, 1);
        let owner = from("192.0.2.1");
        let mut longest = Duration::ZERO;
        let mut waiting = 0;
        for second in 0..2 * 3600 {
            botnet(&mut throttle, second);
            let wait = wrong(&mut throttle, rei(), owner, seconds(second));
            longest = longest.max(wait);
            // However long the attack goes on, and although the owner is wrong again and again.
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
    fn budgets_end_and_come_back() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
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
    fn a_network_has_a_budget_too_whatever_sources_it_has() {
        let sources: [(Sources, usize); 4] = [
            (|nth| format!("2001:db8:0:{:x}::", nth % 0x1_0000), 4800),
            (|nth| format!("2001:db8:0:{:x}::", nth % 0x100), 1200),
            (|nth| format!("198.51.100.{}", nth % 256), 4800),
            (|_| "?".into(), 4800),
        ];
        for (source, most) in sources {
            let mut throttle = Throttle::new(true, 1);
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
    fn an_account_has_a_budget_of_changes_wherever_they_come_from() {
        let mut throttle = Throttle::new(true, 1);
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
    fn what_is_refused_leaves_nothing_behind() {
        let mut throttle = Throttle::new(true, 1);
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
            let both = [Secret::Password("nobody"), rei()];
            assert!(
                throttle
                    .admit(&both, from("192.0.2.1"), seconds(0))
                    .is_err(),
                "neither is charged"
            );
        }
        assert_eq!(entries(&throttle), before);
    }

    #[test]
    fn free_requests_push_out_nothing_that_cost_something() {
        let mut throttle = Throttle::new(true, 1);
        for _ in 0..3 {
            assert!(wrong(&mut throttle, rei(), from("192.0.2.1"), seconds(0)).is_zero());
        }
        // Four times as many entries as a table holds, each in a site of its own.
        for nth in 0..40_000 {
            let source = from(&format!("2001:db8:{nth:x}::"));
            assert_eq!(throttle.spend(Budget::Captcha, source, seconds(0)), Ok(()));
        }
        assert_eq!(
            wrong(&mut throttle, rei(), from("192.0.2.1"), seconds(0)),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_flood_of_guesses_evicts_its_own_entries() {
        let mut throttle = Throttle::new(true, 1);
        let honest = ["192.0.2.1", "2001:db9::1", "?"].map(from);
        for source in honest {
            (0..4).for_each(|nth| {
                assert!(wrong(&mut throttle, rei(), source, seconds(nth)).is_zero())
            });
        }
        // Ten sites guess at another name each time, from another link, as fast as they are let.
        let mut count = 0;
        for nth in 0..10 * 2400_u32 {
            let (site, name) = (nth % 10, nth.to_string());
            let source = from(&format!("2001:db8:{site:x}:{:x}::", nth / 10));
            count += u32::from(
                wrong(&mut throttle, Secret::Password(&name), source, seconds(3)).is_zero(),
            );
        }
        assert_eq!(count, 10 * 2400, "within the budget of each");
        for source in honest {
            assert_eq!(
                wrong(&mut throttle, rei(), source, seconds(3)),
                Duration::from_secs(3)
            );
        }
        // The flood has not made the throttle forget that the budget of each site is used up.
        let refused = (0..10).filter(|site| {
            let source = from(&format!("2001:db8:{site:x}:ffff::"));
            !wrong(&mut throttle, Secret::Password("asuka"), source, seconds(3)).is_zero()
        });
        assert_eq!(refused.count(), 10);
    }

    #[test]
    fn it_goes_over_to_another_process_and_what_is_under_way_as_a_wrong_guess() {
        let (mut throttle, source) = (Throttle::new(true, 1), from("192.0.2.1"));
        assert!(wrong(&mut throttle, rei(), source, seconds(0)).is_zero());
        let under_way = [0, 1].map(|_| throttle.admit(&[rei()], source, seconds(7200)).unwrap());
        (0..600).for_each(|_| {
            throttle
                .spend(Budget::Captcha, source, seconds(7200))
                .unwrap()
        });
        let text = serde_json::to_string(&throttle.state()).unwrap();
        let mut other = Throttle::new(true, 2);
        other.restore(serde_json::from_str(&text).unwrap());
        assert!(other.spend(Budget::Captcha, source, seconds(7200)).is_err());
        assert!(
            wrong(&mut other, rei(), source, seconds(7200)).is_zero(),
            "the third"
        );
        assert_eq!(
            wrong(&mut other, rei(), source, seconds(7200)),
            Duration::from_secs(1)
        );
        under_way
            .into_iter()
            .for_each(|guess| throttle.settle(guess, Verdict::Wrong));
        (0..1).for_each(|_| assert!(wrong(&mut throttle, rei(), source, seconds(7200)).is_zero()));
        assert_eq!(entries(&throttle), entries(&other));
        let of_before = r#"[1,[[2,{"failures":3,"until":{"secs":1,"nanos":0}}]]]"#;
        assert!(
            serde_json::from_str::<State>(of_before).is_err(),
            "what 1.1.0 says is not misread"
        );
    }

    #[test]
    fn it_can_be_off() {
        let (mut off, source) = (Throttle::new(false, 1), from("192.0.2.1"));
        for _ in 0..1000 {
            assert!(wrong(&mut off, rei(), source, seconds(0)).is_zero());
            assert_eq!(off.spend(Budget::Upload, source, seconds(0)), Ok(()));
        }
        assert!(entries(&off).is_empty());
    }
}
