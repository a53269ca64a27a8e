//! The router: from a path to the function that answers, and from what it says to the reply.

pub mod body;
mod forget_password;
mod get_verification_code;
mod health;
mod login;
mod logout;
mod password;
mod registered;
mod update_key;
mod update_password;
mod update_show_name;
mod upload_avatar;
mod user_info;

use crate::account::captcha;
use crate::account::policy;
use crate::account::throttle::{Budget, Guess, Secret, Source, Verdict};
use crate::api::body::json::Form;
use crate::app::App;
use crate::contract::{self, Done, Endpoint, No, Outcome, Stop, Token, outside};
use crate::crypto;
use crate::http::{Body, Reply, Request};
use crate::log::{self, Level};
use crate::store::audit::{self, Event};
use crate::store::{Durable, Fault, Transaction, sessions};
use std::io::{self, Read};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The longest JSON body in bytes, `contract.md`.
const LONGEST: u64 = 64 * 1024;

/// What answers an endpoint, and how long that takes.
#[derive(Clone, Copy)]
enum Handler {
    /// Reads a form, and answers at once.
    Quick(fn(&App, &Request) -> Outcome),
    /// Reads a form, and writes.
    Writing(fn(&App, &Request) -> Outcome),
    /// Reads a form, hashes passwords, which takes long with Argon2id, and writes.
    Hashing(fn(&App, &Request) -> Outcome),
    /// Reads a body as large as it likes.
    Upload(fn(&App, &Request, &mut dyn Read) -> Outcome),
}

/// Every interface and its function.
const ROUTES: [(&Endpoint, Handler); 11] = [
    (&contract::REGISTERED, Handler::Hashing(registered::handle)),
    (&contract::LOGIN, Handler::Hashing(login::handle)),
    (&contract::USER_INFO, Handler::Quick(user_info::handle)),
    (
        &contract::UPDATE_PASSWORD,
        Handler::Hashing(update_password::handle),
    ),
    (
        &contract::UPDATE_SHOW_NAME,
        Handler::Writing(update_show_name::handle),
    ),
    (&contract::UPDATE_KEY, Handler::Writing(update_key::handle)),
    (
        &contract::FORGET_PASSWORD,
        Handler::Hashing(forget_password::handle),
    ),
    (
        &contract::UPLOAD_AVATAR,
        Handler::Upload(upload_avatar::handle),
    ),
    (
        &contract::GET_VERIFICATION_CODE,
        Handler::Quick(get_verification_code::handle),
    ),
    (&contract::LOGOUT, Handler::Writing(logout::handle)),
    (&contract::HEALTH, Handler::Quick(health::handle)),
];

fn route(path: &str) -> Option<(&'static Endpoint, Handler)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    ROUTES
        .into_iter()
        .find(|(endpoint, _)| endpoint.path == path)
}

/// What a request takes, beside a thread for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing.
    Quick,
    /// A wait for the database, which is slow.
    Waiting,
    /// A slow hash of a password.
    Hashing,
    /// A body that is read as it comes.
    Upload,
}

/// What a request takes, whose body is this if it is JSON and has come whole.
#[must_use]
pub fn pace(app: &App, request: &Request, body: Option<&[u8]>) -> Pace {
    let handler = match route(&request.path) {
        Some((endpoint, handler)) if endpoint.method == request.method => handler,
        _ => return Pace::Quick,
    };
    let hashes = matches!(handler, Handler::Hashing(_));
    match handler {
        Handler::Upload(_) => Pace::Upload,
        Handler::Quick(_) => Pace::Quick,
        Handler::Hashing(_) | Handler::Writing(_) => {
            let pace = if hashes && app.hashes_are_slow() {
                Pace::Hashing
            } else {
                Pace::Waiting
            };
            let takes_long = pace == Pace::Hashing || app.writes_are_slow();
            // Without the answer to a captcha nothing is hashed or written, so no permit is taken.
            let gets_far = || {
                !hashes
                    || body
                        .is_some_and(|body| captcha::is_right(app, &Form::read(body), request.now))
            };
            if takes_long && gets_far() {
                pace
            } else {
                Pace::Quick
            }
        }
    }
}

