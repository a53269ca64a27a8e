//! `import-medusa`: the users of an existing Medusa, taken into the data folder in one transaction.

use crate::account::avatar::{self, SpooledUpload, StoreError};
use crate::clock;
use crate::command::{Args, Argument, Command, DATA, Failure, JSON, Opt, print};
use crate::commands::Folder;
use crate::commands::terminal::progress::Progress;
use crate::commands::terminal::table::{count, json, plain};
use crate::config::Scheme;
use crate::contract;
use crate::contract::REGISTERED;
use crate::crypto;
use crate::store::medusa::{self, Candidate, Cell, Medusa, Move, Outcome, Taken, User};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

const AVATARS: Opt = Opt {
    name: "avatars",
    value: "FOLDER",
    doc: "where the pictures are that the users there have",
};
const DRY_RUN: Opt = Opt {
    name: "dry-run",
    value: "",
    doc: "say what would be done, and change nothing",
};

/// The row of `import-medusa`.
pub const IMPORT_MEDUSA: Command = Command {
    name: "import-medusa",
    doc: "take over the users of an existing Medusa",
    about: "FILE is its SQLite database with the table UserInfo. It is read and never written, even while Medusa works. \
            Names, display names, emails, passwords, keys, the time of registration and, with --avatars, the pictures are \
            taken; a picture is cleaned as an upload is and gets a new name. An id is kept where accountd never gave it to \
            anybody. Tokens are not taken: everybody logs in again, with the password as it was.\n\
            Users whose name or email somebody has here, who have no name, email or password, or whose values do not fit \
            are skipped, each with its reason; those whose emails differ by upper and lower case alone are all taken, and \
            named. A second run takes those who were not there before. All of it is one transaction: after an error, nobody \
            was taken.\n\
            The passwords are MD5 digests. With \"password_hash\": \"argon2id\", accountd harden wraps them.",
    arguments: &[Argument {
        name: "FILE",
        doc: "Medusa's database, Medusa.db",
    }],
    options: &[DATA, AVATARS, DRY_RUN, JSON],
    exit: &[(0, "done; those who were skipped are named")],
    examples: &[
        (
            "import-medusa Medusa.db --avatars static/avatars --data /srv/accounts",
            "take over users and pictures",
        ),
        (
            "import-medusa Medusa.db --dry-run",
            "see first who would be skipped",
        ),
    ],
    run: |args: &Args| {
        let data = args.data();
        let failed = |error| Failure::new(1, error);
        let source = args.path("FILE").unwrap_or_default();
        let medusa = Medusa::open(&source).map_err(failed)?;
        super::as_owner(&data).map_err(failed)?;
        let mut folder = Folder::open(args)?;
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

/// The longest key that is kept, in characters; accountd's own have 40.
const KEY: usize = 64;
/// The latest time of registration that is believed, in Unix seconds: the year 9999.
const LATEST: i64 = 253_402_300_799;

/// What came of it.
#[derive(Default, Serialize)]
struct Report {
    taken: u64,
    there_already: u64,
    pictures: u64,
    skipped: Vec<Remark>,
    /// Users who were taken, but not with everything.
    remarks: Vec<Remark>,
}

/// Something about a user of Medusa.
#[derive(Serialize)]
struct Remark {
    id: String,
    name: String,
    what: String,
}

struct Import<'a> {
    folder: &'a mut Folder,
    avatars: Option<&'a Path>,
    dry: bool,
    /// For the row at this place: the name of its picture here, or why it has none.
    pictures: HashMap<u64, Result<String, String>>,
    report: Report,
}

impl Import<'_> {
    fn run(&mut self, medusa: &Medusa) -> Result<(), String> {
        // Until the database names them, no start of a server may take them for left behind.
        let held = avatar::lock_exclusive(&self.folder.data)?;
        let result = self
            .pictures(medusa)
            .and_then(|largest| self.users(medusa, largest));
        drop(held);
        // Of users who were skipped after all, or of all of them.
        for name in self
            .pictures
            .values()
            .filter_map(|picture| picture.as_ref().ok())
        {
            // What is left is removed by the next start of a server.
            let _ = avatar::remove(&self.folder.data, name);
        }
        result
    }

    /// Stores the pictures of those who will probably be taken, before anything is locked; says the
    /// largest id.
    fn pictures(&mut self, medusa: &Medusa) -> Result<i64, String> {
        let all = medusa.count().map_err(|error| error.to_string())?;
        let mut progress = Progress::of("pictures", "users");
        let (mut place, mut largest, mut result) = (0, 0, Ok(()));
        let walked = medusa.each(&mut |user| {
            result = self
                .picture(place, user, &mut largest)
                .and_then(|()| progress.show(place, all));
            place += 1;
            result.is_ok()
        });
        walked.map_err(|error| error.to_string())?;
        result.map(|()| largest)
    }

    fn picture(&mut self, place: u64, user: &User, largest: &mut i64) -> Result<(), String> {
        let Ok(Judged {
            candidate, picture, ..
        }) = judge(user, 0)
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
        let there = self
            .folder
            .store
            .read(|db| medusa::is_there(db, &candidate.name, &candidate.email));
        if there
            .map_err(|fault| String::from(fault.cause()))?
            .is_none()
        {
            let stored = self.store(folder, &name)?;
            self.pictures.insert(place, stored);
        }
        Ok(())
    }

    /// The name of a picture here; inside, why there is none.
    fn store(&self, folder: &Path, name: &str) -> Result<Result<String, String>, String> {
        // A name, and no way out of the folder.
        if Path::new(name).file_name().is_none_or(|last| last != name) {
            return Ok(Err("it is no name of a file".into()));
        }
        let path = folder.join(name);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => "it is not there".to_string(),
            _ => error.to_string(),
        };
        let usable = path
            .symlink_metadata()
            .map_err(failed)
            .and_then(|metadata| match metadata.len() {
                _ if !metadata.is_file() => Err("it is no file".into()),
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

    /// Takes the users, in one transaction.
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
        let decide = |place, user: &User| {
            let Judged { mut candidate, .. } = judge(user, now)?;
            if let Some(Ok(name)) = pictures.get(&place) {
                candidate.avatar.clone_from(name);
            }
            Ok(candidate)
        };
        let moving = Move {
            medusa,
            largest_id: largest,
            keep: !self.dry,
            event: self.folder.event(),
        };
        medusa::take_all(
            &mut self.folder.store,
            &moving,
            &decide,
            &mut |Outcome { place, user, taken }| {
                let mut remark = |what: String| report.remarks.push(Remark::new(user, what));
                match taken {
                    Ok(Taken::Added { new_id, twin }) => {
                        report.taken += 1;
                        new_id
                            .into_iter()
                            .for_each(|id| remark(format!("has the id {id} here")));
                        twin.into_iter().for_each(|id| {
                        remark(format!(
                            "has the email of the user with the id {id} here, but for upper and lower case"
                        ));
                    });
                        judge(user, now)
                            .into_iter()
                            .flat_map(|judged| judged.remarks)
                            .for_each(|what| remark(what.into()));
                        match (
                            pictures.get(&place),
                            judge(user, now).ok().and_then(|judged| judged.picture),
                        ) {
                            (Some(Ok(_)), _) => {
                                report.pictures += 1;
                                used.push(place);
                            }
                            (Some(Err(why)), name) => {
                                remark(format!(
                                    "has the built-in picture: {}: {why}",
                                    name.unwrap_or_default()
                                ));
                            }
                            (None, Some(_)) if without => {
                                remark("has the built-in picture: --avatars was not args".into())
                            }
                            (None, _) => {}
                        }
                    }
                    Ok(Taken::There) => report.there_already += 1,
                    Ok(Taken::NameTaken) => {
                        report.skipped.push(Remark::new(
                            user,
                            "its name is another user's, with another email".into(),
                        ));
                    }
                    Ok(Taken::EmailTaken) => report
                        .skipped
                        .push(Remark::new(user, "its email is another user's".into())),
                    Err(why) => report.skipped.push(Remark::new(user, why)),
                }
                progress.show(place, all)
            },
        )?;
        if !self.dry {
            used.iter()
                .for_each(|place| drop(self.pictures.remove(place)));
        }
        Ok(())
    }
}

/// A row that can be taken.
struct Judged {
    candidate: Candidate,
    /// The name of the picture there.
    picture: Option<String>,
    /// What is not as it was there.
    remarks: Vec<&'static str>,
}

/// Whether a row can be taken, or why not.
fn judge(user: &User, now: i64) -> Result<Judged, String> {
    let name = field("name", &user.name, "username")?;
    let email = field("email", &user.email, "email")?;
    let password = field("password", &user.passwd, "passwd")?.to_ascii_lowercase();
    if password.len() != 32 || !password.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("its password is no MD5 digest".into());
    }
    let mut remarks = Vec::new();
    let show_name = field("display name", &user.show_name, "show_name").unwrap_or_else(|_| {
        remarks.push("is shown by the name, having no display name that fits");
        name
    });
    let key = match &user.key {
        Cell::Text(key) if !key.is_empty() && key.chars().count() <= KEY => key.clone(),
        _ => {
            remarks.push("has a fresh key, having none that fits");
            crypto::random_alphanumeric(contract::KEY_LENGTH)
        }
    };
    let created_at = number(&user.creation_time)
        .filter(|time| (1..=LATEST).contains(time))
        .unwrap_or_else(|| {
            remarks.push("is registered as of today, having no time of registration that fits");
            now
        });
    let picture = match &user.avatar {
        Cell::Text(name) if !name.is_empty() && name != avatar::DEFAULT => Some(name.clone()),
        _ => None,
    };
    let candidate = Candidate {
        id: number(&user.id),
        name: name.into(),
        show_name: show_name.into(),
        email: email.into(),
        password,
        key,
        avatar: avatar::DEFAULT.into(),
        created_at,
    };
    Ok(Judged {
        candidate,
        picture,
        remarks,
    })
}

/// A text that is there and not longer than a new user's may be.
fn field<'a>(shown: &str, cell: &'a Cell, name: &str) -> Result<&'a str, String> {
    let Cell::Text(text) = cell else {
        let why = if *cell == Cell::Nothing {
            "is not there"
        } else {
            "is no text that fits"
        };
        return Err(format!("its {shown} {why}"));
    };
    let most = REGISTERED
        .fields
        .iter()
        .find(|field| field.name == name)
        .map_or(usize::MAX, |field| field.limit);
    match text.chars().count() {
        _ if text.bytes().all(|byte| matches!(byte, b'\r' | b'\n')) => {
            Err(format!("its {shown} is empty"))
        }
        count if count > most => Err(format!(
            "its {shown} has {count} characters, more than {most}"
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
                text.chars().take(64).collect()
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
            "{} {would}taken, {pictures} with a picture; {there_already} there already; {} skipped\n",
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
            text += "their passwords are MD5 digests until they log in; accountd harden wraps them now\n";
        }
        text
    }
}
