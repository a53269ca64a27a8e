//! Every command, in the order of the help.

use super::completions::COMPLETIONS;
use super::man::MAN;
use crate::command::Command;
use crate::commands::{
    audit, backup, check, config, group, harden, health, import_medusa, invite, serve, signal, user,
};

/// Every command, in the order of the help. The first one runs if the command line names none. Each
/// row is defined beside the function that runs it.
pub const COMMANDS: &[&Command] = &[
    &serve::SERVE,
    &config::CONFIG,
    &health::HEALTH,
    &signal::RELOAD,
    &signal::STOP,
    &user::LIST,
    &user::SHOW,
    &user::ADD,
    &user::SET_PASSWORD,
    &user::RENAME,
    &user::DISABLE,
    &user::ENABLE,
    &user::LOGOUT,
    &user::DELETE,
    &user::RESET_LINK,
    &user::TOTP_OFF,
    &user::GROUP,
    &group::ADD,
    &group::REMOVE,
    &group::LIST,
    &invite::INVITE,
    &invite::LIST,
    &invite::REVOKE,
    &audit::AUDIT,
    &check::CHECK,
    &backup::BACKUP,
    &backup::restore::RESTORE,
    &import_medusa::IMPORT_MEDUSA,
    &harden::HARDEN,
    &MAN,
    &COMPLETIONS,
];
