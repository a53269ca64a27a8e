//! `restore`: replaces the state of a data folder with a backup, and keeps the previous state
//! aside.

use crate::account::avatar;
use crate::command::{Args, Argument, Command, DATA, Failure, Opt, print};
use crate::commands::DataFolder;
use crate::commands::backup::manifest::{self, Line, Summary};
use crate::commands::backup::{at_path, copy_file, sync_folder, unused_path};
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::count;
use crate::config::{self, logo};
use crate::process::data_folder::{self, Purpose};
use crate::store::{self, Store, audit, users};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const FORCE: Opt = Opt {
    name: "force",
    value: "",
    doc: "restore even if the present state is newer than the backup, unreadable, or of a newer accountd",
};

/// The row of `restore`.
pub const RESTORE: Command = Command {
    name: "restore",
    doc: "replace the state of the data folder with a backup, and keep the previous state",
    about: "The whole backup is verified first; if it is damaged, nothing changes. The command refuses to run while a server \
            uses the data folder and, without --force, if users were added, changed or deleted after the backup was made.\n\
            The previous database and pictures are kept in the data folder, in a folder called before-restore- and the time \
            (UTC). Remove it when you no longer need it. An existing config.json or logo stays; if there is none, the backup's \
            is used.\n\
            After an interruption, such as a loss of power, the folder has either the old state or the new one, complete.",
    arguments: &[Argument {
        name: "DIR",
        doc: "the folder of a backup, accountd-…",
    }],
    options: &[DATA, FORCE],
    exit: &[],
    examples: &[(
        "restore /srv/backups/accountd-2026-11-24T07-00-00Z --data /srv/accounts",
        "restore the state of that morning",
    )],
    run: |args: &Args| {
        let (data, backup) = (args.data(), args.path("DIR").unwrap_or_default());
        let mut progress = Progress::of_bytes("checking");
        let failed = |error| Failure::new(1, error);
        crate::commands::require_owner(&data).map_err(failed)?;
        let summary = verified(&backup, &mut progress).map_err(failed)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .map_err(at_path(&data))
            .map_err(failed)?;
        let _lock = data_folder::lock(&data, Purpose::Restore)?;
        let text = run(
            &data,
            &backup,
            &summary,
            args.has(FORCE.name),
            &mut progress,
        )
        .map_err(failed)?;
        drop(progress);
        // The restore has succeeded, even if the restored database cannot record it in its audit
        // log.
        let _ = DataFolder::open(args)
            .and_then(|mut folder| folder.change(|db, event| audit::done(db, event, None)));
        print(&text)
    },
};

/// The name of the new database until it replaces the old one.
pub const NEW: &str = "accountd.db.new";
/// The start of the name of the folder with the previous state, and the end of that name while the
/// folder is incomplete.
const ASIDE: (&str, &str) = ("before-restore-", ".unfinished");
/// Files beside a database that was not closed.
const LOGS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether an interrupted restore left something with this name in a data folder.
pub fn is_unfinished(name: &str) -> bool {
    name == NEW || (name.starts_with(ASIDE.0) && name.ends_with(ASIDE.1))
}

/// Verifies a backup and returns its summary.
fn verified(backup: &Path, progress: &mut Progress) -> Result<Summary, String> {
    let faults = manifest::verify(backup, progress)?;
    if !faults.is_empty() {
        return Err(format!(
            "{}: is damaged: {}; choose another backup",
            backup.display(),
            manifest::in_one_sentence(&faults)
        ));
    }
    manifest::summary(backup)
}

fn run(
    data: &Path,
    backup: &Path,
    summary: &Summary,
    force: bool,
    progress: &mut Progress,
) -> Result<String, String> {
    let lock = avatar::lock_exclusive(data)?;
    let aside = set_aside(data, backup, summary, force)?;
    progress.next("restoring");
    if let Err(error) = put_in_place(data, backup, summary, progress) {
        // The next start removes the pictures, which no user has.
        let _ = fs::remove_file(data.join(NEW));
        let _ = aside.map(fs::remove_dir_all);
        return Err(error);
    }
    drop(lock);
    let restored = Store::open_immutable(data)?;
    // All pictures are kept aside as well. If the database cannot be read, they stay here too.
    avatar::sweep(data, SystemTime::now(), |name| {
        restored
            .read(|db| users::has_avatar(db, name))
            .unwrap_or(true)
    });
    let moment = humantime::format_rfc3339_seconds(summary.moment());
    let mut text = format!("{}: {} as of {moment}\n", data.display(), summary.content());
    if let Some(aside) = aside {
        text += &format!("the previous state is kept in {}\n", aside.display());
    }
    Ok(text)
}

