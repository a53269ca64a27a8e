//! The command `user add`: an account as if it had been registered.

use super::{fit, new_password, report};
use crate::account::avatar;
use crate::command::{Args, Argument, Command, DATA, Failure, JSON, Opt};
use crate::commands::Folder;
use crate::contract;
use crate::crypto;
use crate::store::audit;
use crate::store::users::{self, New};

const NAME: Argument = Argument {
    name: "NAME",
    doc: "the name to log in with, at most 64 characters",
};
const EMAIL: Argument = Argument {
    name: "EMAIL",
    doc: "the email, at most 254 characters",
};
const SHOW_NAME: Opt = Opt {
    name: "show-name",
    value: "TEXT",
    doc: "the display name, at most 64 characters (default: NAME)",
};

/// `user add`
pub const ADD: Command = Command {
    name: "user add",
    doc: "add a user",
    about: "As if the user had registered, but without a captcha, a registration key, or a server, and also while \
            registration is switched off. Asks for the password, twice; where standard input is no terminal, the password \
            is its one line.",
    arguments: &[NAME, EMAIL],
    options: &[SHOW_NAME, JSON, DATA],
    exit: &[],
    examples: &[
        (
            "user add rei rei@example.org --show-name 'Rei Ayanami'",
            "ask for a password and add rei",
        ),
        (
            "user add rei rei@example.org < password.txt",
            "take the password from a file",
        ),
    ],
    run: add,
};

fn add(args: &Args) -> Result<(), Failure> {
    let mut folder = Folder::open(args)?;
    let (name, email) = (args.argument(NAME.name)?, args.argument(EMAIL.name)?);
    let show_name = args.text(SHOW_NAME.name)?.unwrap_or_else(|| name.clone());
    fit("NAME", "username", &name)?;
    fit("EMAIL", "email", &email)?;
    fit("the display name", "show_name", &show_name)?;
    let user = New {
        name: &name,
        show_name: &show_name,
        email: &email,
        password: &new_password(&folder, &name)?,
        key: &crypto::random_alphanumeric(contract::KEY_LENGTH),
        avatar: avatar::DEFAULT,
    };
    let added = folder.change(|db, event| {
        let added = users::add(db, &user, event.at)?;
        added
            .map(|id| audit::done(db, event, Some(id)).map(|()| id))
            .transpose()
    })?;
    let id = added.ok_or_else(|| {
        Failure::new(
            1,
            "a user with this name or this email is there already".into(),
        )
    })?;
    report(&folder, args, id, "added")
}
