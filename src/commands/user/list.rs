//! The commands `user list` and `user show`.

use super::look_alikes::LookAlikes;
use super::{USER, find_account, json};
use crate::clock;
use crate::command::{Args, Command, DATA, Failure, ID, JSON, print};
use crate::commands::DataFolder;
use crate::commands::terminal::table::{Table, plain, time};
use crate::config::Scheme;
use crate::store::accounts::{self, Account};

/// Accounts per query. No transaction is open while a page is printed, so a slow terminal or pipe
/// holds up no checkpoint.
const PAGE: i64 = 1000;

/// `user list`
pub const LIST: Command = Command {
    name: "user list",
    doc: "print all users, one per line",
    about: "Users are in the order of their registration. SESSIONS counts tokens that are valid now.\n\
            Control characters, invisible characters and spaces at the ends of names are escaped. Names that differ only \
            in these, in upper and lower case, or in full-width forms are marked: STATE, or looks_like in JSON, has the \
            ids of up to five other users with such a name.",
    arguments: &[],
    options: &[JSON, DATA],
    exit: &[],
    examples: &[
        ("user list", "print the users of ./data"),
        (
            "user list --json | jq -r 'select(.disabled_at) | .email'",
            "print the email addresses of disabled users",
        ),
    ],
    run: list,
};

/// `user show`
pub const SHOW: Command = Command {
    name: "user show",
    doc: "print a user's account",
    about: "Password and key are never printed.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[
        ("user show rei", "print rei's account"),
        ("user show id:7", "print the account with the id 7"),
    ],
    run: show,
};

fn list(args: &Args) -> Result<(), Failure> {
    let folder = DataFolder::open(args)?;
    let look_alikes = LookAlikes::find(&folder)?;
    let mut table = Table::with_header([
        "ID",
        "NAME",
        "SHOW NAME",
        "EMAIL",
        "REGISTERED",
        "SESSIONS",
        "GROUPS",
        "STATE",
    ]);
    let mut last = 0;
    loop {
        let page = folder.read(|db| accounts::list(db, last, PAGE, clock::now()))?;
        if args.has(JSON.name) {
            let json = |account: &Account| json(account, Some(&look_alikes.of(account.user.id)));
            print(&page.iter().map(json).collect::<String>())?;
        } else {
            print(
                &table.page(
                    page.iter()
                        .map(|account| row(account, &look_alikes.of(account.user.id))),
                ),
            )?;
        }
        match page.last() {
            Some(account) => last = account.user.id,
            None => return Ok(()),
        }
    }
}

fn row(account: &Account, looks_like: &[i64]) -> [String; 8] {
    let Account {
        user,
        created_at,
        disabled_at,
        sessions,
        groups,
        ..
    } = account;
    let ids: Vec<String> = looks_like.iter().map(ToString::to_string).collect();
    let looks_like = if ids.is_empty() {
        String::new()
    } else {
        format!("looks like id {}", ids.join(", "))
    };
    let disabled = disabled_at.map_or("", |_| "disabled");
    let state: Vec<&str> = [disabled, &looks_like]
        .into_iter()
        .filter(|one| !one.is_empty())
        .collect();
    let [name, show_name, email] =
        [&user.name, &user.show_name, &user.email].map(|text| plain(text));
    [
        user.id.to_string(),
        name,
        show_name,
        email,
        time(*created_at),
        sessions.to_string(),
        groups.join(","),
        state.join("; "),
    ]
}

fn show(args: &Args) -> Result<(), Failure> {
    let account = find_account(&DataFolder::open(args)?, args)?;
    if args.has(JSON.name) {
        return print(&json(&account, None));
    }
    let Account {
        user,
        password,
        created_at,
        disabled_at,
        sessions,
        sessions_end_at,
        groups,
        second_factor,
    } = &account;
    let until = sessions_end_at
        .map(|end| format!(", the last until {}", time(end)))
        .unwrap_or_default();
    let rows = [
        ("id", user.id.to_string()),
        ("name", plain(&user.name)),
        ("show name", plain(&user.show_name)),
        ("email", plain(&user.email)),
        ("avatar", plain(&user.avatar)),
        (
            "password",
            format!("stored as {}", Scheme::of(password).name()),
        ),
        ("registered", time(*created_at)),
        (
            "disabled",
            disabled_at.map_or_else(|| "no".into(), |since| format!("since {}", time(since))),
        ),
        ("sessions", format!("{sessions}{until}")),
        ("groups", groups.join(", ")),
        (
            "second factor",
            if *second_factor { "on" } else { "off" }.into(),
        ),
    ]
    .map(|(name, value)| [name.into(), value]);
    print(&Table::without_header().page(rows))
}
