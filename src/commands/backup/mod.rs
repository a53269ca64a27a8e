//! `backup`: copies the state of one moment while the server runs, reads the copy back, and only
//! then gives it its name.

pub mod manifest;
pub mod restore;

use self::manifest::Summary;
use crate::account::avatar;
use crate::command::{Args, Argument, Command, DATA, Failure, print};
use crate::commands::terminal::progress::Progress;
use crate::config::{self, logo};
use crate::crypto;
use crate::store::{self, Store, users};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// The row of `backup`.
pub const BACKUP: Command = Command {
    name: "backup",
    doc: "back up the data folder into a new folder in DIR, and verify the copy",
    about: "The server can keep running, and no change waits for the backup. The new folder is called accountd- and the time \
            (UTC). It has the state of one moment: the database, the picture of each user in it, config.json, which holds \
            secrets, the page's logo, and SHA256SUMS, which reveals damage: accountd check --data FOLDER and restore compare every file with it. \
            The folder gets its name once it is on disk and verified. What an interrupted backup left behind is removed by \
            the next one.\n\
            A picture that is replaced meanwhile stays until it is copied. Only one backup at a time can run on a data folder.",
    arguments: &[Argument {
        name: "DIR",
        doc: "the folder for backups; it is created if it does not exist",
    }],
    options: &[DATA],
    exit: &[],
    examples: &[(
        "backup /srv/backups --data /srv/accounts",
        "make a backup such as /srv/backups/accountd-2026-11-24T07-00-00Z",
    )],
    run: |args: &Args| {
        let (data, target) = (args.data(), args.path("DIR").unwrap_or_default());
        print(&run(&data, &target).map_err(|error| Failure::new(1, error))?)
    },
};

/// The start and end of the name of an unfinished backup.
const UNFINISHED: (&str, &str) = (".accountd-", ".unfinished");

fn run(data: &Path, target: &Path) -> Result<String, String> {
    let since = Instant::now();
    let mut progress = Progress::of_bytes("database");
    let store = super::open_existing(data)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(target)
        .map_err(at_path(target))?;
    remove_unfinished(target);
    let unfinished = Unfinished::new(target)?;
    let lock = avatar::lock_exclusive(data)?;
    let summary = copy(data, &store, &unfinished.path, &mut progress)?;
    drop(lock);
    remove_replaced(data, &store);
    progress.next("checking");
    let faults = manifest::verify(&unfinished.path, &mut progress)?;
    if !faults.is_empty() {
        return Err(format!(
            "no backup was made, since the copy is not sound: {}",
            manifest::in_one_sentence(&faults)
        ));
    }
    drop(progress);
    let path = unfinished.finish(target, &summary)?;
    let (bytes, seconds) = (summary.bytes as f64 / 1e6, since.elapsed().as_secs_f64());
    Ok(format!(
        "{}: {}, {bytes:.1} MB in {seconds:.1} seconds\n",
        path.display(),
        summary.content()
    ))
}

/// Fills the folder of a backup.
fn copy(
    data: &Path,
    store: &Store,
    folder: &Path,
    progress: &mut Progress,
) -> Result<Summary, String> {
    let path = folder.join(store::FILE);
    // A page of the database has 4 KiB.
    let moment = store.copy_to(&path, &mut |done, all| {
        progress.show(done * 4096, all * 4096)
    })?;
    let mut sums = BufWriter::new(create(&folder.join(manifest::CHECKSUMS))?);
    let mut record = |sum: &str, name: &str| {
        sums.write_all(manifest::line(sum, name).as_bytes())
            .map_err(at_path(folder))
    };
    let database = File::open(&path)
        .and_then(|mut file| crypto::copy_with_checksum(&mut file, &mut io::sink()));
    let (mut bytes, sum) = database.map_err(at_path(&path))?;
    record(&sum, store::FILE)?;

    let copied = Store::open_immutable(folder)?;
    let fault = |fault: store::Fault| format!("{}: {}", path.display(), fault.cause());
    let users = copied.read(users::count_all).map_err(fault)?;
    let pictures = copied.read(users::count_avatars).map_err(fault)?;
    let pictures_folder = avatar::folder(folder);
    DirBuilder::new()
        .mode(0o700)
        .create(&pictures_folder)
        .map_err(at_path(&pictures_folder))?;
    progress.next("pictures");
    let (mut count, mut result) = (0, Ok(()));
    let mut copy_picture = |name: &str| {
        let from = avatar::path(data, name);
        if !from.exists() {
            return Err(format!(
                "{}: is missing; accountd check --repair gives its user the built-in picture",
                from.display()
            ));
        }
        let (size, sum) = copy_file(&from, &avatar::path(folder, name))?;
        (bytes, count) = (bytes + size, count + 1);
        record(&sum, &manifest::picture_path(name))?;
        // The total is an estimate: the other pictures are taken to be as large on average as those
        // copied so far.
        progress.show(bytes, bytes / count.max(1) * pictures)
    };
    let walked = copied.read(|db| {
        users::each_avatar(db, &mut |name| {
            result = if avatar::is_name(name) {
                copy_picture(name)
            } else {
                Err(format!(
                    "a user's picture has the invalid name {name:?}; accountd check --repair gives the user the \
                     built-in picture"
                ))
            };
            result.is_ok()
        })
    });
    walked.map_err(fault)?;
    result?;

    let summary = Summary {
        accountd: env!("CARGO_PKG_VERSION").into(),
        moment: moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        users,
        pictures,
        bytes,
    };
    let text = serde_json::to_string(&summary).unwrap_or_default() + "\n";
    let mut file = create(&folder.join(manifest::SUMMARY))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(at_path(folder))?;
    let (_, sum) = crypto::copy_with_checksum(&mut text.as_bytes(), &mut io::sink())
        .map_err(at_path(folder))?;
    record(&sum, manifest::SUMMARY)?;
    // The settings may come from the environment alone.
    if data.join(config::FILE).exists() {
        let (_, sum) = copy_file(&data.join(config::FILE), &folder.join(config::FILE))?;
        record(&sum, config::FILE)?;
    }
    if let Some(name) = logo(data) {
        let (_, sum) = copy_file(&data.join(&name), &folder.join(&name))?;
        record(&sum, &name)?;
    }
    let file = sums
        .into_inner()
        .map_err(|error| at_path(folder)(error.into_error()))?;
    file.sync_all().map_err(at_path(folder))?;
    for folder in [&pictures_folder, folder] {
        sync_folder(folder)?;
    }
    Ok(summary)
}

