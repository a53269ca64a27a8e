//! The commands `invite …`: keys with which people can register.

use super::link::{self, Link};
use super::terminal::table::{self, Table, count, time};
use super::{DataFolder, group, record};
use crate::clock;
use crate::command::{Args, Argument, Command, DATA, Failure, JSON, Opt, print, usage};
use crate::store::groups;
use crate::store::invitations::{self, Invitation};
use serde::Serialize;

const GROUP: Opt = Opt {
    name: "group",
    value: "GROUP",
    doc: "the user becomes a member of this group; can be repeated",
};
const EXPIRES: Opt = link::expires_option(
    "how long the invitation is valid, such as 90min, 12h or 7d (default: 7d)",
);
const USES: Opt = Opt {
    name: "uses",
    value: "COUNT",
    doc: "how many people can register with the invitation, from 1 to 10000 (default: 1)",
};
const NUMBER: Argument = Argument {
    name: "NUMBER",
    doc: "the number of the invitation, as invite list shows it",
};

/// The most uses of one invitation.
const MAX_USES: i64 = 10_000;

/// `invite`
pub const INVITE: Command = Command {
    name: "invite",
    doc: "create an invitation, with which a person can register",
    about: "Prints a key and a link to the page that carries it. With the key a person registers in place of the \
            registration key, also while registration is switched off, and becomes a member of the groups. The key is shown \
            only now: the database keeps its digest.\n\
            The link begins with the setting public_url or, without it, with the address that the server listens on. No \
            server needs to run.\n\
            An invitation ends with its last use, when it expires, or with invite revoke. invite list prints the others. \
            The audit log names an invitation by its number.",
    arguments: &[],
    options: &[GROUP, EXPIRES, USES, JSON, DATA],
    exit: &[],
    examples: &[
        ("invite", "invite one person for the next seven days"),
        (
            "invite --group media --group guests --expires 24h --uses 20",
            "invite up to twenty people to two groups for a day",
        ),
    ],
    run: invite,
};

/// `invite list`
pub const LIST: Command = Command {
    name: "invite list",
    doc: "print the invitations that can be used, one per line",
    about: "Invitations are in the order of their numbers. Their keys are not stored, so they cannot be printed again.",
    arguments: &[],
    options: &[JSON, DATA],
    exit: &[],
    examples: &[("invite list", "print the invitations of ./data")],
    run: list,
};

/// `invite revoke`
pub const REVOKE: Command = Command {
    name: "invite revoke",
    doc: "end an invitation",
    about: "Users who have registered with it stay.",
    arguments: &[NUMBER],
    options: &[DATA],
    exit: &[],
    examples: &[("invite revoke 7", "end the invitation with the number 7")],
    run: revoke,
};

/// A new invitation in JSON.
#[derive(Serialize)]
struct New<'a> {
    id: i64,
    #[serde(flatten)]
    link: &'a Link,
    expires_at: i64,
    uses_left: i64,
    groups: &'a [String],
}

/// An invitation in JSON.
#[derive(Serialize)]
struct View<'a> {
    id: i64,
    created_at: i64,
    expires_at: i64,
    uses_left: i64,
    groups: &'a [String],
}

fn invite(args: &Args) -> Result<(), Failure> {
    let (expiry, uses) = (link::expiry(args, "7d")?, uses(args)?);
    let mut names = args.texts(GROUP.name)?;
    names.sort_unstable();
    names.dedup();
    let mut folder = DataFolder::open(args)?;
    let link = Link::new(&folder.config, "invite");
    let expires_at = clock::now() + expiry;
    let added = folder.change(|db, event| {
        let mut ids = Vec::new();
        for name in &names {
            match groups::id(db, name)? {
                Some(id) => ids.push(id),
                None => return Ok(Err(name.clone())),
            }
        }
        let id = invitations::add(db, &link.digest(), event.at, expires_at, uses, &ids)?;
        record(db, event, &id.to_string(), None)?;
        Ok(Ok(id))
    })?;
    let id = added.map_err(|name| group::unknown(&name))?;
    link::warn_without_public_url(&folder.config);
    if args.has(JSON.name) {
        return print(&table::json(&New {
            id,
            link: &link,
            expires_at,
            uses_left: uses,
            groups: &names,
        }));
    }
    let groups = match &*names {
        [] => String::new(),
        names => format!(", groups {}", names.join(", ")),
    };
    let (uses, until) = (count(uses.unsigned_abs(), "use"), time(expires_at));
    print(&format!(
        "invitation {id}: {uses}, until {until}{groups}\n{}",
        link.lines()
    ))
}

fn uses(args: &Args) -> Result<i64, Failure> {
    let Some(text) = args.text(USES.name)? else {
        return Ok(1);
    };
    let uses = text.parse().ok();
    uses.filter(|uses| (1..=MAX_USES).contains(uses))
        .ok_or_else(|| {
            let sentence =
                format!("--uses {text}: it should be a whole number from 1 to {MAX_USES}");
            usage(args.command(), sentence)
        })
}

fn list(args: &Args) -> Result<(), Failure> {
    let all = DataFolder::open(args)?.read(|db| invitations::list(db, clock::now()))?;
    if args.has(JSON.name) {
        return print(&all.iter().map(json).collect::<String>());
    }
    let row = |one: Invitation| {
        [
            one.id.to_string(),
            time(one.created_at),
            time(one.expires_at),
            one.uses_left.to_string(),
            one.groups.join(","),
        ]
    };
    let mut table = Table::with_header(["NUMBER", "CREATED", "EXPIRES", "USES LEFT", "GROUPS"]);
    print(&table.page(all.into_iter().map(row)))
}

fn json(invitation: &Invitation) -> String {
    let Invitation {
        id,
        created_at,
        expires_at,
        uses_left,
        groups,
    } = invitation;
    table::json(&View {
        id: *id,
        created_at: *created_at,
        expires_at: *expires_at,
        uses_left: *uses_left,
        groups,
    })
}

fn revoke(args: &Args) -> Result<(), Failure> {
    let text = args.argument(NUMBER.name)?;
    let id: i64 = text
        .parse()
        .map_err(|_| usage(args.command(), format!("{text}: it must be a number")))?;
    let revoked = DataFolder::open(args)?.change(|db, event| {
        let revoked = invitations::revoke(db, id, event.at)?;
        if revoked {
            record(db, event, &id.to_string(), None)?;
        }
        Ok(revoked)
    })?;
    match revoked {
        true => print(&format!("invitation {id}: revoked\n")),
        false => Err(Failure::new(
            1,
            format!("there is no invitation {id} that can be used; accountd invite list shows all"),
        )),
    }
}
