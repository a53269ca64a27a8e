//! The commands `user …`: accounts, seen and changed by whoever looks after them.

mod add;
mod change;
mod list;
mod remove;

pub use add::ADD;
pub use change::{DISABLE, ENABLE, LOGOUT, RENAME, SET_PASSWORD};
pub use list::{LIST, SHOW};
pub use remove::DELETE;

use super::{Folder, password, text};
use crate::cli::{Argument, Given, JSON, print, usage};
use crate::clock;
use crate::contract::REGISTERED;
use crate::failure::Failure;
use crate::form;
use crate::rules;
use crate::secret::Scheme;
use crate::store::accounts::{self, Account, Who};
use serde::Serialize;

const USER: Argument = Argument { name: "USER", doc: "the user's name, or id:N for the one with this id" };

/// An account as programs read it. What opens it, password and key, is left out.
#[derive(Serialize)]
struct View<'a> {
    id: i64,
    name: &'a str,
    show_name: &'a str,
    email: &'a str,
    avatar: &'a str,
    password_hash: &'static str,
    created_at: i64,
    disabled_at: Option<i64>,
    sessions: i64,
    sessions_end_at: Option<i64>,
}

fn json(account: &Account) -> String {
    let Account { user, password, created_at, disabled_at, sessions, sessions_end_at } = account;
    let view = View {
        id: user.id,
        name: &user.name,
        show_name: &user.show_name,
        email: &user.email,
        avatar: &user.avatar,
        password_hash: Scheme::of(password).name(),
        created_at: *created_at,
        disabled_at: *disabled_at,
        sessions: *sessions,
        sessions_end_at: *sessions_end_at,
    };
    serde_json::to_string(&view).expect("texts and numbers serialise") + "\n"
}

/// Whom a text names.
pub(super) fn who(text: String) -> Result<Who, Failure> {
    match text.strip_prefix("id:") {
        None => Ok(Who::Name(text)),
        Some(id) => id.parse().map(Who::Id).map_err(|_| usage("user", format!("id:{id}: an id is a number"))),
    }
}

/// The account that the command line names.
fn named(folder: &Folder, given: &Given) -> Result<Account, Failure> {
    let name = given.argument(USER.name)?;
    let shown = text::plain(&name);
    let who = who(name)?;
    let found = folder.read(|db| accounts::find(db, &who, clock::now()))?;
    found.ok_or_else(|| Failure::new(1, format!("there is no user {shown}; accountd user list shows all")))
}

/// Says what has become of an account: with `--json` the account as it is now, otherwise a sentence.
fn report(folder: &Folder, given: &Given, id: i64, sentence: &str) -> Result<(), Failure> {
    let account = folder.read(|db| accounts::find(db, &Who::Id(id), clock::now()))?;
    match account {
        Some(account) if given.has(JSON.name) => print(&json(&account)),
        Some(account) => print(&format!("{} (id {id}): {sentence}\n", text::plain(&account.user.name))),
        // Somebody has deleted it meanwhile.
        None => Ok(()),
    }
}

/// Asks that a text would pass as this field of a registration.
fn fit(shown: &str, field: &str, text: &str) -> Result<(), Failure> {
    let limit = REGISTERED.fields.iter().find(|one| one.name == field).expect("a field of the contract").limit;
    if form::is_absent(text) {
        return Err(Failure::new(1, format!("{shown} is empty")));
    }
    if text.chars().count() > limit {
        return Err(Failure::new(1, format!("{shown} has more than {limit} characters")));
    }
    Ok(())
}

/// Asks for a new password of a user with this name, and says what is to be stored of it.
fn new_password(folder: &Folder, name: &str) -> Result<String, Failure> {
    let password = password::ask()?;
    fit("the password", "passwd", &password)?;
    rules::allow(&folder.config, &password, name)
        .map_err(|why| Failure::new(1, format!("the password {why}; nothing has changed")))?;
    Ok(folder.config.password_hash.hash(&password))
}
