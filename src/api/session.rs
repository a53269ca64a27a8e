//! A new session of a user, for the interfaces that sign a person in.

use super::call::Call;
use super::cookie;
use crate::contract::{Success, TOKEN_LENGTH};
use crate::crypto;
use crate::http::user_agent;
use crate::store::{Transaction, sessions};

/// A session before it is opened: its token, and where it is opened from.
pub struct NewSession {
    token: String,
    digest: [u8; 32],
    source: String,
    client: String,
}

impl NewSession {
    /// A session for the client that sends this request.
    pub fn of(call: &Call) -> NewSession {
        let token = crypto::random_alphanumeric(TOKEN_LENGTH);
        NewSession {
            digest: crypto::sha256(&token),
            token,
            source: call.request.source(),
            client: user_agent::client(&call.request.headers.user_agent),
        }
    }

    /// Opens the session. Returns false if the user is disabled or the stored password is no longer
    /// `password`.
    pub fn open(
        &self,
        call: &Call,
        db: &Transaction,
        user: i64,
        password: &str,
        second_factor: bool,
    ) -> rusqlite::Result<bool> {
        let config = &call.app.config;
        let new = sessions::New {
            user,
            password,
            token: &self.digest,
            now: call.request.now,
            expires_at: call.request.now + config.token_ttl_seconds,
            source: &self.source,
            client: &self.client,
            second_factor,
        };
        sessions::open(db, &new, config.sessions_per_user)
    }

    /// The answer with the token, and with the cookie if the request asks for it.
    pub fn success(&self, call: &Call) -> Success {
        Success::value(&self.token).with_cookie(cookie::for_login(call, &self.token))
    }
}
