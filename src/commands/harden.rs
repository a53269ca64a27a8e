//! `harden`: every MD5 digest that is left, wrapped in Argon2id without knowing its password.

use crate::command::{Args, Command, DATA, Failure, print};
use crate::commands::Folder;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::count;
use crate::config::Scheme;
use crate::store::{audit, users};
use std::thread;

/// The row of `harden`.
pub const HARDEN: Command = Command {
    name: "harden",
    doc: "wrap the MD5 digests that are left in Argon2id",
    about: "With \"password_hash\": \"argon2id\" a log-in rewrites its user's row; this rewrites all others, whose passwords \
            nobody needs to know for it. Sessions stay.\n\
            Works while the server does, and leaves it one core, if there are several. A password that is changed meanwhile \
            stays as it was changed. Ctrl-C ends it after the users at hand; what is done stays, and another run goes on. \
            Each takes about 20 ms of a core and 19 MiB of memory.\n\
            It can't be undone but by logging in with \"password_hash\": \"md5\".",
    arguments: &[],
    options: &[DATA],
    exit: &[
        (0, "no MD5 digest is left"),
        (1, "some are left, for the reason that standard error gives"),
    ],
    examples: &[("harden --data /srv/accounts", "wrap what is left")],
    run: |args: &Args| {
        let mut folder = Folder::open(args)?;
        if folder.config.password_hash == Scheme::Md5 {
            let sentence = "\"password_hash\" is md5, so each log-in would undo it; set \"password_hash\": \"argon2id\" in \
                            config.json first, and restart the server";
            return Err(Failure::new(1, sentence.into()));
        }
        print(&run(&mut folder)?)
    },
};

/// Users of one transaction for each thread.
const AT_ONCE: i64 = 8;

fn run(folder: &mut Folder) -> Result<String, Failure> {
    let all = folder.read(users::count_with_md5)?;
    let mut progress = Progress::of("wrapping", "users");
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .saturating_sub(1)
        .max(1);
    let most = i64::try_from(threads).unwrap_or(1) * AT_ONCE;
    let (mut after, mut done, mut changed, mut interrupted) = (0, 0, 0, Ok(()));
    loop {
        let some = folder.read(|db| users::with_md5(db, after, most))?;
        let Some((last, _)) = some.last() else { break };
        after = *last;
        let wrapped = wrap(&some, threads);
        // Each that is still what it was: a password may have been changed meanwhile.
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
    // One line for all, which would push out what else was done.
    folder.change(|db, event| audit::done(db, event, None))?;
    let left = folder.read(users::count_with_md5)?;
    match interrupted {
        Err(error) => Err(format!("{error}: {changed} digests are wrapped, {left} are left; another run goes on")),
        Ok(()) if left > 0 => Err(format!(
            "{changed} digests are wrapped, but {left} new ones have come: restart the server, so that it makes none"
        )),
        Ok(()) => Ok(format!("{}: wrapped, none is left\n", count(changed, "digest"))),
    }
    .map_err(|sentence| Failure::new(1, sentence))
}

/// Wraps on several threads.
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
