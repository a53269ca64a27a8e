//! `backup`: the state of one moment, copied while the server works, read back, and then given its
//! name.

pub mod manifest;
pub mod restore;

use self::manifest::About;
use crate::account::avatar;
use crate::command::{Args, Argument, Command, DATA, Failure, print};
use crate::commands::terminal::progress::Progress;
use crate::config;
use crate::crypto;
use crate::store::{self, Store, check, users};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// The row of `backup`.
pub const BACKUP: Command = Command {
    name: "backup",
    doc: "copy the data folder's state of one moment into a new folder below DIR, and read the copy back",
    about: "Works while the server does, and holds up no change. The new folder is called accountd- and the time (UTC). \
            It has the database, each picture that a user of this database has, config.json, which holds secrets, and \
            SHA256SUMS, by which damage is noticed: accountd check --data FOLDER reads it again, and so does restore. It \
            appears under its name when all of it is on disk and was found sound; what a backup that broke off left \
            behind, the next one removes.\n\
            A picture that is replaced meanwhile stays until its copy is made. One backup at a time works on a data folder.",
    arguments: &[Argument {
        name: "DIR",
        doc: "where backups are kept; made if it is not there",
    }],
    options: &[DATA],
    exit: &[],
    examples: &[(
        "backup /srv/backups --data /srv/accounts",
        "make /srv/backups/accountd-2026-11-24T07-00-00Z, say",
    )],
    run: |args: &Args| {
        let (data, target) = (args.data(), args.path("DIR").unwrap_or_default());
        print(&run(&data, &target).map_err(|error| Failure::new(1, error))?)
    },
};

/// How the folder of a backup that is not finished begins and ends.
const UNFINISHED: (&str, &str) = (".accountd-", ".unfinished");

fn run(data: &Path, target: &Path) -> Result<String, String> {
    let since = Instant::now();
    let mut progress = Progress::of_bytes("database");
    let store = super::visit(data)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(target)
        .map_err(at(target))?;
    remove_unfinished(target);
    let unfinished = Unfinished::new(target)?;
    let held = avatar::lock_exclusive(data)?;
    let about = copy(data, &store, &unfinished.path, &mut progress)?;
    drop(held);
    sweep(data, &store);
    progress.next("checking");
    let faults = manifest::verify(&unfinished.path, &mut progress)?;
    if !faults.is_empty() {
        return Err(format!(
            "the copy is not sound, so there is none: {}",
            manifest::sentence(&faults)
        ));
    }
    drop(progress);
    let path = unfinished.finish(target, &about)?;
    let (bytes, seconds) = (about.bytes as f64 / 1e6, since.elapsed().as_secs_f64());
    Ok(format!(
        "{}: {}, {bytes:.1} MB in {seconds:.1} seconds\n",
        path.display(),
        about.content()
    ))
}

