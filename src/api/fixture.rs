//! An app over a fresh folder for the tests of the interfaces, and ways to call them.
#![cfg(test)]

use super::body::json::JsonBody;
use super::call::Call;
use super::{Handler, handler};
use crate::account::throttle::Source;
use crate::account::{sealed, totp};
use crate::app::App;
use crate::config::{self, Scheme};
use crate::contract::{self, Endpoint, Outcome, Reason, Success};
use crate::crypto;
use crate::http::Reply;
use crate::http::Request;
use crate::store::{
    Durable, Reader, Store, audit, groups, invitations, reset_links, sessions, totp as rows, users,
};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// The time of every request, in Unix seconds.
pub const NOW: i64 = 1_800_000_000;
/// The configured keys.
pub const KEY: &str = "configured key";
/// The key that encrypts second factors.
pub const TOTP_KEY: &str = "key of second factors";
/// The secret of every second factor that a fixture turns on.
pub const TOTP_SECRET: &[u8] = b"12345678901234567890";
/// Its recovery codes.
pub const RECOVERY: [&str; 2] = ["abcd-efgh-jkmn", "bcde-fghj-kmnp"];
/// The password of every user that a fixture adds.
pub const PASSWORD: &str = "old password";

/// An app whose folder goes when it is dropped.
pub struct Fixture {
    pub app: App,
    pub data: PathBuf,
}

impl Fixture {
    /// An app with the default settings, both keys configured and the reset switched on.
    pub fn new() -> Fixture {
        Fixture::with(&[])
    }

    /// The same with further settings, by the names of their environment variables.
    pub fn with(settings: &[(&str, &str)]) -> Fixture {
        let name = format!("accountd-api-{}", crypto::random_alphanumeric(10));
        let data = std::env::temp_dir().join(name);
        std::fs::create_dir(&data).unwrap();
        let defaults = [
            ("ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION", KEY),
            ("ACCOUNTD_FORGET_PASSWORD_KEY", KEY),
            ("ACCOUNTD_FORGOT_PASSWORD_FUNCTION_STATUS", "true"),
            ("ACCOUNTD_TOTP_KEY", TOTP_KEY),
        ];
        let environment = |name: &str| {
            let mut all = settings.iter().chain(&defaults);
            all.find(|one| one.0 == name).map(|one| one.1.to_string())
        };
        let (config, _) = config::load(&data, &environment, &[]).unwrap();
        let (store, reader) = (Store::open(&data).unwrap(), Reader::open(&data).unwrap());
        let app = App::new(config, data.clone(), None, store, reader);
        Fixture { app, data }
    }

    /// A request with this endpoint's method and path.
    pub fn request(&self, endpoint: &Endpoint) -> Request {
        Request {
            method: endpoint.method.into(),
            path: endpoint.path.into(),
            client: Some(Ipv4Addr::LOCALHOST.into()),
            now: NOW,
            uptime: Duration::from_secs(1_000_000),
            ..Request::default()
        }
    }