/// The body that a request may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None that is looked at.
    Nothing,
    /// JSON.
    Json,
    /// A file.
    Upload,
}

/// The body that a request with this method and path may bring.
#[must_use]
pub fn wanted(method: &str, path: &str) -> Wanted {
    match route(path) {
        Some((endpoint, _)) if endpoint.method != method || method != "POST" => Wanted::Nothing,
        Some((_, Handler::Upload(_))) => Wanted::Upload,
        Some(_) => Wanted::Json,
        None => Wanted::Nothing,
    }
}

/// The refusal of an upload that is certain before its body is read, of which so many bytes were
/// announced.
#[must_use]
pub fn refuse_upload(app: &App, request: &Request, announced: u64) -> Option<Reply> {
    let outcome = upload_avatar::check(app, request, announced).err()?;
    Some(refusal(app, &contract::UPLOAD_AVATAR, request, outcome))
}

/// Answers a request to an interface; `None` if the path is not one.
pub fn answer(app: &App, request: &mut Request, body: &mut dyn Read) -> Option<Reply> {
    let (endpoint, handler) = route(&request.path)?;
    Some(interface(app, endpoint, handler, request, body))
}

fn interface(
    app: &App,
    endpoint: &Endpoint,
    handler: Handler,
    request: &mut Request,
    body: &mut dyn Read,
) -> Reply {
    if request.method != endpoint.method {
        return endpoint.refusal(No::Method, None).into();
    }
    if !matches!(handler, Handler::Upload(_)) {
        match form(body) {
            Some(form) => request.form = form,
            None => return outside(413).into(),
        }
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| match handler {
        Handler::Quick(handle) | Handler::Writing(handle) | Handler::Hashing(handle) => {
            handle(app, request)
        }
        Handler::Upload(handle) => handle(app, request, body),
    }));
    // The panic hook has written the line.
    let outcome = outcome.unwrap_or(Err(No::Crashed.into()));
    match outcome {
        Ok(Done::Plain) => endpoint.done(None).into(),
        Ok(Done::Value(value)) => endpoint.done(Some(&value)).into(),
        Ok(Done::Captcha { key, picture }) => captcha(key, picture),
        Err(stop) => refusal(app, endpoint, request, stop),
    }
}

/// The reply to a request that a handler has refused.
fn refusal(app: &App, endpoint: &Endpoint, request: &Request, stop: Stop) -> Reply {
    match stop {
        Stop {
            reason: No::TooOften(seconds),
            ..
        } => retry_after(429, seconds),
        Stop {
            reason: No::Moved, ..
        } => retry_after(503, 1),
        Stop {
            reason,
            cause,
            detail,
        } => {
            if matches!(reason, No::PasswordWrong | No::KeyWrong | No::UserUnknown) {
                log::line(
                    Level::Info,
                    &format!(
                        "failed sign-in from {} at {}",
                        request.source(),
                        endpoint.path
                    ),
                );
                remember_refusal(app, endpoint, request);
            }
            if let Some(cause) = cause {
                log::line(Level::Error, &format!("{}: {cause}", endpoint.path));
            }
            if let Some(detail) = &detail {
                log::line(Level::Debug, &format!("{}: {detail}", endpoint.path));
            }
            // GET has no body that could be wrong.
            let fault = request.form.fault().filter(|_| endpoint.method == "POST");
            endpoint.refusal(reason, detail.as_deref().or(fault)).into()
        }
    }
}

/// An answer about HTTP itself, to be tried again after so many seconds.
fn retry_after(status: u16, seconds: u64) -> Reply {
    let mut reply = Reply::from(outside(status));
    reply
        .headers
        .push(("Retry-After", seconds.to_string().into()));
    reply
}