/// Fills the folder.
fn copy(
    data: &Path,
    store: &Store,
    folder: &Path,
    progress: &mut Progress,
) -> Result<About, String> {
    let path = folder.join(store::FILE);
    // A page has 4 KiB.
    let moment = store.copy_to(&path, &mut |done, all| {
        progress.show(done * 4096, all * 4096)
    })?;
    let mut sums = BufWriter::new(create(&folder.join(manifest::SUMS))?);
    let mut note = |sum: &str, name: &str| {
        sums.write_all(manifest::line(sum, name).as_bytes())
            .map_err(at(folder))
    };
    let database = File::open(&path)
        .and_then(|mut file| crypto::copy_with_checksum(&mut file, &mut io::sink()));
    let (mut bytes, sum) = database.map_err(at(&path))?;
    note(&sum, store::FILE)?;

    let copied = Store::still(folder)?;
    let fault = |fault: store::Fault| format!("{}: {}", path.display(), fault.cause());
    let users = copied.read(check::count_users).map_err(fault)?;
    let pictures = copied.read(check::count_avatars).map_err(fault)?;
    let pictures_folder = avatar::folder(folder);
    DirBuilder::new()
        .mode(0o700)
        .create(&pictures_folder)
        .map_err(at(&pictures_folder))?;
    progress.next("pictures");
    let (mut count, mut result) = (0, Ok(()));
    let mut one = |name: &str| {
        let from = avatar::path(data, name);
        if !from.exists() {
            return Err(format!(
                "{}: is missing; accountd check --repair gives its user another picture",
                from.display()
            ));
        }
        let (size, sum) = copy_file(&from, &avatar::path(folder, name))?;
        (bytes, count) = (bytes + size, count + 1);
        note(&sum, &manifest::picture(name))?;
        // Bytes are not known beforehand: all pictures are taken to be as large as those so far.
        progress.show(bytes, bytes / count.max(1) * pictures)
    };
    let walked = copied.read(|db| {
        check::each_avatar(db, &mut |name| {
            result = if avatar::is_name(name) {
                one(name)
            } else {
                Err(format!("a user's picture is called {name:?}"))
            };
            result.is_ok()
        })
    });
    walked.map_err(fault)?;
    result?;

    let about = About {
        accountd: env!("CARGO_PKG_VERSION").into(),
        moment: moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        users,
        pictures,
        bytes,
    };
    let text = serde_json::to_string(&about).unwrap_or_default() + "\n";
    let mut file = create(&folder.join(manifest::ABOUT))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(at(folder))?;
    let (_, sum) =
        crypto::copy_with_checksum(&mut text.as_bytes(), &mut io::sink()).map_err(at(folder))?;
    note(&sum, manifest::ABOUT)?;
    // A configuration may stand in the environment alone.
    if data.join(config::FILE).exists() {
        let (_, sum) = copy_file(&data.join(config::FILE), &folder.join(config::FILE))?;
        note(&sum, config::FILE)?;
    }
    let file = sums
        .into_inner()
        .map_err(|error| at(folder)(error.into_error()))?;
    file.sync_all().map_err(at(folder))?;
    for made in [&pictures_folder, folder] {
        sync_folder(made)?;
    }
    Ok(about)
}

/// Removes pictures that were replaced while they were held.
fn sweep(data: &Path, store: &Store) {
    if let Some(start) = SystemTime::now().checked_sub(avatar::GRACE_PERIOD) {
        // When in doubt, it stays.
        avatar::sweep(data, start, |name| {
            store.read(|db| users::has_avatar(db, name)).unwrap_or(true)
        });
    }
}

/// A folder that is removed, unless it is finished.
struct Unfinished {
    path: PathBuf,
    /// Its lock says that somebody works on it.
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
            .map_err(at(&path))?;
        let lock = File::open(&path).map_err(at(&path))?;
        lock.try_lock()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Unfinished { path, _lock: lock })
    }

    /// Gives it its name, by which it is there or not.
    fn finish(self, target: &Path, about: &About) -> Result<PathBuf, String> {
        let path = free(target, "accountd-", about.moment());
        fs::rename(&self.path, &path).map_err(at(&path))?;
        sync_folder(target)?;
        Ok(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what backups left that were killed.
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

/// A path with a time in its name that nothing has yet.
///
/// # Panics
/// If a folder has all of them, which is more than any has.
#[must_use]
pub fn free(folder: &Path, start: &str, moment: SystemTime) -> PathBuf {
    let name = format!("{start}{}", humantime::format_rfc3339_seconds(moment)).replace(':', "-");
    let others = (2..u64::MAX).map(|number| format!("{name}-{number}"));
    let mut paths = std::iter::once(name.clone())
        .chain(others)
        .map(|name| folder.join(name));
    paths
        .find(|path| !path.exists())
        .expect("there is always one")
}

/// Copies a file to a new one that only its owner may read, to the disk, and says its size and
/// checksum.
///
/// # Errors
/// A sentence.
pub fn copy_file(from: &Path, to: &Path) -> Result<(u64, String), String> {
    let mut source = File::open(from).map_err(at(from))?;
    let mut target = create(to)?;
    let copied = crypto::copy_with_checksum(&mut source, &mut target).map_err(at(from))?;
    // One by one, so that the syncs of the server's changes find the disk free in between.
    target.sync_data().map_err(at(to))?;
    Ok(copied)
}

fn create(path: &Path) -> Result<File, String> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at(path))
}

/// Syncs the names in a folder.
///
/// # Errors
/// A sentence.
pub fn sync_folder(folder: &Path) -> Result<(), String> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

/// An error with the path where it happened.
pub fn at(path: &Path) -> impl Fn(io::Error) -> String + use<> {
    let shown = path.display().to_string();
    move |error| format!("{shown}: {error}")
}
