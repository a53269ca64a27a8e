//! `check`: whether a data folder or a backup is sound, and what can be repaired without losing
//! anything.

use crate::account::avatar;
use crate::command::{Args, Command, DATA, Failure, Opt, print};
use crate::commands::Folder;
use crate::commands::backup::manifest;
use crate::commands::backup::restore;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::{count, plain};
use crate::store::{self, Fault, Store, audit, check, schema, users};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const REPAIR: Opt = Opt {
    name: "repair",
    value: "",
    doc: "repair what can be repaired, and say what was done",
};

/// The row of `check`.
pub const CHECK: Command = Command {
    name: "check",
    doc: "say whether the data folder, or a backup, is sound",
    about: "Reads the database and every picture: SQLite's own checks, tables, indexes, views and triggers that accountd did \
            not create, users whose picture is missing or damaged, pictures that belong to nobody, and what a command left behind that broke off. Works while the server does; a file that \
            is younger than ten minutes may be an upload that is not recorded yet, and is no finding.\n\
            With --repair, users whose picture is missing get the built-in one, and what belongs to nobody is removed. A \
            damaged database or picture is only told: restore a backup.\n\
            In the folder of a backup it compares every file with its checksum, and repairs nothing.",
    arguments: &[],
    options: &[DATA, REPAIR],
    exit: &[
        (0, "sound, or all of it repaired"),
        (
            1,
            "something is wrong; each line of standard output says what",
        ),
    ],
    examples: &[
        ("check --data /srv/accounts", "look, and change nothing"),
        (
            "check --repair --data /srv/accounts",
            "repair what can be repaired",
        ),
        (
            "check --data /srv/backups/accountd-2026-11-24T07-00-00Z",
            "see whether a backup can still be believed",
        ),
    ],
    run: |args: &Args| {
        let (data, repair) = (args.data(), args.has(REPAIR.name));
        let mut progress = Progress::of_bytes("checking");
        let found = match () {
            () if data.join(manifest::SUMS).exists() => backup(&data, repair, &mut progress),
            () if repair => folder(&data, Some(&mut Folder::open(args)?)),
            () => folder(&data, None),
        };
        drop(progress);
        let Found {
            wrong,
            repaired,
            sound,
        } = found.map_err(|error| Failure::new(1, error))?;
        let mut text: String = repaired
            .iter()
            .map(|line| format!("repaired: {line}\n"))
            .collect();
        wrong
            .iter()
            .for_each(|line| text += &format!("wrong: {line}\n"));
        if wrong.is_empty() {
            text += &format!("{}: sound: {sound}\n", data.display());
        }
        print(&text)?;
        // The lines above are the sentence.
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(1, String::new()))
        }
    },
};

/// What a check found.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    repaired: Vec<String>,
    /// How much there is, in a few words.
    sound: String,
}

fn backup(folder: &Path, repair: bool, progress: &mut Progress) -> Result<Found, String> {
    if repair {
        return Err(format!(
            "{}: is a backup, which is never changed; make another one",
            folder.display()
        ));
    }
    let wrong = manifest::verify(folder, progress)?;
    let sound = manifest::about(folder).map_or_else(
        |error| error,
        |about| {
            format!(
                "{} as of {}",
                about.content(),
                humantime::format_rfc3339_seconds(about.moment())
            )
        },
    );
    Ok(Found {
        wrong,
        repaired: Vec::new(),
        sound,
    })
}

