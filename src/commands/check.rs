//! `check`: checks a data folder or a backup, and repairs what can be repaired without loss.

use crate::account::{avatar, sealed};
use crate::command::{Args, Command, DATA, Failure, Opt, print};
use crate::commands::DataFolder;
use crate::commands::backup::manifest;
use crate::commands::backup::restore;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::{count, plain};
use crate::config;
use crate::store::{self, Fault, Store, audit, integrity, schema, totp, users};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const REPAIR: Opt = Opt {
    name: "repair",
    value: "",
    doc: "repair what can be repaired, and print what was done",
};

/// The row of `check`.
pub const CHECK: Command = Command {
    name: "check",
    doc: "check the data folder or a backup",
    about: "Reads the database and every picture. Reports what SQLite's own checks find; tables, indexes, views and triggers \
            that accountd did not create; users whose picture is missing or damaged; pictures that no user has; second factors \
            that the setting totp_key cannot decrypt; and files that an interrupted command left behind. The server can keep running. Files younger than ten minutes are not \
            reported, since they may be uploads that are not recorded yet.\n\
            With --repair, users whose picture is missing get the built-in one, and pictures and files without an owner are \
            removed. A damaged database or picture is only reported: restore a backup.\n\
            In a backup, every file is compared with its checksum, and nothing is repaired.",
    arguments: &[],
    options: &[DATA, REPAIR],
    exit: &[
        (0, "no fault, or all faults were repaired"),
        (1, "faults remain; standard output has one line for each"),
    ],
    examples: &[
        (
            "check --data /srv/accounts",
            "check without changing anything",
        ),
        (
            "check --repair --data /srv/accounts",
            "repair what can be repaired",
        ),
        (
            "check --data /srv/backups/accountd-2026-11-24T07-00-00Z",
            "check a backup for damage",
        ),
    ],
    run: |args: &Args| {
        let (data, repair) = (args.data(), args.has(REPAIR.name));
        let mut progress = Progress::of_bytes("checking");
        let found = match () {
            () if data.join(manifest::CHECKSUMS).exists() => backup(&data, repair, &mut progress),
            () if repair => folder(&data, Some(&mut DataFolder::open(args)?)),
            () => folder(&data, None),
        };
        drop(progress);
        let Findings {
            wrong,
            repaired,
            content,
        } = found.map_err(|error| Failure::new(1, error))?;
        let mut text: String = repaired
            .iter()
            .map(|line| format!("repaired: {line}\n"))
            .collect();
        wrong
            .iter()
            .for_each(|line| text += &format!("wrong: {line}\n"));
        if wrong.is_empty() {
            text += &format!("{}: sound: {content}\n", data.display());
        }
        print(&text)?;
        // The faults have been printed.
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(1, String::new()))
        }
    },
};

/// The result of a check.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    repaired: Vec<String>,
    /// What the folder holds, in a few words.
    content: String,
}

fn backup(folder: &Path, repair: bool, progress: &mut Progress) -> Result<Findings, String> {
    if repair {
        return Err(format!(
            "{}: is a backup, and backups are never changed; make a new one",
            folder.display()
        ));
    }
    let wrong = manifest::verify(folder, progress)?;
    let content = manifest::summary(folder).map_or_else(
        |error| error,
        |summary| {
            format!(
                "{} as of {}",
                summary.content(),
                humantime::format_rfc3339_seconds(summary.moment())
            )
        },
    );
    Ok(Findings {
        wrong,
        repaired: Vec::new(),
        content,
    })
}

