//! The commands `user …`: accounts, seen and changed by whoever looks after them.

mod add;
mod change;
mod list;
mod look_alikes;
mod remove;

pub use add::ADD;
pub use change::{DISABLE, ENABLE, LOGOUT, RENAME, SET_PASSWORD};
pub use list::{LIST, SHOW};
pub use remove::DELETE;

use super::Folder;
use super::terminal::{prompt, table};
use crate::account::policy;
use crate::clock;
use crate::command::{Args, Argument, Failure, ID, JSON, print, usage};
use crate::config::Scheme;
use crate::contract::{REGISTERED, is_absent};
use crate::store::accounts::{self, Account, Who};
use serde::Serialize;

const USER: Argument = Argument {
    name: "USER",
    doc: "the user's name, or id:N for the one with this id; --id N can stand in its place",
};

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
    /// In a list, ids of users whose names look like this one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    looks_like: Option<&'a [i64]>,
}

fn json(account: &Account, looks_like: Option<&[i64]>) -> String {
    let Account {
        user,
        password,
        created_at,
        disabled_at,
        sessions,
        sessions_end_at,
    } = account;
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
        looks_like,
    };
    table::json(&view)
}

/// The user that the command line names: with `--id`, or at `place`, an argument or an option, by
/// name or as `id:N`.
///
/// # Errors
/// If an id is not a number, or `id:N` is one user's id and another one's name.
pub(super) fn who(folder: &Folder, args: &Args, place: &str) -> Result<Option<Who>, Failure> {
    let not_a_number = |shown: &str| usage(args.command(), format!("{shown}: an id is a number"));
    let text = args.text(place)?;
    match args.text(ID.name)? {
        Some(_) if text.is_some() => {
            return Err(usage(
                args.command(),
                format!("--id and --{place} exclude each other"),
            ));
        }
        Some(id) => {
            return id
                .parse()
                .map(|id| Some(Who::Id(id)))
                .map_err(|_| not_a_number(&format!("--id {id}")));
        }
        None => {}
    }
    let Some(text) = text else { return Ok(None) };
    let Some(number) = text.strip_prefix("id:") else {
        return Ok(Some(Who::Name(text)));
    };
    let find = |who: Who| folder.read(|db| accounts::find(db, &who, clock::now()));
    let Some(named) = find(Who::Name(text.clone()))? else {
        return number
            .parse()
            .map(|id| Some(Who::Id(id)))
            .map_err(|_| not_a_number(&text));
    };
    let other = number.parse().map_or(Ok(None), |id| find(Who::Id(id)))?;
    match other {
        Some(other) if other.user.id != named.user.id => {
            let ids = [other.user.id, named.user.id];
            let [first, second] = [other, named]
                .map(|one| format!("{} (id {})", table::plain(&one.user.name), one.user.id));
            let sentence = format!(
                "{text} fits two users, {first} and {second}: name one with --id {} or --id {}",
                ids[0], ids[1]
            );
            Err(Failure::new(2, sentence))
        }
        _ => Ok(Some(Who::Id(named.user.id))),
    }
}

/// The account that the command line names.
fn named(folder: &Folder, args: &Args) -> Result<Account, Failure> {
    let who =
        who(folder, args, USER.name)?.expect("an argument is there, or what stands in its place");
    let found = folder.read(|db| accounts::find(db, &who, clock::now()))?;
    let shown = match &who {
        Who::Name(name) => table::plain(name),
        Who::Id(id) => format!("id:{id}"),
    };
    found.ok_or_else(|| {
        Failure::new(
            1,
            format!("there is no user {shown}; accountd user list shows all"),
        )
    })
}

/// Says what has become of an account: with `--json` the account as it is now, otherwise a
/// sentence.
fn report(folder: &Folder, args: &Args, id: i64, sentence: &str) -> Result<(), Failure> {
    let account = folder.read(|db| accounts::find(db, &Who::Id(id), clock::now()))?;
    match account {
        Some(account) if args.has(JSON.name) => print(&json(&account, None)),
        Some(account) => print(&format!(
            "{} (id {id}): {sentence}\n",
            table::plain(&account.user.name)
        )),
        // Somebody has deleted it meanwhile.
        None => Ok(()),
    }
}

/// Asks that a text would pass as this field of a registration.
fn fit(shown: &str, field: &str, text: &str) -> Result<(), Failure> {
    let limit = REGISTERED
        .fields
        .iter()
        .find(|one| one.name == field)
        .expect("a field of the contract")
        .limit;
    if is_absent(text) {
        return Err(Failure::new(1, format!("{shown} is empty")));
    }
    if text.chars().count() > limit {
        return Err(Failure::new(
            1,
            format!("{shown} has more than {limit} characters"),
        ));
    }
    Ok(())
}

/// Asks for a new password of a user with this name, and says what is to be stored of it.
fn new_password(folder: &Folder, name: &str) -> Result<String, Failure> {
    let password = prompt::ask()?;
    fit("the password", "passwd", &password)?;
    policy::check(&folder.config, &password, name)
        .map_err(|why| Failure::new(1, format!("the password {why}; nothing has changed")))?;
    Ok(folder.config.password_hash.hash(&password))
}
