//! `restore`: a backup put in the place of a data folder's state, which is kept aside.

use crate::account::avatar;
use crate::command::{Args, Argument, Command, DATA, Failure, Opt, print};
use crate::commands::Folder;
use crate::commands::backup::manifest::{self, About, Line};
use crate::commands::backup::{at, copy_file, free, sync_folder};
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::count;
use crate::config;
use crate::process::data_folder;
use crate::store::{self, Store, audit, users};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const FORCE: Opt = Opt {
    name: "force",
    value: "",
    doc: "restore even if what is there is newer, or of a newer accountd",
};

/// The row of `restore`.
pub const RESTORE: Command = Command {
    name: "restore",
    doc: "put a backup in the place of what the data folder holds, which is kept aside",
    about: "Reads the whole backup first, and touches nothing if it is not sound. Refuses while a server works on the data \
            folder, and if users were added, changed or deleted there after the backup was made, unless --force says otherwise.\n\
            Database and pictures that were there are kept in the data folder, in before-restore- and the time (UTC); \
            remove that folder when you do not need it. A config.json that is there stays; where there is none, it comes \
            from the backup.\n\
            What breaks off in the middle, by a loss of power say, leaves the old state or the new one, whole.",
    arguments: &[Argument {
        name: "DIR",
        doc: "the folder of one backup, accountd-…",
    }],
    options: &[DATA, FORCE],
    exit: &[],
    examples: &[(
        "restore /srv/backups/accountd-2026-11-24T07-00-00Z --data /srv/accounts",
        "go back to that morning",
    )],
    run: |args: &Args| {
        let (data, backup) = (args.data(), args.path("DIR").unwrap_or_default());
        let mut progress = Progress::of_bytes("checking");
        let failed = |error| Failure::new(1, error);
        crate::commands::as_owner(&data).map_err(failed)?;
        let about = sound(&backup, &mut progress).map_err(failed)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .map_err(at(&data))
            .map_err(failed)?;
        let _lock = data_folder::lock(&data)?;
        let text =
            run(&data, &backup, &about, args.has(FORCE.name), &mut progress).map_err(failed)?;
        drop(progress);
        // Done is done, whether or not it can be noted in what has come.
        let _ = Folder::open(args)
            .and_then(|mut folder| folder.change(|db, event| audit::done(db, event, None)));
        print(&text)
    },
};

/// The database before it is in its place.
pub const NEW: &str = "accountd.db.new";
/// How the folder with the old state begins, and how it ends as long as it is not whole.
const ASIDE: (&str, &str) = ("before-restore-", ".unfinished");
/// What may stand beside a database that was not closed.
const LOGS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether this name in a data folder is of something that a restore left that broke off.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    name == NEW || (name.starts_with(ASIDE.0) && name.ends_with(ASIDE.1))
}

fn sound(backup: &Path, progress: &mut Progress) -> Result<About, String> {
    let faults = manifest::verify(backup, progress)?;
    if !faults.is_empty() {
        return Err(format!(
            "{}: is broken: {}; choose another one",
            backup.display(),
            manifest::sentence(&faults)
        ));
    }
    manifest::about(backup)
}

fn run(
    data: &Path,
    backup: &Path,
    about: &About,
    force: bool,
    progress: &mut Progress,
) -> Result<String, String> {
    let held = avatar::lock_exclusive(data)?;
    let aside = set_aside(data, backup, about, force)?;
    progress.next("restoring");
    if let Err(error) = put_in_place(data, backup, about, progress) {
        // Pictures that belong to nobody are removed at the next start.
        let _ = fs::remove_file(data.join(NEW));
        let _ = aside.map(fs::remove_dir_all);
        return Err(error);
    }
    drop(held);
    let restored = Store::still(data)?;
    // When in doubt, it stays; all of them are kept aside.
    avatar::sweep(data, SystemTime::now(), |name| {
        restored
            .read(|db| users::has_avatar(db, name))
            .unwrap_or(true)
    });
    let moment = humantime::format_rfc3339_seconds(about.moment());
    let mut text = format!("{}: {} as of {moment}\n", data.display(), about.content());
    if let Some(aside) = aside {
        text += &format!("what was there before is kept in {}\n", aside.display());
    }
    Ok(text)
}

