//! `/api/upload_avatar`: a new picture; the old one is removed once the database names the new one.

use super::{admit, as_owner, note, spend, token, value};
use crate::account::avatar::{self, Spool, Unfit};
use crate::account::throttle::Budget;
use crate::api::body::multipart;
use crate::app::App;
use crate::contract::{No, Outcome, Stop, TOO_SMALL, UPLOAD_AVATAR};
use crate::http::Request;
use crate::store::users;
use std::io::Read;

/// Refuses what is certain before the body is read, of which so many bytes were announced: nothing
/// is spent on it.
pub fn check(app: &App, request: &Request, announced: u64) -> Result<(), Stop> {
    let digest = token(&UPLOAD_AVATAR, request)?;
    admit(app, &digest, request.now)?;
    multipart::check_length(announced, app.config.max_avatar_bytes)
}

pub fn handle(app: &App, request: &Request, body: &mut dyn Read) -> Outcome {
    let digest = token(&UPLOAD_AVATAR, request)?;
    admit(app, &digest, request.now)?;
    spend(app, request, Budget::Upload)?;
    let mut spool = Spool::new(&app.data);
    let size = multipart::file(
        &request.content_type,
        body,
        app.config.max_avatar_bytes,
        &mut spool,
    )?;
    if size <= TOO_SMALL {
        return Err(No::FileTooSmall.into());
    }
    let name = avatar::store(&app.data, spool, request.now).map_err(unfit)?;
    let changed = as_owner(app, &digest, request.now, |db, id| {
        note(app, &UPLOAD_AVATAR, request, db, id)?;
        users::set_avatar(db, id, &name)
    });
    match changed {
        Ok(old) => {
            // What is left is removed by the next start.
            let _ = avatar::remove(&app.data, &old);
            value(&name)
        }
        Err(stop) => {
            let _ = avatar::remove(&app.data, &name);
            Err(stop)
        }
    }
}

fn unfit(unfit: Unfit) -> Stop {
    match unfit {
        Unfit::NoPicture(why) => Stop::unusable(why),
        Unfit::Io(error) => Stop {
            cause: Some(format!("avatar: {error}")),
            ..No::NotWritten.into()
        },
    }
}
