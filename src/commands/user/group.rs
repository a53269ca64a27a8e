//! The command `user group`: changes the groups of a user.

use super::{USER, find_account, report};
use crate::command::{Args, Argument, Command, DATA, Failure, ID, JSON, usage};
use crate::commands::{DataFolder, group, record};
use crate::store::groups;

const CHANGES: Argument = Argument {
    name: "CHANGE...",
    doc: "+GROUP makes the user a member of the group, -GROUP ends the membership",
};

/// `user group`
pub const GROUP: Command = Command {
    name: "user group",
    doc: "add a user to groups and remove them from groups",
    about: "Takes effect with the next request. All changes are made, or none if a group does not exist. To add a \
            member again, or to remove a user who is not a member, changes nothing.",
    arguments: &[USER, CHANGES],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[
        (
            "user group rei +media -guests",
            "rei joins media and leaves guests",
        ),
        (
            "user group --id 7 +media",
            "the user with the id 7 joins media",
        ),
    ],
    run: change,
};

fn change(args: &Args) -> Result<(), Failure> {
    let texts = args.texts(CHANGES.name)?;
    let changes: Vec<(bool, &str)> = texts
        .iter()
        .map(|text| match text.split_at_checked(1) {
            Some(("+", name)) => Ok((true, name)),
            Some(("-", name)) => Ok((false, name)),
            _ => Err(usage(
                args.command(),
                format!("{text}: it should be +GROUP or -GROUP"),
            )),
        })
        .collect::<Result<_, _>>()?;
    let mut folder = DataFolder::open(args)?;
    let user = find_account(&folder, args)?.user.id;
    let changed = folder.change(|db, event| {
        let mut all = Vec::new();
        for (joins, name) in &changes {
            match groups::id(db, name)? {
                Some(group) => all.push((*joins, group)),
                None => return Ok(Err(name.to_string())),
            }
        }
        for (joins, group) in all {
            let change = if joins { groups::join } else { groups::leave };
            change(db, user, group)?;
        }
        record(db, event, &texts.join(" "), Some(user))?;
        Ok(Ok(()))
    })?;
    changed.map_err(|name| group::unknown(&name))?;
    let groups = folder.read(|db| groups::of_user(db, user))?;
    let sentence = match &*groups {
        [] => "in no group".into(),
        groups => format!("in {}", groups.join(", ")),
    };
    report(&folder, args, user, &sentence)
}
