//! Group commit: changes that arrive at the same time share a transaction, and so its sync.
//!
//! A change never waits in order to share. If the database is free and no other thread waits for
//! it, the change gets a transaction to itself. If others wait, the transaction stays open as a
//! batch: each of them adds its change in a savepoint, and the last one commits for all. None is
//! answered before that commit, because a change may depend on an earlier one of the same batch.

use super::transaction::is_busy;
use super::{Durable, Fault, Store, Transaction, unavailable, write_failed};
use crate::sync::lock;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Changes in one batch at most, so that the first is not kept waiting while others keep arriving.
const MAX_BATCH: usize = 32;
/// Between two tries to begin a transaction while another process has the database locked.
const RETRY: Duration = Duration::from_millis(2);
/// How long [`GroupCommit::try_checkpoint`] waits for readers: a reader of the server needs less.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(50);
/// A synced write that takes longer is slow: the disk is, or another process has the database
/// locked.
const SLOW: Duration = Duration::from_millis(5);

/// The connection that writes, shared by all threads.
pub struct GroupCommit {
    state: Mutex<State>,
    /// How many threads wait for the lock of `state`. Each of them joins the open batch, if there
    /// is one.
    waiting: AtomicUsize,
    /// Whether the last synced write took longer than [`SLOW`].
    slow: AtomicBool,
}

struct State {
    store: Store,
    /// The open transaction that waiting threads add their changes to.
    batch: Option<Batch>,
}

#[derive(Default)]
struct Batch {
    size: usize,
    result: Arc<BatchResult>,
}

/// The result of a batch's commit, once it is known.
#[derive(Default)]
struct BatchResult {
    result: Mutex<Option<Result<(), String>>>,
    published: Condvar,
}

impl GroupCommit {
    /// Shares this connection.
    pub fn new(store: Store) -> GroupCommit {
        GroupCommit {
            state: Mutex::new(State { store, batch: None }),
            waiting: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
        }
    }

    /// Changes the database in one transaction, alone or in a batch: all of the change or, after an
    /// error, nothing. Waits up to `patience` if another process has the database locked.
    ///
    /// # Errors
    /// As those of [`Store::write`].
    pub fn write<T>(
        &self,
        durable: Durable,
        patience: Duration,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        let started = Instant::now();
        let written = self.begin(durable, patience).and_then(|mut state| {
            if state.batch.is_some() {
                self.write_in_batch(state, change)
            } else {
                state.store.run(change)
            }
        });
        if durable == Durable::Now {
            let slow = started.elapsed() > SLOW;
            self.slow.store(slow, Ordering::Relaxed);
        }
        written
    }

