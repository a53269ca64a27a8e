//! What a backup says of itself: `backup.json`, and the checksums in `SHA256SUMS` by which damage
//! is noticed.
//!
//! The checksums stand in the order of their paths (of bytes): the database, its pictures in the
//! order in which it gives them, `backup.json` and `config.json`. So both lists can be compared
//! line by line, however long they are.

use crate::account::avatar;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::count;
use crate::config;
use crate::crypto;
use crate::store::{self, Store, integrity, schema, users};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The file of checksums, in the format of `sha256sum`.
pub const SUMS: &str = "SHA256SUMS";
/// The file that says what the backup is.
pub const ABOUT: &str = "backup.json";

/// What `backup.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// The version of the accountd that made it.
    pub accountd: String,
    /// The moment whose state it has, in Unix seconds.
    pub moment: u64,
    /// Users.
    pub users: u64,
    /// Uploaded pictures.
    pub pictures: u64,
    /// Bytes of the database and of all pictures.
    pub bytes: u64,
}

impl About {
    /// The moment whose state it has.
    #[must_use]
    pub fn moment(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.moment)
    }

    /// How much it has, in a few words.
    #[must_use]
    pub fn content(&self) -> String {
        content(self.users, self.pictures)
    }
}

/// So many users and pictures, in a few words.
#[must_use]
pub fn content(users: u64, pictures: u64) -> String {
    format!(
        "{} and {}",
        count(users, "user"),
        count(pictures, "picture")
    )
}

/// A line of the file of checksums.
pub struct Line {
    /// SHA-256 in lower-case hex.
    pub sum: String,
    /// The path within the backup.
    pub path: String,
}

/// The path of a picture within the backup.
#[must_use]
pub fn picture(name: &str) -> String {
    format!("{}/{name}", avatar::FOLDER)
}

/// A line as it is written.
#[must_use]
pub fn line(sum: &str, path: &str) -> String {
    format!("{sum}  {path}\n")
}

/// The lines of a backup's file of checksums.
///
/// # Errors
/// A sentence, if it can't be read; so may each line.
pub fn lines(backup: &Path) -> Result<impl Iterator<Item = Result<Line, String>> + use<>, String> {
    let path = backup.join(SUMS);
    let shown = path.display().to_string();
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{}: is no backup: it has no {SUMS}", backup.display()),
        _ => format!("{shown}: cannot be read: {error}"),
    })?;
    Ok(BufReader::new(file)
        .lines()
        .enumerate()
        .map(move |(at, line)| {
            let line = line.map_err(|error| format!("{shown}: {error}"))?;
            let parts = line
                .split_once("  ")
                .filter(|(sum, path)| sum.len() == 64 && is_path(path));
            parts
                .map(|(sum, path)| Line {
                    sum: sum.into(),
                    path: path.into(),
                })
                .ok_or_else(|| format!("{SUMS}: line {} is none of a backup", at + 1))
        }))
}

/// Whether this is the path of something that a backup holds.
fn is_path(path: &str) -> bool {
    matches!(path, store::FILE | ABOUT | config::FILE)
        || path.strip_prefix("avatars/").is_some_and(avatar::is_name)
}

/// What `backup.json` says.
///
/// # Errors
/// A sentence.
pub fn about(backup: &Path) -> Result<About, String> {
    let text = fs::read_to_string(backup.join(ABOUT))
        .map_err(|error| format!("{ABOUT}: cannot be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{ABOUT}: {error}"))
}

/// Reads a whole backup, and says what is wrong with it: nothing if it is sound.
///
/// # Errors
/// A sentence, if it is no backup, or the work was interrupted.
pub fn verify(backup: &Path, progress: &mut Progress) -> Result<Vec<String>, String> {
    let mut lines = lines(backup)?;
    let (all, mut faults) =
        about(backup).map_or_else(|fault| (0, vec![fault]), |about| (about.bytes, Vec::new()));
    let ahead = next(&mut lines, &mut faults);
    let mut check = Check {
        backup,
        lines,
        ahead,
        progress,
        all,
        done: 0,
        faults,
    };
    check.run()?;
    Ok(check.faults)
}

/// The next line that can be read.
fn next(
    lines: &mut impl Iterator<Item = Result<Line, String>>,
    faults: &mut Vec<String>,
) -> Option<Line> {
    lines.find_map(|line| line.map_err(|fault| faults.push(fault)).ok())
}