fn folder(data: &Path, mut repair: Option<&mut Folder>) -> Result<Found, String> {
    let store = super::visit(data)?;
    let failed = |fault: Fault| format!("the database cannot be read: {}", fault.cause());
    let faults = store.read(check::faults).map_err(failed)?;
    let wrong = faults
        .into_iter()
        .map(|fault| format!("database: {fault}"))
        .collect();
    let mut found = Found {
        wrong,
        ..Found::default()
    };
    let differences = store.read(schema::differences).map_err(failed)?;
    if !differences.is_empty() {
        // A view may stand where a table should, and a trigger do something else when a row is
        // repaired.
        let path = data.join(store::FILE);
        found.wrong.extend(
            differences
                .iter()
                .map(|one| format!("database: {one}; {}", one.remedy(&path))),
        );
        return Ok(found);
    }
    for (name, why) in suspects(data, &store)? {
        // Replaced meanwhile, it is nobody's any more.
        if !store
            .read(|db| users::has_avatar(db, &name))
            .map_err(failed)?
        {
            continue;
        }
        let missing = !avatar::is_name(&name) || !avatar::path(data, &name).exists();
        if let Some(folder) = repair.as_mut().filter(|_| missing) {
            let forgotten = folder.change(|db, event| {
                let ids = check::forget_avatar(db, &name)?;
                ids.iter()
                    .try_for_each(|id| audit::done(db, event, Some(*id)))?;
                Ok(ids)
            });
            let ids = forgotten.map_err(|failure| failure.sentence)?;
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let shown = plain(&name);
            found.repaired.push(format!(
                "picture {shown}: {why}; user {} has the built-in one now",
                ids.join(", ")
            ));
        } else {
            found.wrong.push(format!("picture {}: {why}", plain(&name)));
        }
    }
    let start = SystemTime::now()
        .checked_sub(avatar::GRACE_PERIOD)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    // When in doubt, it stays.
    let used = |name: &str| store.read(|db| users::has_avatar(db, name)).unwrap_or(true);
    let orphans = avatar::orphans(data, start, used);
    let removed = if repair.is_some() {
        avatar::sweep(data, start, used)
    } else {
        0
    };
    if removed > 0 {
        found.repaired.push(format!(
            "{} that belonged to nobody: removed",
            count(removed as u64, "picture")
        ));
    }
    let left = orphans.iter().filter(|path| path.exists());
    found
        .wrong
        .extend(left.map(|path| format!("picture {}: it belongs to nobody", name(path))));
    // Held, they may be of a command that is at work.
    let free = avatar::lock_shared(data);
    for path in leftovers(data, start)
        .into_iter()
        .filter(|_| free.is_some())
    {
        let removed = repair.is_some()
            && (fs::remove_file(&path).is_ok() || fs::remove_dir_all(&path).is_ok());
        let line = format!("{}: a command left it behind that broke off", name(&path));
        if removed {
            found.repaired.push(line + "; removed")
        } else {
            found.wrong.push(line)
        }
    }
    let users = store.read(check::count_users).map_err(failed)?;
    found.sound = manifest::content(users, store.read(check::count_avatars).map_err(failed)?);
    Ok(found)
}

/// Pictures that users have and that are not as they should be, each with what is wrong.
fn suspects(data: &Path, store: &Store) -> Result<Vec<(String, String)>, String> {
    let failed = |fault: Fault| format!("the database cannot be read: {}", fault.cause());
    let all = store.read(check::count_avatars).map_err(failed)?;
    let mut progress = Progress::of("checking", "pictures");
    let (mut suspects, mut done, mut result) = (Vec::new(), 0, Ok(()));
    let walked = store.read(|db| {
        check::each_avatar(db, &mut |name| {
            suspects.extend(
                avatar::check(data, name)
                    .err()
                    .map(|why| (name.to_string(), why)),
            );
            done += 1;
            result = progress.show(done, all);
            result.is_ok()
        })
    });
    walked.map_err(failed)?;
    result.map(|()| suspects)
}

/// What commands left in a data folder that broke off a while ago.
fn leftovers(data: &Path, start: SystemTime) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(data) else {
        return Vec::new();
    };
    let old = |path: &Path| {
        fs::metadata(path)
            .and_then(|file| file.modified())
            .is_ok_and(|modified| modified < start)
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths
        .filter(|path| {
            (restore::is_unfinished(&name(path)) || name(path) == "config.json.new") && old(path)
        })
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
