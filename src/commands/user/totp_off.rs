//! The command `user totp-off`: for a user who has lost the second factor and the recovery codes.

use super::{USER, find_account, report};
use crate::command::{Args, Command, DATA, Failure, ID, JSON};
use crate::commands::DataFolder;
use crate::store::{audit, totp};

/// `user totp-off`
pub const TOTP_OFF: Command = Command {
    name: "user totp-off",
    doc: "turn a user's second factor off",
    about: "For a user who has lost the device and the recovery codes, or whose second factor cannot be decrypted because \
            the setting totp_key has changed. The password alone opens the account again; make sure that it is the user who \
            asks. Sessions go on, but count as opened without a second factor. The user can turn it on again.",
    arguments: &[USER],
    options: &[ID, JSON, DATA],
    exit: &[],
    examples: &[(
        "user totp-off rei",
        "let rei sign in with the password alone",
    )],
    run: turn_off,
};

fn turn_off(args: &Args) -> Result<(), Failure> {
    let mut folder = DataFolder::open(args)?;
    let id = find_account(&folder, args)?.user.id;
    let was_on = folder.change(|db, event| {
        let was_on = totp::turn_off(db, id)?;
        if was_on {
            audit::done(db, event, Some(id))?;
        }
        Ok(was_on)
    })?;
    let sentence = if was_on {
        "the second factor is off"
    } else {
        "the second factor was off already"
    };
    report(&folder, args, id, sentence)
}