/// Changes the database in one transaction, and takes note of it; `change` says the id of the user
/// whom it was done to, or that nothing was done.
fn noted(
    app: &App,
    durable: Durable,
    endpoint: &Endpoint,
    request: &Request,
    change: impl FnOnce(&Transaction) -> rusqlite::Result<Option<i64>>,
) -> Result<Option<i64>, Fault> {
    app.write(durable, |db| {
        let user = change(db)?;
        if let Some(id) = user {
            note(app, endpoint, request, db, id)?;
        }
        Ok(user)
    })
}

/// Takes note of what a request does to the user with this id.
fn note(
    app: &App,
    endpoint: &Endpoint,
    request: &Request,
    db: &Transaction,
    id: i64,
) -> rusqlite::Result<()> {
    audit::done(
        db,
        &event(app, endpoint, request, &request.source()),
        Some(id),
    )
}

/// How long a failed sign-in waits with its answer while another process has the database locked.
const MOMENT: Duration = Duration::from_millis(50);

/// Takes note of a failed sign-in. That this fails changes no answer.
fn remember_refusal(app: &App, endpoint: &Endpoint, request: &Request) {
    if app.config.audit_days == 0 {
        return;
    }
    let source = request.source();
    let event = event(app, endpoint, request, &source);
    let noted = app.write_within(MOMENT, Durable::Soon, |db| {
        audit::refused(db, &event, name(&request.form))
    });
    if let Err(fault) = noted {
        log::line(
            Level::Error,
            &format!("{}: audit: {}", endpoint.path, fault.cause()),
        );
    }
}

/// The user's name in a form; interfaces call it this or that.
fn name(form: &Form) -> &str {
    ["username", "name"]
        .into_iter()
        .map(|field| form.get(field))
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

/// What a request does to an account, for the audit log.
fn event<'a>(app: &App, endpoint: &Endpoint, request: &Request, source: &'a str) -> Event<'a> {
    Event {
        at: request.now,
        name: endpoint.name(),
        source,
        days: app.config.audit_days,
    }
}

