//! Second factors: an encrypted secret and digests of recovery codes for each user who has one.
//!
//! Nothing is decrypted here. A code is accepted once: the step of the last one only grows, and the
//! digest of a recovery code goes with its use, in the transaction of the change that it allows.

use super::{Transaction, count, sessions};
use rusqlite::{Connection, OptionalExtension, Result, params};

/// The row of a user.
pub struct Totp {
    /// The encrypted secret.
    pub secret: Vec<u8>,
    /// Whether the second factor is on. If not, its enrolment has begun.
    pub is_on: bool,
}

/// The row of a user, if there is one.
pub fn find(db: &Connection, user: i64) -> Result<Option<Totp>> {
    db.prepare_cached("SELECT secret, confirmed_at IS NOT NULL FROM totp WHERE user_id = ?1")?
        .query_row([user], |row| {
            Ok(Totp {
                secret: row.get(0)?,
                is_on: row.get(1)?,
            })
        })
        .optional()
}

/// How many recovery codes a user has left; `None` if the second factor is off.
pub fn recovery_codes_left(db: &Connection, user: i64) -> Result<Option<u64>> {
    db.prepare_cached(
        "SELECT (SELECT count(*) FROM recovery_codes WHERE user_id = ?1) FROM totp
         WHERE user_id = ?1 AND confirmed_at IS NOT NULL",
    )?
    .query_row([user], count)
    .optional()
}

/// Begins an enrolment, in place of one that was not confirmed. Returns false if the second factor
/// is on.
pub fn begin(db: &Transaction, user: i64, secret: &[u8]) -> Result<bool> {
    let begun = db
        .prepare_cached(
            "INSERT INTO totp (user_id, secret, last_step) VALUES (?1, ?2, 0)
             ON CONFLICT (user_id) DO UPDATE SET secret = ?2, last_step = 0
             WHERE confirmed_at IS NULL",
        )?
        .execute(params![user, secret])?;
    Ok(begun == 1)
}

/// Turns the second factor on whose enrolment has begun.
pub fn turn_on(db: &Transaction, user: i64, now: i64, recovery: &[[u8; 32]]) -> Result<()> {
    db.prepare_cached("UPDATE totp SET confirmed_at = ?2 WHERE user_id = ?1")?
        .execute([user, now])?;
    db.prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1")?
        .execute([user])?;
    let mut insert =
        db.prepare_cached("INSERT INTO recovery_codes (user_id, digest) VALUES (?1, ?2)")?;
    for digest in recovery {
        insert.execute(params![user, digest])?;
    }
    Ok(())
}

/// Turns the second factor off, also one whose enrolment has only begun. The user's sessions count
/// as opened without one. Returns whether it was on.
pub fn turn_off(db: &Transaction, user: i64) -> Result<bool> {
    db.prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1")?
        .execute([user])?;
    db.prepare_cached("UPDATE sessions SET second_factor = 0 WHERE user_id = ?1")?
        .execute([user])?;
    let was_on = db
        .prepare_cached("DELETE FROM totp WHERE user_id = ?1 RETURNING confirmed_at IS NOT NULL")?
        .query_row([user], |row| row.get(0))
        .optional()?;
    Ok(was_on == Some(true))
}

/// Accepts the code of a time step, unless one of this or of a later step was accepted before.
pub fn use_step(db: &Transaction, user: i64, step: i64) -> Result<bool> {
    let used = db
        .prepare_cached("UPDATE totp SET last_step = ?2 WHERE user_id = ?1 AND last_step < ?2")?
        .execute([user, step])?;
    Ok(used == 1)
}

/// Accepts the recovery code with this digest, if the user has it. It is gone then.
pub fn use_recovery_code(db: &Transaction, user: i64, digest: &[u8; 32]) -> Result<bool> {
    let used = db
        .prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1 AND digest = ?2")?
        .execute(params![user, digest])?;
    Ok(used == 1)
}

/// Records that the session of the token with this digest was opened with a second factor.
pub fn mark_session(db: &Transaction, token: &[u8; 32]) -> Result<()> {
    db.prepare_cached("UPDATE sessions SET second_factor = 1 WHERE id = ?1 AND token_sha256 = ?2")?
        .execute(params![sessions::id(token), token])
        .map(drop)
}

