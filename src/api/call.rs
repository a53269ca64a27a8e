//! A request to an interface, with everything that its handler may use.

use super::body::json::JsonBody;
use crate::account::throttle::Source;
use crate::app::App;
use crate::contract::{Endpoint, Reason, Token};
use crate::crypto;
use crate::http::Request;
use crate::store::sessions;
use std::cell::OnceCell;

/// A request to an interface.
pub struct Call<'a> {
    pub app: &'a App,
    pub endpoint: &'static Endpoint,
    pub request: &'a Request,
    /// The JSON body; empty if the request has none or uploads a file.
    pub body: JsonBody,
    /// SHA-256 of the token.
    token: Option<[u8; 32]>,
    /// The name of the token's owner, once it is known.
    owner: OnceCell<String>,
}

impl<'a> Call<'a> {
    pub fn new(
        app: &'a App,
        endpoint: &'static Endpoint,
        request: &'a Request,
        body: JsonBody,
    ) -> Call<'a> {
        let token = match endpoint.token {
            Token::None => "",
            Token::Body => body.text("token"),
            Token::Header => &request.headers.token,
        };
        let token = (!token.is_empty()).then(|| crypto::sha256(token));
        Call {
            app,
            endpoint,
            request,
            body,
            token,
            owner: OnceCell::new(),
        }
    }

    /// SHA-256 of the token.
    pub fn token(&self) -> Result<[u8; 32], Reason> {
        self.token.ok_or(Reason::TokenAbsent)
    }

    /// Notes that the session of the token with this digest is used now. `seen_at` is the hour of
    /// its latest use that was written.
    pub fn note_use(&self, token: &[u8; 32], seen_at: Option<i64>) {
        let session = sessions::id(token);
        self.app.last_seen.note(session, seen_at, self.request.now);
    }

    /// The source that the request counts for in the throttle.
    pub fn source(&self) -> Source {
        Source::of(self.request.client)
    }

    /// Sets the name of the token's owner, and returns it.
    pub fn owner_is(&self, name: String) -> &str {
        self.owner.get_or_init(|| name)
    }

    /// The name of the user that the request is about: the token's owner, if that is known, or the
    /// user whom the body names. Empty if it names none.
    pub fn user_name(&self) -> &str {
        if let Some(owner) = self.owner.get() {
            return owner;
        }
        let username = self.body.text("username");
        if username.is_empty() {
            self.body.text("name")
        } else {
            username
        }
    }
}