    /// A call with this JSON body.
    pub fn call<'a>(
        &'a self,
        endpoint: &'static Endpoint,
        request: &'a Request,
        body: &str,
    ) -> Call<'a> {
        Call::new(
            &self.app,
            endpoint,
            request,
            JsonBody::read(body.as_bytes()),
        )
    }

    /// The reply to a request with these members and the right answer to this captcha, this many
    /// seconds after [`NOW`]. The clock of the throttle stands still.
    pub fn reply(
        &self,
        endpoint: &'static Endpoint,
        captcha: &str,
        members: &str,
        later: i64,
    ) -> Reply {
        let mut request = self.request(endpoint);
        request.now += later;
        let captcha = format!(r#""verification_code_key":"{captcha}","verification_code":"right""#);
        let body = format!("{{{captcha},{members}}}");
        super::answer(&self.app, &request, &mut body.as_bytes()).unwrap()
    }

    /// Turns on the second factor of a user, with [`TOTP_SECRET`] and [`RECOVERY`].
    pub fn second_factor(&self, user: i64) {
        let digests = RECOVERY.map(|code| match totp::Typed::read(code) {
            totp::Typed::Recovery(code) => crypto::sha256(&code),
            other => panic!("{other:?}"),
        });
        let secret = sealed::seal(TOTP_KEY, user, TOTP_SECRET);
        let on = self.app.write(Durable::Now, |db| {
            assert!(rows::begin(db, user, &secret)?);
            rows::turn_on(db, user, NOW, &digests)
        });
        on.unwrap();
    }

    /// The code of a second factor this many seconds after [`NOW`].
    pub fn code(later: i64) -> String {
        totp::code_at(TOTP_SECRET, NOW + later)
    }

    /// Whether the session of this token was opened with a second factor.
    pub fn has_factor(&self, token: &str) -> bool {
        let token = crypto::sha256(token);
        let marked = self.app.read(|db| {
            db.query_row(
                "SELECT second_factor FROM sessions WHERE token_sha256 = ?1",
                [token],
                |row| row.get(0),
            )
        });
        marked.unwrap()
    }

    /// What the endpoint's handler returns for this JSON body, after the checks of the router.
    pub fn outcome(&self, endpoint: &'static Endpoint, body: &str) -> Outcome {
        let request = self.request(endpoint);
        let call = self.call(endpoint, &request, body);
        super::check(&call)?;
        match handler(endpoint) {
            Handler::Json(handle) => handle(&call),
            Handler::Upload(_) => panic!("{} takes no JSON", endpoint.path),
        }
    }

    /// The same with the answer to a fresh captcha among the members.
    pub fn with_captcha(&self, endpoint: &'static Endpoint, members: &str) -> Outcome {
        let key = self.captcha("right");
        let captcha = format!(r#""verification_code_key":"{key}","verification_code":"right""#);
        let comma = if members.is_empty() { "" } else { "," };
        self.outcome(endpoint, &format!("{{{captcha}{comma}{members}}}"))
    }

    /// A captcha with this answer; its key.
    pub fn captcha(&self, answer: &str) -> String {
        let key = crypto::random_alphanumeric(20);
        let mut captchas = self.app.captchas().unwrap();
        captchas.insert(crypto::sha256(&key), answer.into(), Source::of(None), NOW);
        key
    }

    /// A user with [`PASSWORD`] and a session: the id and the token.
    pub fn signed_in(&self, name: &str) -> (i64, String) {
        let password = &Scheme::Md5.hash(PASSWORD);
        let user = users::New {
            name,
            show_name: name,
            email: &format!("{name}@example.org"),
            password,
            key: "user key",
            avatar: contract::DEFAULT_AVATAR,
        };
        let added = self
            .app
            .write(Durable::Now, |db| users::add(db, &user, NOW));
        let id = added.unwrap().expect("name and email are free");
        (id, self.session(id))
    }

    /// Another session of a user with [`PASSWORD`]; its token.
    pub fn session(&self, id: i64) -> String {
        let token = crypto::random_alphanumeric(20);
        let (password, digest) = (Scheme::Md5.hash(PASSWORD), crypto::sha256(&token));
        let opened = self.app.write(Durable::Soon, |db| {
            let new = sessions::New {
                user: id,
                password: &password,
                token: &digest,
                now: NOW,
                expires_at: NOW + 1000,
                source: "192.0.2.1",
                client: "other",
                second_factor: false,
            };
            sessions::open(db, &new, 10)
        });
        assert!(opened.unwrap());
        token
    }

    /// An invitation with this key, to groups that are added; its id. It expires 100 seconds after
    /// [`NOW`].
    pub fn invitation(&self, key: &str, uses: i64, names: &[&str]) -> i64 {
        let added = self.app.write(Durable::Now, |db| {
            let mut ids = Vec::new();
            for name in names {
                groups::add(db, name)?;
                ids.extend(groups::id(db, name)?);
            }
            invitations::add(db, &crypto::sha256(key), NOW, NOW + 100, uses, &ids)
        });
        added.unwrap()
    }

    /// A reset link with this key for this user; its id. It expires 100 seconds after [`NOW`].
    pub fn reset_link(&self, key: &str, user: i64) -> i64 {
        let added = self.app.write(Durable::Now, |db| {
            reset_links::add(db, user, &crypto::sha256(key), NOW, NOW + 100)
        });
        added.unwrap()
    }

    /// The lines of the audit log: event and user.
    pub fn audit(&self) -> Vec<(String, String)> {
        let lines = self.app.read(|db| audit::list(db, None, 0)).unwrap();
        lines
            .into_iter()
            .map(|line| (line.event, line.user.unwrap_or_default()))
            .collect()
    }

    /// A PNG file with this many pixels a side, which do not compress.
    pub fn picture(side: u32) -> Vec<u8> {
        let mut pixels = vec![0; (side * side) as usize];
        crypto::fill_random(&mut pixels);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
        file
    }

    /// The id of this token's owner, if the session has not ended.
    pub fn owner(&self, token: &str) -> Option<i64> {
        let token = crypto::sha256(token);
        self.app
            .read(|db| sessions::owner(db, &token, NOW))
            .unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// The reason of a refusal.
pub fn refused(outcome: Outcome) -> Reason {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(refusal) => refusal.reason,
    }
}

/// The value of a success, as JSON.
pub fn value(outcome: Outcome) -> serde_json::Value {
    match outcome {
        Ok(Success::Value(value)) => serde_json::from_str(value.get()).unwrap(),
        Ok(_) => panic!("it has no value"),
        Err(refusal) => panic!("{refusal:?}"),
    }
}