/// The form in a body; nothing if it is too long.
fn form(body: &mut dyn Read) -> Option<Form> {
    let mut bytes = Vec::new();
    match body.take(LONGEST + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > LONGEST => None,
        Ok(_) => Some(Form::read(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
        Err(_) => Some(Form::unreadable(&format!(
            "it broke off after {} bytes",
            bytes.len()
        ))),
    }
}

fn captcha(key: String, picture: Vec<u8>) -> Reply {
    Reply {
        status: 200,
        code: None,
        headers: vec![
            ("Content-Type", "image/png".into()),
            ("VerificationCodeKey", key.into()),
            ("Cache-Control", "no-store".into()),
            ("Cross-Origin-Resource-Policy", "cross-origin".into()),
        ],
        body: Body::Bytes(picture.into()),
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        let (reason, cause) = match fault {
            Fault::NotAsked(cause) => (No::NotAsked, cause),
            Fault::NotWritten(cause) => (No::NotWritten, cause),
        };
        Stop {
            cause: Some(cause),
            ..reason.into()
        }
    }
}

/// The digest of the token that a request carries where the endpoint wants it.
fn token(endpoint: &Endpoint, request: &Request) -> Result<[u8; 32], No> {
    match endpoint.token {
        Token::Header if !request.token.is_empty() => Ok(crypto::sha256(&request.token)),
        Token::Body if !request.form.get("token").is_empty() => {
            Ok(crypto::sha256(request.form.get("token")))
        }
        _ => Err(No::TokenAbsent),
    }
}

/// Asks that a token is good, and says the id of its owner.
fn admit(app: &App, token: &[u8; 32], now: i64) -> Result<i64, Stop> {
    app.read(|db| sessions::owner(db, token, now))?
        .ok_or_else(|| No::TokenUnknown.into())
}

fn too_often(wait: Duration) -> No {
    // Rounded up, so that whoever waits so long has waited long enough.
    No::TooOften(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// A guess that is settled in any case. If it ends without a verdict, because of a panic, say, it
/// costs nothing.
struct Attempt<'a> {
    app: &'a App,
    guess: Guess,
    verdict: Verdict,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Where another worker has the counts, the guess went over as a wrong one.
        if let Ok(mut throttle) = self.app.throttle() {
            throttle.settle(mem::take(&mut self.guess), self.verdict);
        }
    }
}

/// Asks that the client may guess at these secrets, and remembers how `attempt` ends.
fn guarded(
    app: &App,
    request: &Request,
    secrets: &[Secret],
    attempt: impl FnOnce() -> Outcome,
) -> Outcome {
    let guess = app
        .throttle()?
        .admit(secrets, Source::of(request.client), request.uptime)
        .map_err(too_often)?;
    let mut admitted = Attempt {
        app,
        guess,
        verdict: Verdict::Unknown,
    };
    let outcome = attempt();
    admitted.verdict = match &outcome {
        Ok(_) => Verdict::Right,
        Err(Stop {
            reason: No::PasswordWrong | No::KeyWrong | No::UserUnknown,
            ..
        }) => Verdict::Wrong,
        Err(_) => Verdict::Unknown,
    };
    outcome
}

/// Asks that the rules allow this field as a new password.
fn strong(app: &App, form: &Form, field: &str) -> Result<(), No> {
    policy::allow(&app.config, form.get(field), name(form)).map_err(|_| No::PasswordTooWeak)
}

/// Takes one from a budget of the client.
fn spend(app: &App, request: &Request, budget: Budget) -> Result<(), No> {
    app.throttle()?
        .spend(budget, Source::of(request.client), request.uptime)
        .map_err(too_often)
}

/// Changes the account of a token's owner; in the same transaction the token is good.
fn as_owner<T>(
    app: &App,
    token: &[u8; 32],
    now: i64,
    change: impl FnOnce(&Transaction, i64) -> rusqlite::Result<T>,
) -> Result<T, Stop> {
    let changed = app.write(Durable::Now, |db| match sessions::owner(db, token, now)? {
        Some(id) => change(db, id).map(Some),
        None => Ok(None),
    })?;
    changed.ok_or_else(|| No::TokenUnknown.into())
}

/// A text as the value of an answer.
fn value(value: &impl serde::Serialize) -> Outcome {
    Ok(Done::Value(
        serde_json::value::to_raw_value(value).expect("texts and numbers serialise"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::store::{Reader, Store};
    use std::path::PathBuf;

    /// An app over a fresh folder.
    fn fresh() -> (App, PathBuf) {
        let data =
            std::env::temp_dir().join(format!("accountd-api-{}", crypto::random_alphanumeric(10)));
        std::fs::create_dir(&data).unwrap();
        let (config, _) = config::load(&data, &|_| None, &[]).unwrap();
        let (store, reader) = (Store::open(&data).unwrap(), Reader::open(&data).unwrap());
        (App::new(config, data.clone(), None, store, reader), data)
    }

    #[test]
    fn what_ends_without_a_verdict_costs_no_guess() {
        let (app, data) = fresh();
        let request = Request::default();
        let guess = |outcome: fn() -> Outcome| {
            catch_unwind(AssertUnwindSafe(|| {
                guarded(&app, &request, &[Secret::Password("rei")], outcome)
            }))
        };
        let faults: [fn() -> Outcome; 4] = [
            || panic!("on purpose"),
            || Err(No::NotAsked.into()),
            || Err(No::NotWritten.into()),
            || Err(No::PasswordTooWeak.into()),
        ];
        for fault in faults.iter().cycle().take(100) {
            let refused = matches!(
                guess(*fault),
                Ok(Err(Stop {
                    reason: No::TooOften(_),
                    ..
                }))
            );
            assert!(!refused);
        }
        for nth in 0..4 {
            let Ok(Err(stop)) = guess(|| Err(No::PasswordWrong.into())) else {
                panic!("it is wrong")
            };
            assert_eq!(
                stop.reason,
                if nth < 3 {
                    No::PasswordWrong
                } else {
                    No::TooOften(1)
                }
            );
        }
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_worker_that_gave_away_its_state_spends_nothing_of_it() {
        let ((old, data), (new, other)) = (fresh(), fresh());
        let Done::Captcha { key, .. } = captcha::hand_out(&old, Source::of(None), 0).unwrap()
        else {
            panic!()
        };
        new.restore(&old.give_away());
        for (path, body) in [
            ("/api/get_verification_code", String::new()),
            (
                "/api/login",
                format!("{{\"verification_code_key\":\"{key}\",\"verification_code\":\"x\"}}"),
            ),
        ] {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let ask = |app: &App| {
                let mut request = Request {
                    method: method.into(),
                    path: path.into(),
                    ..Request::default()
                };
                answer(app, &mut request, &mut body.as_bytes()).unwrap()
            };
            let reply = ask(&old);
            assert_eq!(
                (reply.status, &*reply.headers.last().unwrap().1),
                (503, "1"),
                "{path}"
            );
            let expected = if method == "GET" { None } else { Some(503) };
            assert_eq!(
                (ask(&new).status, ask(&new).code),
                (200, expected),
                "{path}"
            );
        }
        let refused = guarded(&old, &Request::default(), &[], || {
            panic!("a guess is admitted")
        });
        assert!(matches!(
            refused,
            Err(Stop {
                reason: No::Moved,
                ..
            })
        ));
        for data in [data, other] {
            std::fs::remove_dir_all(data).unwrap();
        }
    }

    #[test]
    fn a_request_without_a_captcha_takes_no_permit_to_hash() {
        let (mut app, data) = fresh();
        app.config.password_hash = config::Scheme::Argon2id;
        app.captcha_answer = Some("right".into());
        let Done::Captcha { key, .. } = captcha::hand_out(&app, Source::of(None), 0).unwrap()
        else {
            panic!()
        };
        let request = Request {
            method: "POST".into(),
            path: contract::LOGIN.path.into(),
            ..Request::default()
        };
        let form = |answer: &str| {
            format!("{{\"verification_code_key\":\"{key}\",\"verification_code\":\"{answer}\"}}")
        };
        for (body, expected) in [
            (None, Pace::Quick),
            (Some("{}".into()), Pace::Quick),
            (Some(form("wrong")), Pace::Quick),
            (Some(form("RIGHT")), Pace::Hashing),
            // Looking at it has not used it up.
            (Some(form("right")), Pace::Hashing),
        ] {
            assert_eq!(
                pace(&app, &request, body.as_deref().map(str::as_bytes)),
                expected,
                "{body:?}"
            );
        }
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn answers_of_a_panic() {
        let (app, data) = fresh();
        for (endpoint, status, code) in [
            (&contract::REGISTERED, 200, 400),
            (&contract::LOGIN, 500, 169),
            (&contract::UPLOAD_AVATAR, 200, 169),
            (&contract::GET_VERIFICATION_CODE, 200, 169),
        ] {
            let mut request = Request {
                method: endpoint.method.into(),
                path: endpoint.path.into(),
                ..Request::default()
            };
            let reply = interface(
                &app,
                endpoint,
                Handler::Quick(|_, _| panic!("on purpose")),
                &mut request,
                &mut &b"{}"[..],
            );
            assert_eq!(
                (reply.status, reply.code),
                (status, Some(code)),
                "{}",
                endpoint.path
            );
        }
        // A panic while the database's lock is held leaves it usable.
        let caught = catch_unwind(AssertUnwindSafe(|| -> Result<(), Fault> {
            app.write(Durable::Now, |db| {
                db.execute(
                    "INSERT INTO users VALUES (1, 'a', 'a', 'a', 'a', 'a', 'a', 1, NULL)",
                    [],
                )?;
                panic!("on purpose")
            })
        }));
        assert!(caught.is_err());
        let users = app
            .read(|db| db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0)));
        assert_eq!(users.unwrap(), 0);
        std::fs::remove_dir_all(data).unwrap();
    }
}
