//! `harden`: wraps every remaining MD5 digest in Argon2id, without knowing its password.

use crate::command::{Args, Command, DATA, Failure, print};
use crate::commands::DataFolder;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::count;
use crate::config::Scheme;
use crate::store::{audit, users};
use std::thread;

/// The row of `harden`.
pub const HARDEN: Command = Command {
    name: "harden",
    doc: "wrap all remaining MD5 digests in Argon2id",
    about: "With \"password_hash\": \"argon2id\", the server rewrites a user's digest when the user logs in. This command \
            rewrites all others at once; it needs no password. Sessions stay valid.\n\
            The server can keep running; if there are several cores, one is left to it. A password that changes meanwhile \
            is not overwritten. Ctrl-C stops the command after the current batch; run it again to continue. Each digest \
            takes about 20 ms of one core, and each core 19 MiB of memory.\n\
            Only a log-in with \"password_hash\": \"md5\" turns a wrapped digest back.",
    arguments: &[],
    options: &[DATA],
    exit: &[
        (0, "no MD5 digest is left"),
        (1, "some are left; standard error gives the reason"),
    ],
    examples: &[("harden --data /srv/accounts", "wrap all remaining digests")],
    run: |args: &Args| {
        let mut folder = DataFolder::open(args)?;
        if folder.config.password_hash == Scheme::Md5 {
            let sentence = "\"password_hash\" is md5, so each log-in would undo this; set \"password_hash\": \"argon2id\" in \
                            config.json first, and restart the server";
            return Err(Failure::new(1, sentence.into()));
        }
        print(&run(&mut folder)?)
    },
};

/// Users per thread in one transaction.
const BATCH: i64 = 8;

fn run(folder: &mut DataFolder) -> Result<String, Failure> {
    let all = folder.read(users::count_with_md5)?;
    let mut progress = Progress::of("wrapping", "users");
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .saturating_sub(1)
        .max(1);
    let batch = i64::try_from(threads).unwrap_or(1) * BATCH;
    let (mut after, mut done, mut changed, mut interrupted) = (0, 0, 0, Ok(()));
    loop {
        let some = folder.read(|db| users::with_md5(db, after, batch))?;
        let Some((last, _)) = some.last() else { break };
        after = *last;
        let wrapped = wrap(&some, threads);
        // Only digests that are unchanged: a password may have been changed meanwhile.
        changed += folder.change(|db, _| {
            some.iter()
                .zip(&wrapped)
                .try_fold(0, |count, ((id, old), new)| {
                    users::rehash(db, *id, old, new).map(|written| count + u64::from(written))
                })
        })?;
        done += some.len() as u64;
        interrupted = progress.show(done, all.max(done));
        if interrupted.is_err() {
            break;
        }
    }
    drop(progress);
    // One line for all users: a line each would push other events out of the audit log.
    folder.change(|db, event| audit::done(db, event, None))?;
    let left = folder.read(users::count_with_md5)?;
    let wrapped = count(changed, "digest");
    match interrupted {
        Err(error) => Err(format!("{error}: wrapped {wrapped}, {left} left; run the command again to continue")),
        Ok(()) if left > 0 => Err(format!(
            "wrapped {wrapped}, but {left} new MD5 digests were written meanwhile; restart the server, which still \
             writes them, then run the command again"
        )),
        Ok(()) => Ok(format!("wrapped {wrapped}; none is left\n")),
    }
    .map_err(|sentence| Failure::new(1, sentence))
}

/// Wraps digests on several threads.
fn wrap(users: &[(i64, String)], threads: usize) -> Vec<String> {
    let part = users.len().div_ceil(threads);
    thread::scope(|scope| {
        let work = |part: &'_ [(i64, String)]| {
            part.iter()
                .map(|(_, md5)| Scheme::Argon2id.wrap(md5.clone()))
                .collect()
        };
        let parts: Vec<_> = users
            .chunks(part)
            .map(|part| scope.spawn(move || -> Vec<String> { work(part) }))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("hashing does not panic"))
            .collect()
    })
}
