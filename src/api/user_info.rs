//! `/api/user_info`: what there is to know about the token's owner.

use super::{token, value};
use crate::app::App;
use crate::contract::{No, Outcome, USER_INFO};
use crate::http::Request;
use crate::store::users;
use serde::Serialize;

/// In the order of the document.
#[derive(Serialize)]
struct Info<'a> {
    id: i64,
    key: &'a str,
    name: &'a str,
    token: &'a str,
    show_name: &'a str,
    email: &'a str,
    avatar: &'a str,
}

pub fn handle(app: &App, request: &Request) -> Outcome {
    let digest = token(&USER_INFO, request)?;
    let user = app
        .read(|db| users::by_token(db, &digest, request.now))?
        .ok_or(No::TokenUnknown)?;
    value(&Info {
        id: user.id,
        key: &user.key,
        name: &user.name,
        token: request.form.get("token"),
        show_name: &user.show_name,
        email: &user.email,
        avatar: &user.avatar,
    })
}
