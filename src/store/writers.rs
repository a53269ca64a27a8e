//! Those who write at the same time: they take turns, and whoever has to wait shares a transaction,
//! and so its sync.
//!
//! Nobody waits in order to share. Whoever finds the database free, and nobody behind, has a
//! transaction alone. Where others wait meanwhile, the next one leaves its transaction open for
//! them, each with a part of its own, and the last one commits it for all. Until then none of them
//! is answered: a part may rest on one before it.

use super::write::is_locked;
use super::{Durable, Fault, Store, Transaction, not_asked, not_written};
use crate::sync::lock;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::time::Duration;

/// Parts of one transaction at the most, so that the first is not kept waiting by those that go on
/// coming.
const PARTS: usize = 32;

/// The connection that writes, shared.
pub struct Writers {
    desk: Mutex<Desk>,
    /// How many wait for it.
    waiting: AtomicUsize,
}

struct Desk {
    store: Store,
    /// The transaction that was left open for those who wait.
    open: Option<Open>,
}

struct Open {
    parts: usize,
    end: Arc<End>,
}

/// How a shared transaction ended, once it has.
#[derive(Default)]
struct End {
    known: Mutex<Option<Result<(), String>>>,
    told: Condvar,
}

impl Writers {
    /// Nobody yet.
    #[must_use]
    pub fn new(store: Store) -> Writers {
        Writers {
            desk: Mutex::new(Desk { store, open: None }),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Changes the database in one transaction, or in one that others have a part in: all of the
    /// change or, after an error, nothing. If another process has the database locked, the change
    /// is given back.
    ///
    /// # Errors
    /// The change, undone; inside, the same as of [`Store::write`].
    pub fn write<T, C>(&self, durable: Durable, change: C) -> Result<Result<T, Fault>, C>
    where
        C: FnOnce(&Transaction) -> rusqlite::Result<T>,
    {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut desk = lock(&self.desk);
        let others = self.waiting.fetch_sub(1, Ordering::Relaxed) > 1;
        let Desk { store, open } = &mut *desk;
        if open.is_none() {
            // What is not synced at once has nothing to share.
            if !others || durable == Durable::Soon {
                return store.try_write(durable, change);
            }
            match store.begin(durable, Duration::ZERO) {
                Ok(()) => {}
                Err(error) if is_locked(&error) => return Err(change),
                Err(error) => return Ok(Err(not_asked(error))),
            }
        }
        let shared = open.get_or_insert_with(|| Open {
            parts: 0,
            end: Arc::default(),
        });
        shared.parts += 1;
        let end = shared.end.clone();
        let part = catch_unwind(AssertUnwindSafe(|| store.part(change)));
        // Those who wait are on their way here, and one of them will be the last.
        let last = self.waiting.load(Ordering::Relaxed) == 0 || shared.parts >= PARTS;
        if last || !store.is_open() {
            let ended = match &part {
                Ok(Err(error)) if !store.is_open() => {
                    store.roll_back(error);
                    Err(error.to_string())
                }
                _ => store.commit().map_err(|error| error.to_string()),
            };
            *open = None;
            drop(desk);
            end.tell(ended);
        } else {
            drop(desk);
        }
        let ended = end.wait();
        let part = part.unwrap_or_else(|panic| resume_unwind(panic));
        Ok(part
            .map_err(not_written)
            .and_then(|value| ended.map(|()| value).map_err(Fault::NotWritten)))
    }

    /// Asks the connection that writes, unless somebody uses it at this moment.
    pub fn read_without_waiting<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Option<Result<T, Fault>> {
        match self.desk.try_lock() {
            Ok(desk) => Some(desk.store.read(ask)),
            Err(TryLockError::Poisoned(desk)) => Some(desk.into_inner().store.read(ask)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// [`Store::settle`], once nobody writes any more.
    pub fn settle(&self) -> bool {
        lock(&self.desk).store.settle()
    }
}

impl End {
    fn tell(&self, ended: Result<(), String>) {
        *lock(&self.known) = Some(ended);
        self.told.notify_all();
    }

    fn wait(&self) -> Result<(), String> {
        let known = self
            .told
            .wait_while(lock(&self.known), |known| known.is_none());
        known
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .expect("it is told once it is known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Reader;
    use crate::store::tests::folder;
    use crate::store::users::{self, New};
    use std::sync::Barrier;
    use std::{fs, thread};

    type Change = fn(&Transaction, &Reader) -> rusqlite::Result<bool>;

    fn add(db: &Transaction, name: &str) -> rusqlite::Result<bool> {
        let user = New {
            name,
            show_name: name,
            email: name,
            password: "x",
            key: "x",
            avatar: "admin.jpg",
        };
        users::add(db, &user, 1).map(|id| id.is_some())
    }

    /// Lets all of them wait for one, so that they share a transaction. What becomes of each
    /// (nothing if it panicked), and the names that are there in the end.
    fn together(changes: &[Change]) -> (Vec<Option<Result<bool, Fault>>>, Vec<String>) {
        let data = folder();
        let writers = Writers::new(Store::open(&data).unwrap());
        let readers: Vec<Reader> = changes
            .iter()
            .map(|_| Reader::open(&data).unwrap())
            .collect();
        let (begun, go) = (Barrier::new(2), Barrier::new(2));
        let results = thread::scope(|scope| {
            let first = scope.spawn(|| {
                writers.write(Durable::Now, |db| {
                    begun.wait();
                    go.wait();
                    add(db, "first")
                })
            });
            begun.wait();
            let others: Vec<_> = changes
                .iter()
                .zip(readers)
                .map(|(change, reader)| {
                    let writers = &writers;
                    scope.spawn(move || {
                        let result = writers.write(Durable::Now, |db| change(db, &reader));
                        result.unwrap_or_else(|_| panic!("nobody else has it locked"))
                    })
                })
                .collect();
            while writers.waiting.load(Ordering::Relaxed) < changes.len() {
                thread::yield_now();
            }
            go.wait();
            assert!(first.join().unwrap().is_ok_and(|first| first.unwrap()));
            others.into_iter().map(|other| other.join().ok()).collect()
        });
        let names = "SELECT name FROM users ORDER BY name";
        let names = writers.desk.lock().unwrap().store.read(|db| {
            db.prepare(names)?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        });
        // Whatever has happened, the next one can write.
        assert!(
            writers
                .write(Durable::Soon, |db| add(db, "last"))
                .is_ok_and(|last| last.unwrap())
        );
        fs::remove_dir_all(data).unwrap();
        (results, names.unwrap())
    }

    fn done(result: &Option<Result<bool, Fault>>) -> bool {
        matches!(result, Some(Ok(true)))
    }

    #[test]
    fn parts_of_a_transaction_stand_and_fall_by_themselves() {
        let (results, names) = together(&[
            |db, _| add(db, "a"),
            |db, _| {
                add(db, "b").and_then(|_| {
                    db.execute("INSERT INTO nowhere VALUES (1)", [])
                        .map(|_| true)
                })
            },
            |db, _| add(db, "c").map(|_| panic!("on purpose")),
            |db, _| add(db, "d"),
        ]);
        assert!(done(&results[0]) && done(&results[3]));
        assert!(matches!(results[1], Some(Err(Fault::NotWritten(_)))) && results[2].is_none());
        assert_eq!(names, ["a", "d", "first"]);
    }

    #[test]
    fn nobody_is_answered_and_nothing_is_seen_before_all_of_it_is_there() {
        let change: Change = |db, reader| {
            let mine =
                db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0))?;
            let seen = reader.read(|db| {
                db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0))
            });
            assert_eq!(seen.unwrap(), 1, "the first one, who was alone");
            add(db, &mine.to_string())
        };
        let (results, names) = together(&[change; 4]);
        assert!(results.iter().all(done));
        assert_eq!(names, ["1", "2", "3", "4", "first"]);
    }

    #[test]
    fn a_commit_that_fails_fails_for_all() {
        let (results, names) = together(&[
            |db, _| add(db, "a"),
            |db, _| {
                db.execute_batch("PRAGMA defer_foreign_keys = 1")?;
                db.execute("INSERT INTO sessions VALUES (1, x'00', 4711, 1, 1)", [])
                    .map(|_| true)
            },
            |db, _| add(db, "c"),
        ]);
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Some(Err(Fault::NotWritten(_)))))
        );
        assert_eq!(names, ["first"]);
    }

    #[test]
    fn an_error_that_ends_the_transaction_fails_for_all_who_had_their_part() {
        let ended: Change = |db, _| {
            // As SQLite does of itself after some errors of the disk.
            db.execute_batch("ROLLBACK")?;
            db.execute("INSERT INTO nowhere VALUES (1)", [])
                .map(|_| true)
        };
        let (results, names) =
            together(&[|db, _| add(db, "a"), ended, ended, |db, _| add(db, "d")]);
        assert!(matches!(results[1], Some(Err(Fault::NotWritten(_)))));
        assert!(matches!(results[2], Some(Err(Fault::NotWritten(_)))));
        // Who was before it in the transaction is refused and not there; who came after it, is.
        for (name, result) in [("a", &results[0]), ("d", &results[3])] {
            assert_eq!(done(result), names.iter().any(|one| one == name), "{name}");
        }
    }
}
