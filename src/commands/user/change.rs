//! The commands `user set-password`, `rename`, `disable`, `enable` and `logout`.

use super::{USER, check_name, find_account, new_password, report};
use crate::clock;
use crate::command::{Args, Argument, Command, DATA, Failure, ID, JSON};
use crate::commands::{Change, DataFolder};
use crate::store::users::User;
use crate::store::{accounts, audit, sessions};

pub(super) const NEW_NAME: Argument = Argument {
    name: "NEW_NAME",
    doc: "the new name, at most 64 characters",
};

/// `user set-password`
pub const SET_PASSWORD: Command = Command {
    name: "user set-password",
    doc: "set a user's password and end all of their sessions",
    about: "Asks for the password twice on a terminal, without showing it. Otherwise the password is the one line of \
            standard input. A disabled user stays disabled.",
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
        let mut folder = DataFolder::open(args)?;
        let User { id, name, .. } = find_account(&folder, args)?.user;
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
    doc: "change the name that a user logs in with",
    about: "Sessions, password and display name stay the same.",
    arguments: &[USER, NEW_NAME],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[(
        "user rename rei ayanami",
        "from now on, rei logs in as ayanami",
    )],
    run: |args| {
        let mut folder = DataFolder::open(args)?;
        let id = find_account(&folder, args)?.user.id;
        let name = args.argument(NEW_NAME.name)?;
        check_name(&folder, NEW_NAME.name, &name)?;
        let renamed = folder.change(|db, event| {
            let renamed = accounts::rename(db, id, &name)?;
            if renamed {
                audit::done(db, event, Some(id))?;
            }
            Ok(renamed)
        })?;
        match renamed {
            true => report(&folder, args, id, "renamed"),
            false => Err(Failure::new(1, "another user has this name".into())),
        }
    },
};

/// `user disable`
pub const DISABLE: Command = Command {
    name: "user disable",
    doc: "disable a user and end all of their sessions",
    about: "Every interface answers as if the user did not exist: a log-in like a wrong password, a token like an unknown \
            one. Nothing is deleted; name and email stay taken. user enable undoes it.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[("user disable rei", "end rei's sessions and refuse new ones")],
    run: |args| {
        apply(args, "disabled, every session has ended", |db, id| {
            accounts::disable(db, id, clock::now())
        })
    },
};

/// `user enable`
pub const ENABLE: Command = Command {
    name: "user enable",
    doc: "let a disabled user log in again",
    about: "The password is the same as before. Earlier sessions stay ended.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[("user enable rei", "rei can log in again")],
    run: |args| apply(args, "enabled", accounts::enable),
};

/// `user logout`
pub const LOGOUT: Command = Command {
    name: "user logout",
    doc: "end all of a user's sessions",
    about: "The user can log in again at once.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[(
        "user logout rei",
        "from now on, every token of rei is unknown",
    )],
    run: |args| apply(args, "every session has ended", sessions::end_all),
};

/// Applies a change to the user that the command line names.
fn apply(args: &Args, sentence: &str, change: Change) -> Result<(), Failure> {
    let mut folder = DataFolder::open(args)?;
    let id = find_account(&folder, args)?.user.id;
    folder.change(|db, event| {
        audit::done(db, event, Some(id))?;
        change(db, id)
    })?;
    report(&folder, args, id, sentence)
}
