//! `import-medusa`: imports the users of an existing Medusa in one transaction.

use crate::account::avatar::{self, SpooledUpload, StoreError};
use crate::clock;
use crate::command::{Args, Argument, Command, DATA, Failure, JSON, Opt, print};
use crate::commands::DataFolder;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::{count, json, plain};
use crate::config::Scheme;
use crate::contract;
use crate::contract::REGISTERED;
use crate::crypto;
use crate::store::medusa::{self, Candidate, Cell, ImportOptions, Imported, Medusa, Outcome, User};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

const AVATARS: Opt = Opt {
    name: "avatars",
    value: "FOLDER",
    doc: "the folder with the users' pictures",
};
const DRY_RUN: Opt = Opt {
    name: "dry-run",
    value: "",
    doc: "print what would be done, and change nothing",
};

/// The row of `import-medusa`.
pub const IMPORT_MEDUSA: Command = Command {
    name: "import-medusa",
    doc: "import the users of an existing Medusa",
    about: "FILE is Medusa's SQLite database with the table UserInfo. It is only read; Medusa can keep running. Names, display \
            names, emails, passwords, keys, times of registration and, with --avatars, pictures are imported. A picture is \
            cleaned as an upload is, and gets a new name. A user keeps the id unless accountd has already given it to a \
            user. Tokens are not imported: users log in again, with the same password.\n\
            A user is skipped, with the reason, if another user here has the name or email, if name, email or password is \
            missing, or if one of them is not valid. Users whose emails differ only in case are all imported and reported. A \
            second run imports only users who were not imported before. The import is one transaction: after an error, no \
            user was imported.\n\
            The passwords are MD5 digests. With \"password_hash\": \"argon2id\", accountd harden wraps them.",
    arguments: &[Argument {
        name: "FILE",
        doc: "Medusa's database, Medusa.db",
    }],
    options: &[DATA, AVATARS, DRY_RUN, JSON],
    exit: &[(0, "done; skipped users are reported")],
    examples: &[
        (
            "import-medusa Medusa.db --avatars static/avatars --data /srv/accounts",
            "import users and pictures",
        ),
        (
            "import-medusa Medusa.db --dry-run",
            "see which users would be skipped",
        ),
    ],
    run: |args: &Args| {
        let data = args.data();
        let failed = |error| Failure::new(1, error);
        let source = args.path("FILE").unwrap_or_default();
        let medusa = Medusa::open(&source).map_err(failed)?;
        super::require_owner(&data).map_err(failed)?;
        let mut folder = DataFolder::open(args)?;
        let avatars = args.path(AVATARS.name);
        let mut import = Import {
            avatars: avatars.as_deref(),
            dry: args.has(DRY_RUN.name),
            pictures: HashMap::new(),
            report: Report::default(),
            folder: &mut folder,
        };
        import
            .run(&medusa)
            .map_err(|error| failed(format!("{}: {error}", source.display())))?;
        let Import { report, dry, .. } = import;
        if args.has(JSON.name) {
            return print(&json(&report));
        }
        print(&report.text(dry, folder.config.password_hash))
    },
};

/// The longest key that is kept, in characters; accountd's own keys have 40.
const MAX_KEY_LENGTH: usize = 64;
/// The latest valid time of registration in Unix seconds: the end of the year 9999.
const MAX_TIME: i64 = 253_402_300_799;

/// The result of an import.
#[derive(Default, Serialize)]
struct Report {
    taken: u64,
    there_already: u64,
    pictures: u64,
    skipped: Vec<Remark>,
    /// Imported users who differ from what Medusa has.
    remarks: Vec<Remark>,
}

/// A note on one of Medusa's users.
#[derive(Serialize)]
struct Remark {
    id: String,
    name: String,
    what: String,
}

struct Import<'a> {
    folder: &'a mut DataFolder,
    avatars: Option<&'a Path>,
    dry: bool,
    /// By the number of Medusa's row: the name of the stored picture, or why it was not stored.
    pictures: HashMap<u64, Result<String, String>>,
    report: Report,
}