fn put_in_place(
    data: &Path,
    backup: &Path,
    about: &About,
    progress: &mut Progress,
) -> Result<(), String> {
    // None of this is the new state yet: pictures that nobody names, and a file that nobody reads.
    let mut done = 0;
    for line in manifest::lines(backup)? {
        done += place(data, backup, &line?)?;
        progress.show(done, about.bytes)?;
    }
    sync_folder(&avatar::folder(data))?;
    // A log of the old database would be played back into the new one. The old one has none, unless
    // it is damaged.
    for log in LOGS {
        remove(&data.join(format!("{}{log}", store::FILE)))?;
    }
    sync_folder(data)?;
    // The one step from the old state to the new one.
    fs::rename(data.join(NEW), data.join(store::FILE)).map_err(at(data))?;
    sync_folder(data)
}

/// Copies one file of the backup to where it belongs. What comes is what was checked.
fn place(data: &Path, backup: &Path, line: &Line) -> Result<u64, String> {
    let from = backup.join(&line.path);
    let (fresh, to) = match line.path.as_str() {
        store::FILE => (data.join(NEW), None),
        manifest::ABOUT => return Ok(0),
        config::FILE if data.join(config::FILE).exists() => return Ok(0),
        config::FILE => (data.join("config.json.new"), Some(data.join(config::FILE))),
        path => (
            avatar::path(data, &avatar::temporary_name()),
            Some(data.join(path)),
        ),
    };
    remove(&fresh)?;
    let (size, sum) = copy_file(&from, &fresh)?;
    if sum != line.sum {
        return Err(format!("{}: has just changed", from.display()));
    }
    if let Some(to) = to {
        fs::rename(&fresh, &to).map_err(at(&to))?;
    }
    Ok(size)
}

/// Refuses what must not be overwritten; the rest is linked into a folder of its own, and the
/// database left as one file.
fn set_aside(
    data: &Path,
    backup: &Path,
    about: &About,
    force: bool,
) -> Result<Option<PathBuf>, String> {
    let file = data.join(store::FILE);
    if !file.exists() {
        return Ok(None);
    }
    let all_the_same = "--force restores the backup all the same, and keeps what is there aside";
    let shown = file.display();
    match compare(data, &file, backup, about, force) {
        Ok(true) => {}
        Ok(false) => {
            return Err(format!(
                "{shown}: another accountd command is using it; try again"
            ));
        }
        Err(_) if force => {}
        Err(sentence) => return Err(format!("{sentence}; {all_the_same}")),
    }
    let aside = free(data, ASIDE.0, SystemTime::now());
    let unfinished = PathBuf::from(format!("{}{}", aside.display(), ASIDE.1));
    let pictures = avatar::folder(&unfinished);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&pictures)
        .map_err(at(&pictures))?;
    for suffix in [""].iter().chain(&LOGS) {
        let name = format!("{}{suffix}", store::FILE);
        link(&data.join(&name), &unfinished.join(&name))?;
    }
    for entry in fs::read_dir(avatar::folder(data)).map_err(at(data))? {
        let entry = entry.map_err(at(data))?;
        if avatar::is_name(&entry.file_name().to_string_lossy()) {
            link(&entry.path(), &pictures.join(entry.file_name()))?;
        }
    }
    sync_folder(&pictures)?;
    sync_folder(&unfinished)?;
    fs::rename(&unfinished, &aside).map_err(at(&aside))?;
    sync_folder(data)?;
    Ok(Some(aside))
}

/// Whether the old database may go: nobody else has it open, and it has nothing newer, unless that
/// may be lost.
fn compare(
    data: &Path,
    file: &Path,
    backup: &Path,
    about: &About,
    force: bool,
) -> Result<bool, String> {
    let (shown, moment) = (file.display(), about.moment());
    let unreadable = |error: &dyn std::fmt::Display| {
        format!("{shown}: cannot be compared with the backup: {error}")
    };
    let changed = changed_at(file);
    let old = crate::commands::visit(data)?;
    if changed > moment && !force {
        let differ = old
            .users_that_differ(backup)
            .map_err(|error| unreadable(&error))?;
        if differ > 0 {
            let (differ, moment) = (
                count(differ, "user"),
                humantime::format_rfc3339_seconds(moment),
            );
            return Err(format!(
                "{shown}: is newer: {differ} added, changed or deleted there after {moment}"
            ));
        }
    }
    old.close_alone().map_err(|error| unreadable(&error))
}

/// When the database was last changed: it or its log.
fn changed_at(file: &Path) -> SystemTime {
    let log = PathBuf::from(format!("{}{}", file.display(), LOGS[0]));
    let changed = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        // An empty log says that somebody has come, not that anything has changed.
        metadata.modified().ok().filter(|_| metadata.len() > 0)
    };
    changed(file)
        .max(changed(&log))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A second name for a file that is there, or a copy where the file system has no second names.
fn link(from: &Path, to: &Path) -> Result<(), String> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => copy_file(from, to).map(drop),
        Ok(()) => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