/// The name of the page's logo, if there is such a file. A backup does not fail for its sake.
fn logo(data: &Path) -> Option<String> {
    let loaded = config::environment().and_then(|found| config::load(data, &found, &[]));
    let (config, _) = loaded.ok()?;
    let name = config.logo?;
    logo::open(data, &name).is_ok().then_some(name)
}

/// Removes pictures that were replaced while the backup had them locked.
fn remove_replaced(data: &Path, store: &Store) {
    if let Some(start) = SystemTime::now().checked_sub(avatar::GRACE_PERIOD) {
        // If the database cannot be read, the picture stays.
        avatar::sweep(data, start, |name| {
            store.read(|db| users::has_avatar(db, name)).unwrap_or(true)
        });
    }
}

/// The folder of a backup under way. It is removed when dropped, unless it was finished.
struct Unfinished {
    path: PathBuf,
    /// The lock tells other backups that this one is still running.
    _lock: File,
}

impl Unfinished {
    fn new(target: &Path) -> Result<Unfinished, String> {
        let path = target.join(format!(
            "{}{}{}",
            UNFINISHED.0,
            crypto::random_alphanumeric(8),
            UNFINISHED.1
        ));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(at_path(&path))?;
        let lock = File::open(&path).map_err(at_path(&path))?;
        lock.try_lock()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Unfinished { path, _lock: lock })
    }

    /// Gives the folder its final name: from then on, there is a backup.
    fn finish(self, target: &Path, summary: &Summary) -> Result<PathBuf, String> {
        let path = unused_path(target, "accountd-", summary.moment());
        fs::rename(&self.path, &path).map_err(at_path(&path))?;
        sync_folder(target)?;
        Ok(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what killed backups left behind.
fn remove_unfinished(target: &Path) {
    let Ok(entries) = fs::read_dir(target) else {
        return;
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1);
        if unfinished && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// A path in a folder that does not exist yet: `start`, a time, and a number if that is taken.
pub fn unused_path(folder: &Path, start: &str, moment: SystemTime) -> PathBuf {
    let name = format!("{start}{}", humantime::format_rfc3339_seconds(moment)).replace(':', "-");
    let others = (2..u64::MAX).map(|number| format!("{name}-{number}"));
    let mut paths = std::iter::once(name.clone())
        .chain(others)
        .map(|name| folder.join(name));
    paths
        .find(|path| !path.exists())
        .expect("a folder has fewer than 2^64 entries")
}

/// Copies a file to a new one that only its owner can read, syncs it, and returns its size and
/// checksum.
pub fn copy_file(from: &Path, to: &Path) -> Result<(u64, String), String> {
    let mut source = File::open(from).map_err(at_path(from))?;
    let mut target = create(to)?;
    let copied = crypto::copy_with_checksum(&mut source, &mut target).map_err(at_path(from))?;
    // A sync per file, so that the server's own syncs get their turn in between.
    target.sync_data().map_err(at_path(to))?;
    Ok(copied)
}

fn create(path: &Path) -> Result<File, String> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at_path(path))
}

/// Syncs a folder, so that the names in it are on disk.
pub fn sync_folder(folder: &Path) -> Result<(), String> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at_path(folder))
}

/// Prepends a path to the error that happened there.
pub fn at_path(path: &Path) -> impl Fn(io::Error) -> String + use<> {
    let shown = path.display().to_string();
    move |error| format!("{shown}: {error}")
}
