//! The command `user delete`, after which nothing is left.

use super::{USER, json, named};
use crate::account::avatar;
use crate::command::{Args, Command, DATA, Failure, ID, JSON, print};
use crate::commands::Folder;
use crate::commands::terminal::{prompt, table};
use crate::store::{accounts, audit};

/// `user delete`
pub const DELETE: Command = Command {
    name: "user delete",
    doc: "delete a user, with sessions and picture",
    about: "Nothing is left but the user's lines in the audit log, which go after audit_days; what was stored is \
            overwritten. Name and email are free again, the id is never used again. On a terminal it asks first. Backups \
            from before still have the user. With --json it prints the account as it was.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[
        ("user delete rei", "ask, and delete rei"),
        ("user delete --id 7 < /dev/null", "delete without asking"),
    ],
    run: delete,
};

fn delete(args: &Args) -> Result<(), Failure> {
    let mut folder = Folder::open(args)?;
    let account = named(&folder, args)?;
    let (id, name) = (account.user.id, table::plain(&account.user.name));
    prompt::agree(&format!("Delete {name} (id {id}) for good?"))?;
    folder.leave_no_trace()?;
    let picture = folder.change(|db, event| {
        // First, while there is a user with a name.
        audit::done(db, event, Some(id))?;
        accounts::delete(db, id)
    })?;
    let removed = picture.map_or(Ok(true), |picture| avatar::remove(&folder.data, &picture));
    if !folder.settle()? {
        eprintln!(
            "accountd: somebody reads the database at length: accountd.db-wal has copies until that ends"
        );
    }
    let picture = table::plain(&account.user.avatar);
    match removed {
        Ok(true) => {}
        Ok(false) => eprintln!(
            "accountd: a backup keeps the picture {picture}: it goes when the server starts again"
        ),
        Err(error) => {
            let sentence =
                format!("{name} (id {id}) is deleted, but not the picture {picture}: {error}");
            return Err(Failure::new(1, sentence));
        }
    }
    print(&if args.has(JSON.name) {
        json(&account, None)
    } else {
        format!("{name} (id {id}): deleted\n")
    })
}
