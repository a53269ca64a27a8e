//! The command `user reset-link`: a key with which one user can set a forgotten password.

use super::{USER, find_account};
use crate::clock;
use crate::command::{Args, Command, DATA, Failure, ID, JSON, Opt, print};
use crate::commands::link::{self, Link};
use crate::commands::terminal::table::{self, plain, time};
use crate::commands::{DataFolder, record};
use crate::store::reset_links;
use crate::store::users::User;
use serde::Serialize;

const EXPIRES: Opt =
    link::expires_option("how long the link is valid, such as 90min, 12h or 7d (default: 1h)");

/// `user reset-link`
pub const RESET_LINK: Command = Command {
    name: "user reset-link",
    doc: "create a link with which a user can set a forgotten password",
    about: "Prints a key and a link to the page that carries it. With the key the user sets a new password in place of the \
            reset key, once, also while the reset of passwords is switched off; the page asks for the email too. That ends \
            all sessions of the user. The key is shown only now: the database keeps its digest.\n\
            A new link replaces the user's earlier one. A link also ends when the password changes in another way and when \
            the user is disabled.\n\
            The link begins with the setting public_url or, without it, with the address that the server listens on. No \
            server needs to run. The audit log names a link by its number.",
    arguments: &[USER],
    options: &[EXPIRES, ID, JSON, DATA],
    exit: &[],
    examples: &[
        (
            "user reset-link rei",
            "let rei set a new password within the hour",
        ),
        (
            "user reset-link rei --expires 3d",
            "the same within three days",
        ),
    ],
    run: create,
};

/// A new reset link in JSON.
#[derive(Serialize)]
struct New<'a> {
    id: i64,
    user_id: i64,
    name: &'a str,
    #[serde(flatten)]
    link: &'a Link,
    expires_at: i64,
}

fn create(args: &Args) -> Result<(), Failure> {
    let expiry = link::expiry(args, "1h")?;
    let mut folder = DataFolder::open(args)?;
    let account = find_account(&folder, args)?;
    let User {
        id: user_id, name, ..
    } = account.user;
    if account.disabled_at.is_some() {
        let sentence = format!(
            "{} (id {user_id}) is disabled; accountd user enable enables the user",
            plain(&name)
        );
        return Err(Failure::new(1, sentence));
    }
    let link = Link::new(&folder.config, "reset");
    let expires_at = clock::now() + expiry;
    let id = folder.change(|db, event| {
        let id = reset_links::add(db, user_id, &link.digest(), event.at, expires_at)?;
        record(db, event, &id.to_string(), Some(user_id))?;
        Ok(id)
    })?;
    link::warn_without_public_url(&folder.config);
    if args.has(JSON.name) {
        return print(&table::json(&New {
            id,
            user_id,
            name: &name,
            link: &link,
            expires_at,
        }));
    }
    print(&format!(
        "{} (id {user_id}): reset link {id}, until {}\n{}",
        plain(&name),
        time(expires_at),
        link.lines()
    ))
}
