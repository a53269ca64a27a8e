//! The commands `group …`: which groups there are.

use super::terminal::table::{self, Table, count, plain};
use super::{DataFolder, record};
use crate::account::plain_name;
use crate::command::{Args, Argument, Command, DATA, Failure, JSON, print};
use crate::store::groups;
use serde::Serialize;

const GROUP: Argument = Argument {
    name: "GROUP",
    doc: "the group's name: 1 to 64 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
};

/// `group add`
pub const ADD: Command = Command {
    name: "group add",
    doc: "add a group",
    about: "A group has no members at first: user group adds users, and invite --group invites people to it. A proxy can \
            ask for members of a group before it lets a request through.",
    arguments: &[GROUP],
    options: &[DATA],
    exit: &[],
    examples: &[("group add media", "add the group media")],
    run: |args| {
        let (mut folder, name) = (DataFolder::open(args)?, args.argument(GROUP.name)?);
        if !plain_name::is_plain(&name) {
            let sentence = format!(
                "{}: a group's name must have {}",
                plain(&name),
                plain_name::FORM
            );
            return Err(Failure::new(1, sentence));
        }
        let added = folder.change(|db, event| {
            let added = groups::add(db, &name)?;
            if added {
                record(db, event, &name, None)?;
            }
            Ok(added)
        })?;
        match added {
            true => print(&format!("{name}: added\n")),
            false => Err(Failure::new(1, format!("there is already a group {name}"))),
        }
    },
};

/// `group remove`
pub const REMOVE: Command = Command {
    name: "group remove",
    doc: "remove a group; its members stay users",
    about: "No user is a member any more, and no invitation gives the group. A group that is added again later under the \
            same name has no members.",
    arguments: &[GROUP],
    options: &[DATA],
    exit: &[],
    examples: &[("group remove media", "remove the group media")],
    run: |args| {
        let (mut folder, name) = (DataFolder::open(args)?, args.argument(GROUP.name)?);
        let members = folder.change(|db, event| {
            let members = groups::remove(db, &name)?;
            if members.is_some() {
                record(db, event, &name, None)?;
            }
            Ok(members)
        })?;
        let members = members.ok_or_else(|| unknown(&name))?;
        print(&format!(
            "{name}: removed, it had {}\n",
            count(members, "member")
        ))
    },
};

/// `group list`
pub const LIST: Command = Command {
    name: "group list",
    doc: "print all groups, one per line",
    about: "Groups are in the order of their names. MEMBERS counts users, disabled ones too.",
    arguments: &[],
    options: &[JSON, DATA],
    exit: &[],
    examples: &[("group list", "print the groups of ./data")],
    run: list,
};

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    members: u64,
}

fn list(args: &Args) -> Result<(), Failure> {
    let groups = DataFolder::open(args)?.read(groups::list)?;
    if args.has(JSON.name) {
        let json = |group: &groups::Group| {
            let (name, members) = (&*group.name, group.members);
            table::json(&View { name, members })
        };
        return print(&groups.iter().map(json).collect::<String>());
    }
    let rows = groups
        .into_iter()
        .map(|group| [group.name, group.members.to_string()]);
    print(&Table::with_header(["NAME", "MEMBERS"]).page(rows))
}

/// The failure of a command that names a group that does not exist.
pub fn unknown(name: &str) -> Failure {
    let name = plain(name);
    Failure::new(
        1,
        format!(
            "there is no group {name}; accountd group list shows all groups, accountd group add adds one"
        ),
    )
}
