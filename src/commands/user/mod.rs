//! The commands `user …`: an admin lists, adds and changes accounts.

mod add;
mod change;
mod group;
mod list;
mod look_alikes;
mod remove;
mod reset_link;
mod totp_off;

pub use add::ADD;
pub use change::{DISABLE, ENABLE, LOGOUT, RENAME, SET_PASSWORD};
pub use group::GROUP;
pub use list::{LIST, SHOW};
pub use remove::DELETE;
pub use reset_link::RESET_LINK;
pub use totp_off::TOTP_OFF;

use super::DataFolder;
use super::terminal::{prompt, table};
use crate::account::{plain_name, policy};
use crate::clock;
use crate::command::{Args, Argument, Failure, ID, JSON, print, usage};
use crate::config::{Scheme, Usernames};
use crate::contract::{REGISTERED, is_absent};
use crate::store::accounts::{self, Account, UserRef};
use serde::Serialize;

const USER: Argument = Argument {
    name: "USER",
    doc: "the user's name, or id:N for the user with this id; --id N can replace it",
};

/// An account in JSON, without the password and the key, which open it.
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
    groups: &'a [String],
    second_factor: bool,
    /// In a list, the ids of users with a look-alike name.
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
        groups,
        second_factor,
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
        groups,
        second_factor: *second_factor,
        looks_like,
    };
    table::json(&view)
}

/// The user that the command line names, if any: with `--id`, or in the argument or option called
/// `source`, by name or as `id:N`.
///
/// An error if an id is not a number, or if `id:N` is one user's id and another user's name.
pub(super) fn selected_user(
    folder: &DataFolder,
    args: &Args,
    source: &str,
) -> Result<Option<UserRef>, Failure> {
    let not_a_number =
        |shown: &str| usage(args.command(), format!("{shown}: an id must be a number"));
    let text = args.text(source)?;
    match args.text(ID.name)? {
        Some(_) if text.is_some() => {
            return Err(usage(
                args.command(),
                format!("--id and --{source} cannot be used together"),
            ));
        }
        Some(id) => {
            return id
                .parse()
                .map(|id| Some(UserRef::Id(id)))
                .map_err(|_| not_a_number(&format!("--id {id}")));
        }
        None => {}
    }
    let Some(text) = text else { return Ok(None) };
    let Some(number) = text.strip_prefix("id:") else {
        return Ok(Some(UserRef::Name(text)));
    };
    let find = |user: UserRef| folder.read(|db| accounts::find(db, &user, clock::now()));
    let Some(by_name) = find(UserRef::Name(text.clone()))? else {
        return number
            .parse()
            .map(|id| Some(UserRef::Id(id)))
            .map_err(|_| not_a_number(&text));
    };
    let by_id = number
        .parse()
        .map_or(Ok(None), |id| find(UserRef::Id(id)))?;
    match by_id {
        Some(by_id) if by_id.user.id != by_name.user.id => {
            let ids = [by_id.user.id, by_name.user.id];
            let [first, second] = [by_id, by_name]
                .map(|one| format!("{} (id {})", table::plain(&one.user.name), one.user.id));
            let sentence = format!(
                "{text} matches two users, {first} and {second}; choose one with --id {} or --id {}",
                ids[0], ids[1]
            );
            Err(Failure::new(2, sentence))
        }
        _ => Ok(Some(UserRef::Id(by_name.user.id))),
    }
}

/// The account that the command line names. An error if there is none.
fn find_account(folder: &DataFolder, args: &Args) -> Result<Account, Failure> {
    let selected = selected_user(folder, args, USER.name)?
        .expect("the parser requires USER or the option that replaces it");
    let found = folder.read(|db| accounts::find(db, &selected, clock::now()))?;
    let shown = match &selected {
        UserRef::Name(name) => table::plain(name),
        UserRef::Id(id) => format!("id:{id}"),
    };
    found.ok_or_else(|| {
        Failure::new(
            1,
            format!("there is no user {shown}; accountd user list shows all users"),
        )
    })
}

/// Prints the result of a change: with `--json` the account as it is now, otherwise a sentence.
fn report(folder: &DataFolder, args: &Args, id: i64, sentence: &str) -> Result<(), Failure> {
    let account = folder.read(|db| accounts::find(db, &UserRef::Id(id), clock::now()))?;
    match account {
        Some(account) if args.has(JSON.name) => print(&json(&account, None)),
        Some(account) => print(&format!(
            "{} (id {id}): {sentence}\n",
            table::plain(&account.user.name)
        )),
        // Another command has deleted it meanwhile.
        None => Ok(()),
    }
}

/// Refuses a text that a registration would refuse in this field.
fn check_field(shown: &str, field: &str, text: &str) -> Result<(), Failure> {
    let limit = REGISTERED
        .fields
        .iter()
        .find(|one| one.name == field)
        .expect("the field is in the contract")
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

/// Refuses a name that a registration would refuse.
fn check_name(folder: &DataFolder, shown: &str, name: &str) -> Result<(), Failure> {
    check_field(shown, "username", name)?;
    if folder.config.usernames == Usernames::Plain && !plain_name::is_plain(name) {
        let sentence = format!("{shown} must have {} (usernames)", plain_name::FORM);
        return Err(Failure::new(1, sentence));
    }
    Ok(())
}

/// Reads a new password for a user with this name, checks it, and returns the hash to store.
fn new_password(folder: &DataFolder, name: &str) -> Result<String, Failure> {
    let password = prompt::new_password()?;
    check_field("the password", "passwd", &password)?;
    policy::check(&folder.config, &password, name)
        .map_err(|why| Failure::new(1, format!("the password {why}; nothing has changed")))?;
    Ok(folder.config.password_hash.hash(&password))
}