struct Check<'a, L> {
    backup: &'a Path,
    lines: L,
    /// The line that comes next.
    ahead: Option<Line>,
    progress: &'a mut Progress,
    all: u64,
    done: u64,
    faults: Vec<String>,
}

impl<L: Iterator<Item = Result<Line, String>>> Check<'_, L> {
    fn run(&mut self) -> Result<(), String> {
        self.expect(store::FILE)?;
        let mut result = Ok(());
        let opened = Store::open_immutable(self.backup);
        // A schema that can't be read is what the checks below say.
        let differences = opened.as_ref().map_or_else(
            |_| Vec::new(),
            |store| store.read(schema::differences).unwrap_or_default(),
        );
        if !differences.is_empty() {
            // A view may stand where a table should: nothing more is asked of such a database.
            self.faults.extend(
                differences
                    .iter()
                    .map(|one| format!("{}: {one}", store::FILE)),
            );
            return Ok(());
        }
        let opened = opened.map(|store| {
            let found = store
                .read(integrity::problems)
                .unwrap_or_else(|fault| vec![fault.cause().into()]);
            self.faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", store::FILE)),
            );
            let walked = store.read(|db| {
                users::each_avatar(db, &mut |name| {
                    result = self.expect(&picture(name));
                    result.is_ok()
                })
            });
            self.faults.extend(
                walked
                    .err()
                    .map(|fault| format!("{}: {}", store::FILE, fault.cause())),
            );
        });
        self.faults.extend(opened.err());
        result?;
        self.expect(ABOUT)?;
        while let Some(line) = self.take() {
            if line.path != config::FILE {
                self.faults.push(format!(
                    "{SUMS}: {} is too much: nothing in the backup asks for it",
                    line.path
                ));
            }
            self.file(&line)?;
        }
        Ok(())
    }

    /// Checks the file with this path, whose line should come next; lines before it are of no use
    /// to anybody.
    fn expect(&mut self, path: &str) -> Result<(), String> {
        while self.ahead.as_ref().is_some_and(|line| &*line.path < path) {
            let line = self.take().expect("it was looked at");
            self.faults.push(format!(
                "{SUMS}: {} is too much: nothing in the backup asks for it",
                line.path
            ));
            self.file(&line)?;
        }
        if self.ahead.as_ref().is_some_and(|line| line.path == path) {
            let line = self.take().expect("it was looked at");
            return self.file(&line);
        }
        self.faults.push(format!("{SUMS}: {path} is missing"));
        Ok(())
    }

    fn take(&mut self) -> Option<Line> {
        let next = next(&mut self.lines, &mut self.faults);
        std::mem::replace(&mut self.ahead, next)
    }

    /// Compares a file with its checksum, and a picture with its name.
    fn file(&mut self, line: &Line) -> Result<(), String> {
        let path = self.backup.join(&line.path);
        match read(&path, &line.path) {
            Ok((size, sum)) => {
                if sum != line.sum {
                    self.faults.push(format!(
                        "{}: is not what it was: its checksum is another",
                        line.path
                    ));
                }
                self.done += size;
            }
            Err(fault) => self.faults.push(format!("{}: {fault}", line.path)),
        }
        self.progress.show(self.done, self.all)
    }
}

/// Size and checksum of a file; a picture must be one. Only a picture is held in memory.
fn read(path: &Path, shown: &str) -> Result<(u64, String), String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "is not there".into(),
        _ => format!("cannot be read: {error}"),
    };
    let mut file = File::open(path).map_err(failed)?;
    let Some((_, name)) = shown.split_once('/') else {
        return crypto::copy_with_checksum(&mut file, &mut io::sink()).map_err(failed);
    };
    let bytes = fs::read(path).map_err(failed)?;
    let (size, sum) = crypto::copy_with_checksum(&mut &*bytes, &mut io::sink()).map_err(failed)?;
    avatar::check_bytes(name, &bytes)?;
    Ok((size, sum))
}

/// One sentence of many.
#[must_use]
pub fn sentence(faults: &[String]) -> String {
    match faults {
        [first, _, rest @ ..] => format!("{first}; and {} more", 1 + rest.len()),
        _ => faults.concat(),
    }
}
