//! The command `user add`: adds an account as a registration would.

use super::{check_field, check_name, new_password, report};
use crate::command::{Args, Argument, Command, DATA, Failure, JSON, Opt};
use crate::commands::DataFolder;
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
    doc: "the email address, at most 254 characters",
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
    about: "Works like a registration, but needs no captcha, registration key or running server, and also works while \
            registration is switched off.\n\
            Asks for the password twice on a terminal, without showing it. Otherwise the password is the one line of \
            standard input.",
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
    let mut folder = DataFolder::open(args)?;
    let (name, email) = (args.argument(NAME.name)?, args.argument(EMAIL.name)?);
    let show_name = args.text(SHOW_NAME.name)?.unwrap_or_else(|| name.clone());
    check_name(&folder, NAME.name, &name)?;
    check_field("EMAIL", "email", &email)?;
    check_field("the display name", "show_name", &show_name)?;
    let user = New {
        name: &name,
        show_name: &show_name,
        email: &email,
        password: &new_password(&folder, &name)?,
        key: &crypto::random_alphanumeric(contract::KEY_LENGTH),
        avatar: contract::DEFAULT_AVATAR,
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
            "a user with this name or this email already exists".into(),
        )
    })?;
    report(&folder, args, id, "added")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::user::change::NEW_NAME;
    use crate::contract::{Field, SHOW_NAME as SHOW_NAME_FIELD, USERNAME};

    #[test]
    fn the_help_states_the_limits_of_the_contract() {
        let fields: [(&str, Field); 4] = [
            (NAME.doc, USERNAME),
            (NEW_NAME.doc, USERNAME),
            (EMAIL.doc, contract::EMAIL),
            (SHOW_NAME.doc, SHOW_NAME_FIELD),
        ];
        for (doc, field) in fields {
            let limit = format!("at most {} characters", field.limit);
            assert!(doc.contains(&limit), "{doc}");
        }
    }
}