fn folder(data: &Path, mut repair: Option<&mut DataFolder>) -> Result<Findings, String> {
    let store = super::open_existing(data)?;
    let failed = |fault: Fault| format!("the database cannot be read: {}", fault.cause());
    let faults = store.read(integrity::problems).map_err(failed)?;
    let wrong = faults
        .into_iter()
        .map(|fault| format!("database: {fault}"))
        .collect();
    let mut found = Findings {
        wrong,
        ..Findings::default()
    };
    let differences = store.read(schema::differences).map_err(failed)?;
    if !differences.is_empty() {
        // A view may take the place of a table, and a repair could set off a trigger.
        let path = data.join(store::FILE);
        found.wrong.extend(
            differences
                .iter()
                .map(|one| format!("database: {one}; {}", one.remedy(&path))),
        );
        return Ok(found);
    }
    for (name, why) in suspects(data, &store)? {
        // The user may have replaced it meanwhile.
        if !store
            .read(|db| users::has_avatar(db, &name))
            .map_err(failed)?
        {
            continue;
        }
        let missing = !avatar::is_name(&name) || !avatar::path(data, &name).exists();
        if let Some(folder) = repair.as_mut().filter(|_| missing) {
            let replaced = folder.change(|db, event| {
                let ids = users::reset_avatar(db, &name)?;
                ids.iter()
                    .try_for_each(|id| audit::done(db, event, Some(*id)))?;
                Ok(ids)
            });
            let ids = replaced.map_err(|failure| failure.sentence)?;
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let shown = plain(&name);
            found.repaired.push(format!(
                "picture {shown}: {why}; user {} now has the built-in one",
                ids.join(", ")
            ));
        } else {
            found.wrong.push(format!("picture {}: {why}", plain(&name)));
        }
    }
    let start = SystemTime::now()
        .checked_sub(avatar::GRACE_PERIOD)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    // If the database cannot be read, the picture stays.
    let used = |name: &str| store.read(|db| users::has_avatar(db, name)).unwrap_or(true);
    let orphans = avatar::orphans(data, start, used);
    let removed = if repair.is_some() {
        avatar::sweep(data, start, used)
    } else {
        0
    };
    if removed > 0 {
        found.repaired.push(format!(
            "{} that no user had: removed",
            count(removed as u64, "picture")
        ));
    }
    let left = orphans.iter().filter(|path| path.exists());
    found
        .wrong
        .extend(left.map(|path| format!("picture {}: no user has it", name(path))));
    // If the pictures are locked, the files may belong to a command that is running.
    let unlocked = avatar::lock_shared(data);
    for path in leftovers(data, start)
        .into_iter()
        .filter(|_| unlocked.is_some())
    {
        let removed = repair.is_some()
            && (fs::remove_file(&path).is_ok() || fs::remove_dir_all(&path).is_ok());
        let line = format!("{}: an interrupted command left it behind", name(&path));
        if removed {
            found.repaired.push(line + "; removed")
        } else {
            found.wrong.push(line)
        }
    }
    found.wrong.extend(undecryptable(data, &store)?);
    let users = store.read(users::count_all).map_err(failed)?;
    found.content = manifest::content(users, store.read(users::count_avatars).map_err(failed)?);
    Ok(found)
}

/// How many second factors cannot be decrypted with the key of the configuration, as a sentence.
fn undecryptable(data: &Path, store: &Store) -> Result<Option<String>, String> {
    // A restore sets the previous state aside without its configuration.
    let configured = data.join(config::FILE).exists();
    let (config, _) = config::load(data, &config::environment()?, &[])?;
    let key = config.totp_key;
    if key.is_none() && !configured {
        return Ok(None);
    }
    let mut found = 0;
    let counted = store.read(|db| {
        totp::each_secret(db, &mut |user, secret| {
            let opened = key.as_ref().and_then(|key| sealed::open(key, user, secret));
            found += u64::from(opened.is_none());
        })
    });
    counted.map_err(|fault| format!("the database cannot be read: {}", fault.cause()))?;
    Ok((found > 0).then(|| {
        let factors = count(found, "second factor");
        format!(
            "{factors} cannot be decrypted with \"totp_key\"; restore the key with which they were encrypted, or turn \
             them off: accountd user totp-off"
        )
    }))
}

/// Pictures of users that are missing or damaged, each with the fault.
fn suspects(data: &Path, store: &Store) -> Result<Vec<(String, String)>, String> {
    let failed = |fault: Fault| format!("the database cannot be read: {}", fault.cause());
    let all = store.read(users::count_avatars).map_err(failed)?;
    let mut progress = Progress::of("checking", "pictures");
    let (mut suspects, mut done, mut result) = (Vec::new(), 0, Ok(()));
    let walked = store.read(|db| {
        users::each_avatar(db, &mut |name| {
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

/// Files that interrupted commands left in a data folder before `start`.
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