/// Calls `each` with the user and the encrypted secret of every second factor that is on.
pub fn each_secret(db: &Connection, each: &mut dyn FnMut(i64, &[u8])) -> Result<()> {
    let mut statement =
        db.prepare("SELECT user_id, secret FROM totp WHERE confirmed_at IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_blob()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;
    use crate::store::{accounts, users};

    fn rows(scratch: &Scratch) -> (u32, u32) {
        let counted = scratch.store.read(|db| {
            db.query_row(
                "SELECT (SELECT count(*) FROM totp), (SELECT count(*) FROM recovery_codes)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        });
        counted.unwrap()
    }

    fn on(scratch: &mut Scratch, name: &str) -> i64 {
        let id = scratch.add(name);
        scratch.write(|db| {
            assert!(begin(db, id, b"secret")?);
            turn_on(db, id, 10, &[[1; 32], [2; 32]])
        });
        id
    }

    #[test]
    fn an_enrolment_is_replaced_until_it_is_confirmed() {
        let mut scratch = Scratch::new();
        let id = scratch.add("rei");
        assert!(scratch.write(|db| begin(db, id, b"one")));
        assert!(scratch.write(|db| begin(db, id, b"two")));
        let found = scratch.store.read(|db| find(db, id)).unwrap().unwrap();
        assert_eq!((&*found.secret, found.is_on), (&b"two"[..], false));
        let left = |scratch: &Scratch| scratch.store.read(|db| recovery_codes_left(db, id));
        assert_eq!(left(&scratch).unwrap(), None);
        scratch.write(|db| turn_on(db, id, 10, &[[1; 32]]));
        assert_eq!(left(&scratch).unwrap(), Some(1));
        assert!(!scratch.write(|db| begin(db, id, b"three")));
        let found = scratch.store.read(|db| find(db, id)).unwrap().unwrap();
        assert_eq!((&*found.secret, found.is_on), (&b"two"[..], true));
        assert!(scratch.write(|db| turn_off(db, id)));
        assert!(!scratch.write(|db| turn_off(db, id)));
        assert_eq!(rows(&scratch), (0, 0));
    }

    #[test]
    fn a_step_is_accepted_once_and_no_earlier_one_after_it() {
        let mut scratch = Scratch::new();
        let (rei, asuka) = (on(&mut scratch, "rei"), on(&mut scratch, "asuka"));
        for (user, step, accepted) in [
            (rei, 7, true),
            (rei, 7, false),
            (rei, 6, false),
            (asuka, 7, true),
            (rei, 8, true),
            (0, 9, false),
        ] {
            let used = scratch.write(|db| use_step(db, user, step));
            assert_eq!(used, accepted, "{user} {step}");
        }
    }

    #[test]
    fn a_recovery_code_is_accepted_once_and_of_its_user_alone() {
        let mut scratch = Scratch::new();
        let (rei, asuka) = (on(&mut scratch, "rei"), on(&mut scratch, "asuka"));
        scratch.write(|db| turn_on(db, asuka, 10, &[[3; 32]]));
        for (user, digest, accepted) in [
            (rei, [3; 32], false),
            (rei, [1; 32], true),
            (rei, [1; 32], false),
            (rei, [2; 32], true),
            (asuka, [3; 32], true),
        ] {
            let used = scratch.write(|db| use_recovery_code(db, user, &digest));
            assert_eq!(used, accepted, "{user} {digest:?}");
        }
    }

    #[test]
    fn a_second_factor_goes_with_its_user_and_with_no_other_change() {
        let mut scratch = Scratch::new();
        let id = on(&mut scratch, "rei");
        scratch.write(|db| {
            accounts::set_password(db, id, "y")?;
            assert!(users::change_password(db, id, "y", "z")?);
            assert!(accounts::rename(db, id, "ayanami")?);
            accounts::disable(db, id, 1)?;
            accounts::enable(db, id)
        });
        assert_eq!(rows(&scratch), (1, 2));
        scratch.write(|db| accounts::delete(db, id).map(drop));
        assert_eq!(rows(&scratch), (0, 0));
    }

    #[test]
    fn sessions_count_as_opened_without_it_once_it_is_off() {
        let mut scratch = Scratch::new();
        let id = on(&mut scratch, "rei");
        let marked = |scratch: &Scratch| {
            let found = scratch.store.read(|db| {
                db.query_row("SELECT total(second_factor) FROM sessions", [], |row| {
                    row.get::<_, f64>(0)
                })
            });
            found.unwrap()
        };
        scratch.write(|db| {
            for token in [[1; 32], [2; 32]] {
                let new = sessions::New {
                    user: id,
                    password: "x",
                    token: &token,
                    now: 1,
                    expires_at: 100,
                    source: "-",
                    client: "other",
                    second_factor: false,
                };
                assert!(sessions::open(db, &new, 10)?);
            }
            mark_session(db, &[1; 32])
        });
        assert_eq!(marked(&scratch), 1.0);
        scratch.write(|db| turn_off(db, id));
        assert_eq!(marked(&scratch), 0.0);
    }
}
