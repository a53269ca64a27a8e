//! The command `user delete`, which erases everything but lines of the audit log.

use super::{USER, find_account, json};
use crate::account::avatar;
use crate::command::{Args, Command, DATA, Failure, ID, JSON, print};
use crate::commands::DataFolder;
use crate::commands::terminal::{prompt, table};
use crate::store::{accounts, audit};

/// `user delete`
pub const DELETE: Command = Command {
    name: "user delete",
    doc: "delete a user with all sessions and the picture",
    about: "Asks for confirmation on a terminal. The stored data is overwritten; only the user's lines in the audit log stay, \
            until audit_days have passed. Name and email are free again; the id is never used again. Earlier backups still \
            have the user. With --json the command prints the account as it was.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[
        ("user delete rei", "delete rei after a confirmation"),
        ("user delete --id 7 < /dev/null", "delete without asking"),
    ],
    run: delete,
};

fn delete(args: &Args) -> Result<(), Failure> {
    let mut folder = DataFolder::open(args)?;
    let account = find_account(&folder, args)?;
    let (id, name) = (account.user.id, table::plain(&account.user.name));
    prompt::confirm(&format!("Delete {name} (id {id}) for good?"))?;
    folder.enable_secure_delete()?;
    let picture = folder.change(|db, event| {
        // Before the deletion, since the line has the user's name.
        audit::done(db, event, Some(id))?;
        accounts::delete(db, id)
    })?;
    let removed = picture.map_or(Ok(true), |picture| avatar::remove(&folder.data, &picture));
    if !folder.checkpoint()? {
        eprintln!(
            "accountd: another program is reading the database; until it is done, accountd.db-wal still holds the deleted data"
        );
    }
    let picture = table::plain(&account.user.avatar);
    match removed {
        Ok(true) => {}
        Ok(false) => eprintln!(
            "accountd: a backup or import is running, so the picture {picture} stays; the next start of the server removes it"
        ),
        Err(error) => {
            let sentence = format!(
                "{name} (id {id}) is deleted, but the picture {picture} could not be removed: {error}"
            );
            return Err(Failure::new(1, sentence));
        }
    }
    print(&if args.has(JSON.name) {
        json(&account, None)
    } else {
        format!("{name} (id {id}): deleted\n")
    })
}