fn put_in_place(
    data: &Path,
    backup: &Path,
    summary: &Summary,
    progress: &mut Progress,
) -> Result<(), String> {
    // Nothing of this takes effect yet: no database refers to the pictures, and the new database
    // has a temporary name.
    let mut done = 0;
    for line in manifest::lines(backup)? {
        done += restore_file(data, backup, &line?)?;
        progress.show(done, summary.bytes)?;
    }
    sync_folder(&avatar::folder(data))?;
    // SQLite would apply a log of the old database to the new one. There is a log only if the old
    // database is damaged.
    for log in LOGS {
        remove(&data.join(format!("{}{log}", store::FILE)))?;
    }
    sync_folder(data)?;
    // This step alone replaces the old state with the new one.
    fs::rename(data.join(NEW), data.join(store::FILE)).map_err(at_path(data))?;
    sync_folder(data)
}

/// Copies one file of the backup to its place, unless it has changed since it was verified. Returns
/// its size.
fn restore_file(data: &Path, backup: &Path, line: &Line) -> Result<u64, String> {
    let from = backup.join(&line.path);
    let (fresh, to) = match line.path.as_str() {
        store::FILE => (data.join(NEW), None),
        manifest::SUMMARY => return Ok(0),
        config::FILE if data.join(config::FILE).exists() => return Ok(0),
        config::FILE => (data.join("config.json.new"), Some(data.join(config::FILE))),
        path if logo::is_name(path) && data.join(path).exists() => return Ok(0),
        path => (
            avatar::path(data, &avatar::temporary_name()),
            Some(data.join(path)),
        ),
    };
    remove(&fresh)?;
    let (size, sum) = copy_file(&from, &fresh)?;
    if sum != line.sum {
        return Err(format!(
            "{}: has changed since it was verified; run the command again",
            from.display()
        ));
    }
    if let Some(to) = to {
        fs::rename(&fresh, &to).map_err(at_path(&to))?;
    }
    Ok(size)
}

/// Links the present state into a folder of its own, with the database as one file, and returns
/// that folder. An error if the present state must not be replaced.
fn set_aside(
    data: &Path,
    backup: &Path,
    summary: &Summary,
    force: bool,
) -> Result<Option<PathBuf>, String> {
    let file = data.join(store::FILE);
    if !file.exists() {
        return Ok(None);
    }
    let hint = "--force restores the backup anyway, and keeps the present state aside";
    let shown = file.display();
    match close_old(data, &file, backup, summary, force) {
        Ok(true) => {}
        Ok(false) => {
            return Err(format!(
                "{shown}: another accountd command is using it; try again when it is done"
            ));
        }
        Err(_) if force => {}
        Err(sentence) => return Err(format!("{sentence}; {hint}")),
    }
    let aside = unused_path(data, ASIDE.0, SystemTime::now());
    let unfinished = PathBuf::from(format!("{}{}", aside.display(), ASIDE.1));
    let pictures = avatar::folder(&unfinished);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&pictures)
        .map_err(at_path(&pictures))?;
    for suffix in [""].iter().chain(&LOGS) {
        let name = format!("{}{suffix}", store::FILE);
        link(&data.join(&name), &unfinished.join(&name))?;
    }
    for entry in fs::read_dir(avatar::folder(data)).map_err(at_path(data))? {
        let entry = entry.map_err(at_path(data))?;
        if avatar::is_name(&entry.file_name().to_string_lossy()) {
            link(&entry.path(), &pictures.join(entry.file_name()))?;
        }
    }
    sync_folder(&pictures)?;
    sync_folder(&unfinished)?;
    fs::rename(&unfinished, &aside).map_err(at_path(&aside))?;
    sync_folder(data)?;
    Ok(Some(aside))
}

/// Closes the old database as one file, and returns whether that worked: it does not while another
/// process has it open. An error if it has users that the backup lacks, unless `force`.
fn close_old(
    data: &Path,
    file: &Path,
    backup: &Path,
    summary: &Summary,
    force: bool,
) -> Result<bool, String> {
    let (shown, moment) = (file.display(), summary.moment());
    let unreadable = |error: &dyn std::fmt::Display| {
        format!("{shown}: cannot be compared with the backup: {error}")
    };
    let changed = changed_at(file);
    let old = crate::commands::open_existing(data)?;
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
                "{shown}: is newer than the backup: {differ} added, changed or deleted after {moment}"
            ));
        }
    }
    old.close_exclusive().map_err(|error| unreadable(&error))
}

/// When the database or its log was last changed.
fn changed_at(file: &Path) -> SystemTime {
    let log = PathBuf::from(format!("{}{}", file.display(), LOGS[0]));
    let changed = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        // An empty log only means that the database was opened.
        metadata.modified().ok().filter(|_| metadata.len() > 0)
    };
    changed(file)
        .max(changed(&log))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Makes a hard link to a file if it exists, or a copy if the file system has no hard links.
fn link(from: &Path, to: &Path) -> Result<(), String> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => copy_file(from, to).map(drop),
        Ok(()) => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at_path(path)(error)),
        _ => Ok(()),
    }
}