    /// Joins the open batch or begins a transaction, which is a batch if others wait for one. While
    /// another process has the database locked, this thread sleeps between its tries, and does not
    /// hold the lock of `state` meanwhile.
    fn begin(&self, durable: Durable, patience: Duration) -> Result<MutexGuard<'_, State>, Fault> {
        let started = Instant::now();
        loop {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let mut state = lock(&self.state);
            let others = self.waiting.fetch_sub(1, Ordering::Relaxed) > 1;
            if state.batch.is_some() {
                return Ok(state);
            }
            match state.store.begin(durable, Duration::ZERO) {
                Ok(()) => {
                    // A change that is not synced at once has no sync to share.
                    if others && durable == Durable::Now {
                        state.batch = Some(Batch::default());
                    }
                    return Ok(state);
                }
                Err(error) if !is_busy(&error) || started.elapsed() > patience => {
                    return Err(unavailable(error));
                }
                Err(_) => {}
            }
            drop(state);
            self.slow.store(true, Ordering::Relaxed);
            thread::sleep(RETRY);
        }
    }

    /// Adds a change to the open batch, commits the batch if this change is its last, and waits for
    /// the commit.
    fn write_in_batch<T>(
        &self,
        mut state: MutexGuard<State>,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        let State { store, batch } = &mut *state;
        let open = batch.get_or_insert_default();
        open.size += 1;
        let (size, result) = (open.size, open.result.clone());
        let changed = catch_unwind(AssertUnwindSafe(|| store.savepoint(change)));
        // Threads that wait now will join this batch, so one of them will be its last.
        let last = self.waiting.load(Ordering::Relaxed) == 0 || size >= MAX_BATCH;
        if last || !store.is_open() {
            let committed = match &changed {
                Ok(Err(error)) if !store.is_open() => {
                    store.roll_back(Some(error));
                    Err(error.to_string())
                }
                _ => store.commit().map_err(|error| error.to_string()),
            };
            *batch = None;
            drop(state);
            result.publish(committed);
        } else {
            drop(state);
        }
        let committed = result.wait();
        let value = changed
            .unwrap_or_else(|panic| resume_unwind(panic))
            .map_err(write_failed)?;
        committed.map_err(Fault::WriteFailed)?;
        Ok(value)
    }

    /// Whether the last synced write was slow.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Queries the connection that writes, unless another thread uses it at this moment.
    pub fn try_read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Option<Result<T, Fault>> {
        match self.state.try_lock() {
            Ok(state) => Some(state.store.read(query)),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner().store.read(query)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// [`Store::checkpoint`] without a long wait for readers: other writers wait meanwhile.
    pub fn try_checkpoint(&self) -> bool {
        lock(&self.state)
            .store
            .checkpoint_within(CHECKPOINT_PATIENCE)
    }

    /// [`Store::checkpoint`], after the writes in progress.
    pub fn checkpoint(&self) -> bool {
        lock(&self.state).store.checkpoint()
    }
}

impl BatchResult {
    fn publish(&self, committed: Result<(), String>) {
        *lock(&self.result) = Some(committed);
        self.published.notify_all();
    }

    fn wait(&self) -> Result<(), String> {
        let result = self
            .published
            .wait_while(lock(&self.result), |result| result.is_none());
        result
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .expect("the wait ends when there is a result")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;
    use crate::store::users::{self, New};
    use crate::store::{FILE, Reader};
    use std::sync::Barrier;
    use std::{fs, thread};

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(60);

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

    fn names(db: &Connection) -> rusqlite::Result<Vec<String>> {
        db.prepare("SELECT name FROM users ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect()
    }

    /// Lets all changes wait for a first one, so that they share a transaction. Returns the result
    /// of each (`None` if it panicked) and the names of the users at the end.
    fn together(changes: &[Change]) -> (Vec<Option<Result<bool, Fault>>>, Vec<String>) {
        let data = folder();
        let group = GroupCommit::new(Store::open(&data).unwrap());
        let readers: Vec<Reader> = changes
            .iter()
            .map(|_| Reader::open(&data).unwrap())
            .collect();
        let (begun, go) = (Barrier::new(2), Barrier::new(2));
        let results = thread::scope(|scope| {
            let first = scope.spawn(|| {
                group.write(Durable::Now, LONG, |db| {
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
                    let group = &group;
                    scope.spawn(move || group.write(Durable::Now, LONG, |db| change(db, &reader)))
                })
                .collect();
            while group.waiting.load(Ordering::Relaxed) < changes.len() {
                thread::yield_now();
            }
            go.wait();
            assert!(first.join().unwrap().unwrap());
            others.into_iter().map(|other| other.join().ok()).collect()
        });
        let names = group.try_read(names).unwrap().unwrap();
        // Whatever has happened, the next change is written.
        assert!(
            group
                .write(Durable::Soon, LONG, |db| add(db, "last"))
                .unwrap()
        );
        fs::remove_dir_all(data).unwrap();
        (results, names)
    }

    fn done(result: &Option<Result<bool, Fault>>) -> bool {
        matches!(result, Some(Ok(true)))
    }

    #[test]
    fn an_error_or_a_panic_undoes_only_its_own_change_of_a_batch() {
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
        assert!(matches!(results[1], Some(Err(Fault::WriteFailed(_)))) && results[2].is_none());
        assert_eq!(names, ["a", "d", "first"]);
    }

    #[test]
    fn no_change_of_a_batch_is_visible_before_the_commit() {
        let change: Change = |db, reader| {
            let count = |db: &Connection| {
                db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0))
            };
            let committed = reader.read(count).unwrap();
            assert_eq!(committed, 1, "the first one, which was alone");
            add(db, &count(db)?.to_string())
        };
        let (results, names) = together(&[change; 4]);
        assert!(results.iter().all(done));
        assert_eq!(names, ["1", "2", "3", "4", "first"]);
    }

    #[test]
    fn a_failed_commit_fails_the_whole_batch() {
        let (results, names) = together(&[
            |db, _| add(db, "a"),
            |db, _| {
                db.execute_batch("PRAGMA defer_foreign_keys = 1")?;
                db.execute("INSERT INTO sessions (id, token_sha256, user_id, nth, expires_at) VALUES (1, x'00', 4711, 1, 1)", [])
                    .map(|_| true)
            },
            |db, _| add(db, "c"),
        ]);
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Some(Err(Fault::WriteFailed(_)))))
        );
        assert_eq!(names, ["first"]);
    }

    #[test]
    fn an_error_that_ends_the_transaction_fails_all_earlier_changes_of_the_batch() {
        let ended: Change = |db, _| {
            // As SQLite does by itself after some errors of the disk.
            db.execute_batch("ROLLBACK")?;
            db.execute("INSERT INTO nowhere VALUES (1)", [])
                .map(|_| true)
        };
        let (results, names) =
            together(&[|db, _| add(db, "a"), ended, ended, |db, _| add(db, "d")]);
        assert!(matches!(results[1], Some(Err(Fault::WriteFailed(_)))));
        assert!(matches!(results[2], Some(Err(Fault::WriteFailed(_)))));
        // A change before the error fails and leaves nothing; one after it is in the next
        // transaction. Which of the two these are is up to the scheduler.
        for (name, result) in [("a", &results[0]), ("d", &results[3])] {
            assert_eq!(done(result), names.iter().any(|one| one == name), "{name}");
        }
    }

    #[test]
    fn a_write_that_waits_for_another_process_blocks_no_other_thread() {
        let data = folder();
        let group = GroupCommit::new(Store::open(&data).unwrap());
        let other = Connection::open(data.join(FILE)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let runs = AtomicUsize::new(0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                group.write(Durable::Now, LONG, |db| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    add(db, "a")
                })
            });
            while !group.is_slow() {
                thread::yield_now();
            }
            // Another thread gets its turn long before the patience of the one that waits ends.
            let started = Instant::now();
            while group.try_read(names).is_none() {
                thread::yield_now();
            }
            let refused = group.write(Durable::Soon, Duration::ZERO, |_| -> rusqlite::Result<()> {
                panic!("it ran without a transaction")
            });
            let refused = refused.expect_err("the database is locked");
            assert!(
                matches!(&refused, Fault::Unavailable(cause) if cause == "database is locked"),
                "{refused:?}"
            );
            assert!(started.elapsed() < LONG / 2);
            assert_eq!(runs.load(Ordering::Relaxed), 0);
            other.execute_batch("COMMIT").unwrap();
            assert!(waiting.join().unwrap().unwrap());
        });
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(group.try_read(names).unwrap().unwrap(), ["a"]);
        fs::remove_dir_all(data).unwrap();
    }
}