impl Import<'_> {
    fn run(&mut self, medusa: &Medusa) -> Result<(), String> {
        // Until the database refers to the pictures, a starting server must not remove them as
        // orphans.
        let lock = avatar::lock_exclusive(&self.folder.data)?;
        let result = self
            .pictures(medusa)
            .and_then(|largest| self.users(medusa, largest));
        drop(lock);
        // Pictures of users who were skipped after all; on a dry run or an error, all pictures.
        for name in self
            .pictures
            .values()
            .filter_map(|picture| picture.as_ref().ok())
        {
            // If this fails, the next start of the server removes the picture.
            let _ = avatar::remove(&self.folder.data, name);
        }
        result
    }

    /// Stores the pictures of users who will probably be imported, before the database is locked.
    /// Returns the largest id.
    fn pictures(&mut self, medusa: &Medusa) -> Result<i64, String> {
        let all = medusa.count().map_err(|error| error.to_string())?;
        let mut progress = Progress::of("pictures", "users");
        let (mut row, mut largest, mut result) = (0, 0, Ok(()));
        let walked = medusa.each(&mut |user| {
            result = self
                .picture(row, user, &mut largest)
                .and_then(|()| progress.show(row, all));
            row += 1;
            result.is_ok()
        });
        walked.map_err(|error| error.to_string())?;
        result.map(|()| largest)
    }

    fn picture(&mut self, row: u64, user: &User, largest: &mut i64) -> Result<(), String> {
        let Ok(Importable {
            candidate, picture, ..
        }) = convert(user, 0)
        else {
            return Ok(());
        };
        *largest = candidate
            .id
            .filter(|id| medusa::is_id(*id))
            .unwrap_or_default()
            .max(*largest);
        let (Some(folder), Some(name)) = (self.avatars, picture) else {
            return Ok(());
        };
        let known = self
            .folder
            .store
            .read(|db| medusa::find_conflict(db, &candidate.name, &candidate.email));
        if known
            .map_err(|fault| String::from(fault.cause()))?
            .is_none()
        {
            let stored = self.store(folder, &name)?;
            self.pictures.insert(row, stored);
        }
        Ok(())
    }

    /// Stores a picture and returns its new name, or as the inner error why it cannot be used.
    fn store(&self, folder: &Path, name: &str) -> Result<Result<String, String>, String> {
        // A path could lead out of the folder.
        if Path::new(name).file_name().is_none_or(|last| last != name) {
            return Ok(Err("its name is not a plain file name".into()));
        }
        let path = folder.join(name);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => "the file does not exist".to_string(),
            _ => error.to_string(),
        };
        let usable = path
            .symlink_metadata()
            .map_err(failed)
            .and_then(|metadata| match metadata.len() {
                _ if !metadata.is_file() => Err("it is not a regular file".into()),
                size if size > self.folder.config.max_avatar_bytes => {
                    Err(format!("it has {size} bytes, more than max_avatar_bytes"))
                }
                _ => File::open(&path).map_err(failed),
            });
        let file = match usable {
            Ok(file) => file,
            Err(why) => return Ok(Err(why)),
        };
        match avatar::store(
            &self.folder.data,
            SpooledUpload::from_file(&self.folder.data, file),
            clock::now(),
        ) {
            Ok(name) => Ok(Ok(name)),
            Err(StoreError::NotAPicture(why)) => Ok(Err(why.into())),
            Err(StoreError::Io(error)) => Err(format!("a picture could not be stored: {error}")),
        }
    }

    /// Imports the users in one transaction.
    fn users(&mut self, medusa: &Medusa, largest: i64) -> Result<(), String> {
        let all = medusa.count().map_err(|error| error.to_string())?;
        let mut progress = Progress::of("users", "users");
        let (now, pictures, report, without) = (
            clock::now(),
            &self.pictures,
            &mut self.report,
            self.avatars.is_none(),
        );
        let mut used = Vec::new();
        let decide = |row, user: &User| {
            let Importable { mut candidate, .. } = convert(user, now)?;
            if let Some(Ok(name)) = pictures.get(&row) {
                candidate.avatar.clone_from(name);
            }
            Ok(candidate)
        };
        let options = ImportOptions {
            medusa,
            largest_id: largest,
            commit: !self.dry,
            event: self.folder.event(),
        };
        medusa::import_all(
            &mut self.folder.store,
            &options,
            &decide,
            &mut |Outcome {
                      index: row,
                      user,
                      result,
                  }| {
                let mut remark = |what: String| report.remarks.push(Remark::new(user, what));
                match result {
                    Ok(Imported::Added { new_id, twin }) => {
                        report.taken += 1;
                        new_id
                            .into_iter()
                            .for_each(|id| remark(format!("got the new id {id}")));
                        twin.into_iter().for_each(|id| {
                        remark(format!(
                            "has an email that differs only in case from that of the user with id {id}"
                        ));
                    });
                        convert(user, now)
                            .into_iter()
                            .flat_map(|row| row.remarks)
                            .for_each(|what| remark(what.into()));
                        match (
                            pictures.get(&row),
                            convert(user, now).ok().and_then(|row| row.picture),
                        ) {
                            (Some(Ok(_)), _) => {
                                report.pictures += 1;
                                used.push(row);
                            }
                            (Some(Err(why)), name) => {
                                remark(format!(
                                    "got the built-in picture: {}: {why}",
                                    name.unwrap_or_default()
                                ));
                            }
                            (None, Some(_)) if without => {
                                remark("got the built-in picture: --avatars was not given".into())
                            }
                            (None, _) => {}
                        }
                    }
                    Ok(Imported::AlreadyPresent) => report.there_already += 1,
                    Ok(Imported::NameTaken) => {
                        report.skipped.push(Remark::new(
                            user,
                            "another user, with another email, has the name".into(),
                        ));
                    }
                    Ok(Imported::EmailTaken) => report
                        .skipped
                        .push(Remark::new(user, "another user has the email".into())),
                    Err(why) => report.skipped.push(Remark::new(user, why)),
                }
                progress.show(row, all)
            },
        )?;
        if !self.dry {
            used.iter().for_each(|row| drop(self.pictures.remove(row)));
        }
        Ok(())
    }
}

