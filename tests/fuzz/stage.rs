//! What the targets that answer requests share: a server's state over a folder in memory, and what
//! every answer keeps to.

use accountd::app::App;
use accountd::config;
use accountd::contract::{ADDITIONS, DOCUMENT, Endpoint, OUTSIDE};
use accountd::crypto;
use accountd::http::network::Source;
use accountd::http::{Body, Reply, Request};
use accountd::server::answer;
use accountd::site::Site;
use accountd::store::{Durable, Reader, Store, sessions, users};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time of every request, in Unix seconds.
pub const NOW: i64 = 1_800_000_000;
/// The token of the only user that is there from the start.
pub const TOKEN: &str = "token";
const KEY: &str = "key";
const CAPTCHA: (&str, &str) = ("captcha", "k7m3xp");
/// Requests until everything begins anew, so that what they leave behind does not add up.
const SPAN: u32 = 20_000;

/// A server without sockets.
pub struct Stage {
    data: PathBuf,
    app: App,
    site: Site,
    left: u32,
}

impl Stage {
    /// A server with one user.
    pub fn new() -> Stage {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.into()
        } else {
            std::env::temp_dir()
        };
        let data = parent.join(format!("accountd-fuzz-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir(&data).unwrap();
        let environment = |name: &str| match name {
            "ACCOUNTD_THROTTLE" => Some("false".into()),
            "ACCOUNTD_FORGOT_PASSWORD_FUNCTION_STATUS" => Some("true".into()),
            "ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION"
            | "ACCOUNTD_FORGET_PASSWORD_KEY" => Some(KEY.into()),
            _ => None,
        };
        let (config, _) = config::load(&data, &environment, &[]).unwrap();
        let password = config.password_hash.hash("a");
        let (store, reader) = (Store::open(&data).unwrap(), Reader::open(&data).unwrap());
        let app = App::new(config, data.clone(), None, store, reader);
        let user = users::New {
            name: "a",
            show_name: "a",
            email: "a",
            password: &password,
            key: "a",
            avatar: "admin.jpg",
        };
        assert!(
            app.write(Durable::Now, |db| users::add(db, &user, NOW))
                .unwrap()
                .is_some()
        );
        let site = Site::new(&data, &app.config);
        Stage {
            data,
            app,
            site,
            left: SPAN,
        }
    }

    /// Answers a request, checks what every answer keeps to, and gives the body.
    pub fn answer(&mut self, mut request: Request, mut body: &[u8]) -> (u16, Vec<u8>) {
        self.left -= 1;
        if self.left == 0 {
            *self = Stage::new();
        }
        // Whatever the request before has used up.
        let captchas = self.app.captchas();
        captchas.expect("this process keeps its state").insert(
            crypto::sha256(CAPTCHA.0),
            CAPTCHA.1.into(),
            Source::of(None),
            NOW,
        );
        let opened = self.app.write(Durable::Soon, |db| {
            let password = users::credentials(db, "a")?
                .user
                .map(|stored| stored.password)
                .unwrap_or_default();
            let new = sessions::New {
                user: 1,
                password: &password,
                token: &crypto::sha256(TOKEN),
                now: NOW,
                expires_at: NOW + 1,
                source: "-",
                client: "other",
                second_factor: false,
            };
            sessions::open(db, &new, 2)
        });
        // Refused where it is still there.
        drop(opened);
        request.now = NOW;
        request.uptime = Duration::from_secs(1_000_000);
        let reply = answer(&self.app, &self.site, &request, &mut body);
        check(&request, reply)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The next one has the same folder.
        if self.left > 0 {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

fn check(request: &Request, reply: Reply) -> (u16, Vec<u8>) {
    let (status, code) = (reply.status, reply.code);
    assert_ne!(status, 500, "a fault of the server");
    for (name, value) in &reply.headers {
        assert!(
            value.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{name}: {value:?}"
        );
    }
    let mut bytes = Vec::new();
    match reply.body {
        Body::Bytes(all) => bytes.extend_from_slice(&all),
        Body::File(mut file, size) => {
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, size);
        }
    }
    if let Some(code) = code {
        assert!(
            reply
                .headers
                .iter()
                .any(|(name, value)| *name == "Cache-Control" && value == "no-store")
        );
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(
            text.starts_with("{\"message\":")
                && text.ends_with('}')
                && text.contains(&format!("\"code\":{code}"))
        );
        if status == 200 {
            let endpoint = endpoint(&request.path).expect("an interface");
            let rows = endpoint.refusals.iter().chain([&endpoint.success]);
            assert!(
                rows.into_iter().any(|row| row.code == code),
                "{} has no row {code}",
                endpoint.path
            );
        } else {
            assert!(
                OUTSIDE.iter().any(|row| row.0 == status && row.0 == code),
                "{status} {code}"
            );
        }
    }
    (status, bytes)
}

/// The interface of a path.
pub fn endpoint(path: &str) -> Option<&'static Endpoint> {
    let path = path.strip_suffix('/').unwrap_or(path);
    DOCUMENT
        .into_iter()
        .chain(ADDITIONS)
        .find(|endpoint| endpoint.path == path)
}
