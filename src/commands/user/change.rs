//! The commands `user set-password`, `rename`, `disable`, `enable` and `logout`.

use super::{USER, fit, named, new_password, report};
use crate::clock;
use crate::command::{Args, Argument, Command, DATA, Failure, ID, JSON};
use crate::commands::{Change, Folder};
use crate::store::users::User;
use crate::store::{accounts, audit, sessions};

const NEW_NAME: Argument = Argument {
    name: "NEW_NAME",
    doc: "the name that takes its place, at most 64 characters",
};

/// `user set-password`
pub const SET_PASSWORD: Command = Command {
    name: "user set-password",
    doc: "set a user's password and end all sessions",
    about: "Asks for the password, twice; where standard input is no terminal, the password is its one line. A user who is \
            disabled stays so.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[
        ("user set-password rei", "ask for a password and set it"),
        (
            "user set-password rei < password.txt",
            "take the password from a file",
        ),
    ],
    run: |args| {
        let mut folder = Folder::open(args)?;
        let User { id, name, .. } = named(&folder, args)?.user;
        let password = new_password(&folder, &name)?;
        folder.change(|db, event| {
            audit::done(db, event, Some(id))?;
            accounts::set_password(db, id, &password)
        })?;
        report(
            &folder,
            args,
            id,
            "the password is set, every session has ended",
        )
    },
};

/// `user rename`
pub const RENAME: Command = Command {
    name: "user rename",
    doc: "give a user another name to log in with",
    about: "Sessions, password and display name stay.",
    arguments: &[USER, NEW_NAME],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[(
        "user rename rei ayanami",
        "from now on rei logs in as ayanami",
    )],
    run: |args| {
        let mut folder = Folder::open(args)?;
        let id = named(&folder, args)?.user.id;
        let name = args.argument(NEW_NAME.name)?;
        fit(NEW_NAME.name, "username", &name)?;
        let renamed = folder.change(|db, event| {
            let renamed = accounts::rename(db, id, &name)?;
            if renamed {
                audit::done(db, event, Some(id))?;
            }
            Ok(renamed)
        })?;
        match renamed {
            true => report(&folder, args, id, "renamed"),
            false => Err(Failure::new(1, "another user has that name".into())),
        }
    },
};

/// `user disable`
pub const DISABLE: Command = Command {
    name: "user disable",
    doc: "end a user's sessions and let nobody in until user enable",
    about: "To every interface the user is nobody: a log-in is answered like a wrong password, a token like an unknown one. \
            Nothing is deleted; name and email stay taken.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[("user disable rei", "rei is out at once")],
    run: |args| {
        switch(args, "disabled, every session has ended", |db, id| {
            accounts::disable(db, id, clock::now())
        })
    },
};

/// `user enable`
pub const ENABLE: Command = Command {
    name: "user enable",
    doc: "let a user in again who was disabled",
    about: "With the same password; sessions from before have ended.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[("user enable rei", "rei can log in again")],
    run: |args| switch(args, "enabled", accounts::enable),
};

/// `user logout`
pub const LOGOUT: Command = Command {
    name: "user logout",
    doc: "end all sessions of a user",
    about: "The user can log in again at once.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[(
        "user logout rei",
        "every token of rei is unknown from now on",
    )],
    run: |args| switch(args, "every session has ended", sessions::end_all),
};

/// Changes a user whom the command line names.
fn switch(args: &Args, sentence: &str, change: Change) -> Result<(), Failure> {
    let mut folder = Folder::open(args)?;
    let id = named(&folder, args)?.user.id;
    folder.change(|db, event| {
        audit::done(db, event, Some(id))?;
        change(db, id)
    })?;
    report(&folder, args, id, sentence)
}
