//! Verifies a user's password against a row that may be rewritten at the same time.

use crate::account::password;
use crate::app::App;
use crate::config::Scheme;
use crate::contract::{Reason, Refusal};
use crate::store::users::{self, Credentials, Stored};

/// How often a password is verified at most. Each further time needs a rewrite of the row within
/// the milliseconds of the one before: by another log-in, by `accountd harden`, or by a draining
/// worker with another `password_hash`.
const TRIES: usize = 8;

/// Verifies a user's password, and then calls `act`, which returns whether the stored password was
/// still the verified one when it acted. If it was not, the row is read and verified again, since
/// the same password may be stored in another form by now.
pub fn verify_then(
    app: &App,
    name: &str,
    password: &str,
    mut act: impl FnMut(&Stored) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    for _ in 0..TRIES {
        let Credentials { user, any_argon2id } = app.read(|db| users::credentials(db, name))?;
        let argon2id_in_use = any_argon2id || app.config.password_hash == Scheme::Argon2id;
        let stored = user.as_ref().map(|user| user.password.as_str());
        let matches = password::verify(stored, password, argon2id_in_use);
        let Some(user) = user.filter(|_| matches) else {
            return Err(Reason::PasswordWrong.into());
        };
        if act(&user)? {
            return Ok(());
        }
    }
    let cause = format!("the stored password was rewritten {TRIES} times while it was verified");
    Err(Refusal::fault(Reason::WriteFailed, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cost;
    use crate::config;
    use crate::contract::Cost;
    use crate::crypto;
    use crate::http::Request;
    use crate::http::network::Source;
    use crate::store::{Durable, Reader, Store, accounts, sessions};
    use std::path::PathBuf;

    /// An app over a folder of its own, with the user `rei`, whose password is `old`, stored in
    /// this scheme.
    struct Scratch {
        app: App,
        data: PathBuf,
        id: i64,
    }

    impl Scratch {
        fn new(setting: Scheme, row: Scheme) -> Scratch {
            let data = std::env::temp_dir().join(format!(
                "accountd-password-{}",
                crypto::random_alphanumeric(10)
            ));
            std::fs::create_dir(&data).unwrap();
            let given =
                |name: &str| (name == "ACCOUNTD_PASSWORD_HASH").then(|| setting.name().to_string());
            let (config, _) = config::load(&data, &given, &[]).unwrap();
            let mut store = Store::open(&data).unwrap();
            let password = &row.hash("old");
            let user = users::New {
                name: "rei",
                show_name: "a",
                email: "a",
                password,
                key: "a",
                avatar: "admin.jpg",
            };
            let id = store
                .write(Durable::Now, |db| users::add(db, &user, 1))
                .unwrap()
                .unwrap();
            let app = App::new(
                config,
                data.clone(),
                None,
                store,
                Reader::open(&data).unwrap(),
            );
            Scratch { app, data, id }
        }

        /// What another process does: the stored password becomes this one.
        fn rewrite(&self, from: &str, to: &str) {
            let mut other = Store::open(&self.data).unwrap();
            assert!(
                other
                    .write(Durable::Now, |db| users::rehash(db, self.id, from, to))
                    .unwrap()
            );
        }

        fn open(&self, user: &Stored, token: u8) -> Result<bool, Refusal> {
            Ok(self.app.write(Durable::Soon, |db| {
                let new = sessions::New {
                    user: user.id,
                    password: &user.password,
                    token: &[token; 32],
                    now: 1,
                    expires_at: 100,
                    source: "-",
                    client: "other",
                    second_factor: false,
                };
                sessions::open(db, &new, 10)
            })?)
        }

        /// The session of this token: whose it is.
        fn owner(&self, token: u8) -> Option<i64> {
            self.app
                .read(|db| sessions::owner(db, &[token; 32], 1))
                .unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }

    fn refused(result: Result<(), Refusal>) -> bool {
        matches!(
            result,
            Err(Refusal {
                reason: Reason::PasswordWrong,
                ..
            })
        )
    }

    #[test]
    fn a_row_that_is_rewritten_meanwhile_refuses_no_right_password() {
        for (before, after) in [
            (Scheme::Md5, Scheme::Argon2id),
            (Scheme::Argon2id, Scheme::Md5),
        ] {
            let scratch = Scratch::new(after, before);
            let mut seen = Vec::new();
            let result = verify_then(&scratch.app, "rei", "old", |user| {
                if seen.is_empty() {
                    scratch.rewrite(&user.password, &after.hash("old"));
                }
                seen.push(Scheme::of(&user.password));
                scratch.open(user, 1)
            });
            assert!(
                result.is_ok() && seen == [before, after] && scratch.owner(1) == Some(scratch.id),
                "{seen:?}"
            );
            // The same of a change of the password.
            let mut tries = 0;
            let result = verify_then(&scratch.app, "rei", "old", |user| {
                if tries == 0 {
                    scratch.rewrite(&user.password, &before.hash("old"));
                }
                tries += 1;
                Ok(scratch.app.write(Durable::Now, |db| {
                    users::change_password(db, user.id, &user.password, &after.hash("new"))
                })?)
            });
            assert!(result.is_ok() && tries == 2 && scratch.owner(1).is_none());
            assert!(refused(verify_then(&scratch.app, "rei", "old", |user| {
                scratch.open(user, 2)
            })));
            assert!(verify_then(&scratch.app, "rei", "new", |user| scratch.open(user, 2)).is_ok());
        }
    }

    #[test]
    fn a_password_that_changes_meanwhile_opens_nothing() {
        let changes: [&dyn Fn(&Scratch); 4] = [
            &|scratch| {
                let new = Scheme::Argon2id.hash("new");
                assert!(
                    scratch
                        .app
                        .write(Durable::Now, |db| users::reset_password(
                            db, "rei", "a", &new
                        ))
                        .is_ok()
                );
            },
            &|scratch| {
                let new = Scheme::Md5.hash("new");
                assert!(
                    scratch
                        .app
                        .write(Durable::Now, |db| accounts::set_password(
                            db, scratch.id, &new
                        ))
                        .is_ok()
                );
            },
            &|scratch| {
                scratch
                    .app
                    .write(Durable::Now, |db| accounts::disable(db, scratch.id, 1))
                    .unwrap()
            },
            &|scratch| {
                drop(
                    scratch
                        .app
                        .write(Durable::Now, |db| accounts::delete(db, scratch.id))
                        .unwrap(),
                )
            },
        ];
        for (nth, change) in changes.iter().enumerate() {
            let scratch = Scratch::new(Scheme::Argon2id, Scheme::Md5);
            let mut tries = 0;
            let result = verify_then(&scratch.app, "rei", "old", |user| {
                change(&scratch);
                tries += 1;
                scratch.open(user, 1)
            });
            assert!(
                refused(result) && tries == 1 && scratch.owner(1).is_none(),
                "change {nth}"
            );
        }
    }

    #[test]
    fn each_refusal_takes_as_many_hashes_as_that_of_an_unknown_name() {
        let users = |scratch: &Scratch| {
            let (md5, argon2id) = (Scheme::Md5.hash("old"), Scheme::Argon2id.hash("old"));
            for (name, password) in [
                ("md5", &md5),
                ("argon2id", &argon2id),
                ("off-md5", &md5),
                ("off-argon2id", &argon2id),
            ] {
                let user = users::New {
                    name,
                    show_name: "a",
                    email: name,
                    password,
                    key: "a",
                    avatar: "admin.jpg",
                };
                let added = scratch.app.write(Durable::Now, |db| {
                    let id = users::add(db, &user, 1)?.unwrap();
                    if name.starts_with("off") {
                        accounts::disable(db, id, 1)
                    } else {
                        Ok(())
                    }
                });
                added.unwrap();
            }
        };
        for setting in [Scheme::Md5, Scheme::Argon2id] {
            let scratch = Scratch::new(setting, Scheme::Md5);
            let hashes = |name: &str, password: &str| {
                let before = password::VERIFIED.get();
                assert!(
                    refused(verify_then(&scratch.app, name, password, |_| Ok(true))),
                    "{name}"
                );
                password::VERIFIED.get() - before
            };
            let one_if_set = u32::from(setting == Scheme::Argon2id);
            assert_eq!(
                [hashes("nobody", "new"), hashes("rei", "new")],
                [one_if_set; 2],
                "{setting:?}, MD5 rows alone"
            );
            users(&scratch);
            for (name, password) in [
                ("nobody", "new"),
                ("md5", "new"),
                ("argon2id", "new"),
                ("off-md5", "old"),
                ("off-argon2id", "old"),
            ] {
                assert_eq!(hashes(name, password), 1, "{setting:?}, {name}");
            }
        }
    }

    #[test]
    fn a_row_that_is_rewritten_without_end_is_a_fault_and_no_wrong_password() {
        let scratch = Scratch::new(Scheme::Md5, Scheme::Md5);
        let mut tries = 0;
        let result = verify_then(&scratch.app, "rei", "old", |_| {
            tries += 1;
            Ok(false)
        });
        assert!(
            matches!(
                result,
                Err(Refusal {
                    reason: Reason::WriteFailed,
                    cause: Some(_),
                    ..
                })
            ) && tries == TRIES
        );
    }

    /// What a request to this path takes that answers a captcha.
    fn cost_of(app: &App, path: &str) -> Cost {
        app.captchas()
            .unwrap()
            .insert(crypto::sha256("key"), "answer".into(), Source::of(None), 0);
        let request = Request {
            method: "POST".into(),
            path: path.into(),
            ..Request::default()
        };
        cost(
            app,
            &request,
            Some(br#"{"verification_code_key": "key", "verification_code": "answer"}"#),
        )
    }

    #[test]
    fn hashing_is_long_as_soon_as_any_row_takes_it() {
        let scratch = Scratch::new(Scheme::Md5, Scheme::Md5);
        let hashing = [
            "/api/login",
            "/api/update_password/",
            "/api/registered",
            "/api/forget_password",
        ];
        let costs = || hashing.map(|path| cost_of(&scratch.app, path));
        assert_eq!(costs(), [Cost::Quick; 4]);
        let (md5, argon2id) = (Scheme::Md5.hash("old"), Scheme::Argon2id.hash("old"));
        // Another process does this: `accountd harden`, say, whose configuration is newer than the
        // server's.
        scratch.rewrite(&md5, &argon2id);
        assert_eq!(costs(), [Cost::Hash; 4]);
        assert_eq!(cost_of(&scratch.app, "/api/user_info"), Cost::Quick);
        assert!(
            scratch
                .app
                .read(|db| users::credentials(db, "nobody"))
                .unwrap()
                .any_argon2id
        );
        scratch.rewrite(&argon2id, &md5);
        assert_eq!(costs(), [Cost::Quick; 4]);
        assert!(
            !scratch
                .app
                .read(|db| users::credentials(db, "rei"))
                .unwrap()
                .any_argon2id
        );
        assert_eq!(
            cost_of(
                &Scratch::new(Scheme::Argon2id, Scheme::Md5).app,
                "/api/login"
            ),
            Cost::Hash
        );
    }
}