/// A row of Medusa that can be imported.
struct Importable {
    candidate: Candidate,
    /// The file name of the picture in Medusa.
    picture: Option<String>,
    /// Differences from what Medusa has.
    remarks: Vec<&'static str>,
}

/// Converts a row of Medusa, or returns why it cannot be imported.
fn convert(user: &User, now: i64) -> Result<Importable, String> {
    let name = field("name", &user.name, "username")?;
    let email = field("email", &user.email, "email")?;
    let password = field("password", &user.passwd, "passwd")?.to_ascii_lowercase();
    if password.len() != 32 || !password.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the password is not an MD5 digest".into());
    }
    let mut remarks = Vec::new();
    let show_name = field("display name", &user.show_name, "show_name").unwrap_or_else(|_| {
        remarks.push("got the name as display name: the old one is missing or not valid");
        name
    });
    let key = match &user.key {
        Cell::Text(key) if !key.is_empty() && key.chars().count() <= MAX_KEY_LENGTH => key.clone(),
        _ => {
            remarks.push("got a new key: the old one is missing or not valid");
            crypto::random_alphanumeric(contract::KEY_LENGTH)
        }
    };
    let created_at = number(&user.creation_time)
        .filter(|time| (1..=MAX_TIME).contains(time))
        .unwrap_or_else(|| {
            remarks.push("got today as time of registration: the old one is missing or not valid");
            now
        });
    let picture = match &user.avatar {
        Cell::Text(name) if !name.is_empty() && name != contract::DEFAULT_AVATAR => {
            Some(name.clone())
        }
        _ => None,
    };
    let candidate = Candidate {
        id: number(&user.id),
        name: name.into(),
        show_name: show_name.into(),
        email: email.into(),
        password,
        key,
        avatar: contract::DEFAULT_AVATAR.into(),
        created_at,
    };
    Ok(Importable {
        candidate,
        picture,
        remarks,
    })
}

/// The text of a cell, if a new user could have it in the field `name`.
fn field<'a>(shown: &str, cell: &'a Cell, name: &str) -> Result<&'a str, String> {
    let Cell::Text(text) = cell else {
        let why = if *cell == Cell::Null {
            "is missing"
        } else {
            "is not text, or is far too long"
        };
        return Err(format!("the {shown} {why}"));
    };
    let limit = REGISTERED
        .fields
        .iter()
        .find(|field| field.name == name)
        .map_or(usize::MAX, |field| field.limit);
    match text.chars().count() {
        _ if text.bytes().all(|byte| matches!(byte, b'\r' | b'\n')) => {
            Err(format!("the {shown} is empty"))
        }
        count if count > limit => Err(format!(
            "the {shown} has {count} characters, more than {limit}"
        )),
        _ => Ok(text),
    }
}

fn number(cell: &Cell) -> Option<i64> {
    if let Cell::Text(text) = cell {
        text.trim().parse().ok()
    } else {
        None
    }
}

impl Remark {
    fn new(user: &User, what: String) -> Remark {
        let text = |cell: &Cell| {
            if let Cell::Text(text) = cell {
                text.chars().take(contract::USERNAME.limit).collect()
            } else {
                String::new()
            }
        };
        Remark {
            id: text(&user.id),
            name: text(&user.name),
            what,
        }
    }
}

impl Report {
    fn text(&self, dry: bool, scheme: Scheme) -> String {
        let Report {
            taken,
            there_already,
            pictures,
            skipped,
            remarks,
        } = self;
        let would = if dry { "would be " } else { "" };
        let mut text = format!(
            "{} {would}imported, {pictures} with a picture; {there_already} already here; {} skipped\n",
            count(*taken, "user"),
            skipped.len(),
        );
        for (verb, list) in [("skipped: ", skipped), ("", remarks)] {
            for Remark { id, name, what } in list {
                text += &format!(
                    "{verb}{} (id {}): {}\n",
                    plain(name),
                    plain(id),
                    plain(what)
                );
            }
        }
        if scheme == Scheme::Argon2id && *taken > 0 && !dry {
            text += "their passwords stay MD5 digests until they log in; accountd harden wraps them now\n";
        }
        text
    }
}
