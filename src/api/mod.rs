//! The router: from a path to the handler, and from the handler's outcome to the reply.

pub mod body;
mod call;
mod checks;
mod confirm;
mod cookie;
mod delete_account;
mod fixture;
mod forget_password;
mod forward_auth;
mod get_verification_code;
mod health;
mod key;
mod link_info;
mod login;
mod logout;
mod password;
mod registered;
mod session;
mod sessions;
mod totp_begin;
mod totp_confirm;
mod totp_end;
mod totp_info;
mod update_email;
mod update_key;
mod update_password;
mod update_show_name;
mod upload_avatar;
mod user_info;

use crate::app::App;
use crate::contract::{self, Cost, Endpoint, Outcome, Reason, Refusal, Success, Token, outside};
use crate::http::{Body, Reply, Request};
use crate::log::{self, Level};
use body::json::JsonBody;
use call::Call;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The longest JSON body in bytes, `contract.md`.
const LONGEST_JSON: u64 = 64 * 1024;

/// The function that answers an endpoint.
#[derive(Clone, Copy)]
enum Handler {
    /// Takes the JSON body.
    Json(fn(&Call) -> Outcome),
    /// Reads a body that may be large.
    Upload(fn(&Call, &mut dyn Read) -> Outcome),
}

/// Every interface and its handler.
const ROUTES: [(&Endpoint, Handler); 19] = [
    (&contract::REGISTERED, Handler::Json(registered::handle)),
    (&contract::LOGIN, Handler::Json(login::handle)),
    (&contract::USER_INFO, Handler::Json(user_info::handle)),
    (
        &contract::UPDATE_PASSWORD,
        Handler::Json(update_password::handle),
    ),
    (
        &contract::UPDATE_SHOW_NAME,
        Handler::Json(update_show_name::handle),
    ),
    (&contract::UPDATE_KEY, Handler::Json(update_key::handle)),
    (
        &contract::FORGET_PASSWORD,
        Handler::Json(forget_password::handle),
    ),
    (
        &contract::UPLOAD_AVATAR,
        Handler::Upload(upload_avatar::handle),
    ),
    (
        &contract::GET_VERIFICATION_CODE,
        Handler::Json(get_verification_code::handle),
    ),
    (&contract::LOGOUT, Handler::Json(logout::handle)),
    (&contract::SESSIONS, Handler::Json(sessions::handle)),
    (&contract::UPDATE_EMAIL, Handler::Json(update_email::handle)),
    (
        &contract::DELETE_ACCOUNT,
        Handler::Json(delete_account::handle),
    ),
    (&contract::LINK_INFO, Handler::Json(link_info::handle)),
    (&contract::TOTP_INFO, Handler::Json(totp_info::handle)),
    (&contract::TOTP_BEGIN, Handler::Json(totp_begin::handle)),
    (&contract::TOTP_CONFIRM, Handler::Json(totp_confirm::handle)),
    (&contract::TOTP_END, Handler::Json(totp_end::handle)),
    (&contract::HEALTH, Handler::Json(health::handle)),
];

fn route(path: &str) -> Option<(&'static Endpoint, Handler)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    ROUTES
        .into_iter()
        .find(|(endpoint, _)| endpoint.path == path)
}

/// Whether a path is that of [`contract::FORWARD_AUTH`], which takes every method.
pub fn is_forward_auth(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == contract::FORWARD_AUTH.path
}

/// The body that a request may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// A body that is not looked at.
    Ignored,
    /// JSON.
    Json,
    /// A file.
    Upload,
}

/// The body that a request with this method and path may bring.
pub fn body_kind(method: &str, path: &str) -> BodyKind {
    match route(path) {
        Some((endpoint, _)) if endpoint.method != method || method != "POST" => BodyKind::Ignored,
        Some((_, Handler::Upload(_))) => BodyKind::Upload,
        Some(_) => BodyKind::Json,
        None => BodyKind::Ignored,
    }
}

/// What a request takes at this moment. `body` is its JSON body, if that has arrived whole.
pub fn cost(app: &App, request: &Request, body: Option<&[u8]>) -> Cost {
    let Some((endpoint, _)) = route(&request.path) else {
        return Cost::Quick;
    };
    if endpoint.method != request.method {
        return Cost::Quick;
    }
    let cost = match endpoint.cost {
        Cost::Hash if app.hashes_are_slow() => Cost::Hash,
        Cost::Hash | Cost::Write if app.writes_are_slow() => Cost::Write,
        Cost::Hash | Cost::Write | Cost::Quick => return Cost::Quick,
        Cost::Upload => return Cost::Upload,
    };
    // A request without the right answer to its captcha, or without a valid token, is refused before
    // it hashes or writes.
    let may_act: fn(&App, &JsonBody, i64) -> bool = match endpoint.token {
        _ if endpoint.captcha => checks::has_right_captcha,
        Token::Body => checks::has_valid_token,
        Token::None | Token::Header => return cost,
    };
    let may_act = body.is_some_and(|body| may_act(app, &JsonBody::read(body), request.now));
    if may_act { cost } else { Cost::Quick }
}

/// The refusal of an upload that is certain before its body, of `announced` bytes, is read.
pub fn refuse_upload(app: &App, request: &Request, announced: u64) -> Option<Reply> {
    let (endpoint, _) = route(&request.path)?;
    let call = Call::new(app, endpoint, request, JsonBody::default());
    let refused = upload_avatar::check(&call, announced).err()?;
    Some(refusal(&call, refused))
}

/// Answers a request to an interface; `None` if the path is not one.
pub fn answer(app: &App, request: &Request, body: &mut dyn Read) -> Option<Reply> {
    if is_forward_auth(&request.path) {
        let answered = catch_unwind(AssertUnwindSafe(|| forward_auth::answer(app, request)));
        return Some(answered.unwrap_or_else(|_| outside(503).into()));
    }
    let (endpoint, handler) = route(&request.path)?;
    Some(interface(app, endpoint, handler, request, body))
}

fn interface(
    app: &App,
    endpoint: &'static Endpoint,
    handler: Handler,
    request: &Request,
    body: &mut dyn Read,
) -> Reply {
    if request.method != endpoint.method {
        return endpoint.refusal(Reason::WrongMethod, None).into();
    }
    let json = match handler {
        Handler::Json(_) => read_json(body),
        Handler::Upload(_) => Some(JsonBody::default()),
    };
    let Some(json) = json else {
        return outside(413).into();
    };
    let call = Call::new(app, endpoint, request, json);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        check(&call)?;
        match handler {
            Handler::Json(handle) => handle(&call),
            Handler::Upload(handle) => handle(&call, body),
        }
    }));
    // The panic hook has logged a panic.
    match outcome.unwrap_or_else(|_| Err(Reason::Panicked.into())) {
        Ok(success) => success_reply(endpoint, success),
        Err(refused) => refusal(&call, refused),
    }
}

fn success_reply(endpoint: &Endpoint, success: Success) -> Reply {
    match success {
        Success::Sentence => endpoint.success(None).into(),
        Success::Value(value) => endpoint.success(Some(&value)).into(),
        Success::Captcha { key, picture } => captcha(key, picture),
        Success::WithCookie(success, cookie) => {
            let mut reply = success_reply(endpoint, *success);
            reply.headers.push(("Set-Cookie", cookie.into()));
            reply
        }
    }
}

/// The JSON body; `None` if it is too long.
fn read_json(body: &mut dyn Read) -> Option<JsonBody> {
    let mut bytes = Vec::new();
    match body.take(LONGEST_JSON + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > LONGEST_JSON => None,
        Ok(_) => Some(JsonBody::read(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
        Err(_) => {
            let why = format!("it broke off after {} bytes", bytes.len());
            Some(JsonBody::unreadable(&why))
        }
    }
}

/// What the contract's table asks of every request to the endpoint: a readable body if it has a row
/// for another one, a captcha, a token.
fn check(call: &Call) -> Result<(), Reason> {
    if call.body.error().is_some() && call.endpoint.row(Reason::BodyUnreadable).is_some() {
        return Err(Reason::BodyUnreadable);
    }
    if call.endpoint.captcha {
        checks::captcha(call)?;
    }
    if call.endpoint.token != Token::None {
        call.token()?;
    }
    Ok(())
}

/// The reply to a request that was refused.
fn refusal(call: &Call, refusal: Refusal) -> Reply {
    let Refusal {
        reason,
        cause,
        detail,
    } = refusal;
    match reason {
        Reason::TooOften(seconds) => return retry_after(429, seconds),
        Reason::Moved => return retry_after(503, 1),
        _ => {}
    }
    let Endpoint { path, method, .. } = call.endpoint;
    if reason == Reason::OtpAbsent && call.endpoint.captcha {
        // The person is asked for the code now, and should not have to solve another captcha.
        checks::put_captcha_back(call);
    }
    // With a cause, it is the server's fault.
    if checks::is_failed_sign_in(reason) && cause.is_none() {
        checks::record_failed_sign_in(call, call.user_name());
    }
    if let Some(cause) = cause {
        log::line(Level::Error, &format!("{path}: {cause}"));
    }
    if let Some(detail) = &detail {
        log::line(Level::Debug, &format!("{path}: {detail}"));
    }
    let body_error = call.body.error().filter(|_| *method == "POST");
    call.endpoint
        .refusal(reason, detail.as_deref().or(body_error))
        .into()
}

/// An answer about HTTP itself that asks the client to try again after this many seconds.
fn retry_after(status: u16, seconds: u64) -> Reply {
    let mut reply = Reply::from(outside(status));
    reply
        .headers
        .push(("Retry-After", seconds.to_string().into()));
    reply
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

#[cfg(test)]
fn handler(endpoint: &Endpoint) -> Handler {
    route(endpoint.path).expect("every endpoint has a route").1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;
    use crate::contract::{ADDITIONS, DOCUMENT};
    use crate::store::{Durable, Fault};
    use fixture::Fixture;

    #[test]
    fn every_endpoint_has_a_route_and_its_cost_fits_the_handler() {
        for endpoint in DOCUMENT.iter().chain(&ADDITIONS) {
            for path in [endpoint.path.to_string(), format!("{}/", endpoint.path)] {
                let (found, handler) = route(&path).unwrap_or_else(|| panic!("{path}"));
                assert_eq!(found.path, endpoint.path);
                let uploads = matches!(handler, Handler::Upload(_));
                assert_eq!(uploads, endpoint.cost == Cost::Upload, "{path}");
            }
        }
        for path in [
            "",
            "/",
            "/api",
            "/api/",
            "/api/login//",
            "//api/login",
            "/api/Login",
        ] {
            assert!(route(path).is_none(), "{path}");
        }
    }

    #[test]
    fn another_method_is_refused_with_the_row_of_the_endpoint() {
        let fixture = Fixture::new();
        for endpoint in DOCUMENT.iter().chain(&ADDITIONS) {
            for method in ["GET", "POST", "HEAD", "PUT", "post"] {
                if method == endpoint.method {
                    continue;
                }
                let mut request = fixture.request(endpoint);
                request.method = method.into();
                let reply = answer(&fixture.app, &request, &mut &b"{}"[..]).unwrap();
                assert_eq!(
                    (reply.status, reply.code),
                    (200, Some(500)),
                    "{}",
                    endpoint.path
                );
                assert_eq!(cost(&fixture.app, &request, None), Cost::Quick);
                assert_eq!(body_kind(method, endpoint.path), BodyKind::Ignored);
            }
        }
    }

    #[test]
    fn a_json_body_has_a_limit() {
        let fixture = Fixture::new();
        let request = fixture.request(&contract::USER_INFO);
        for (size, status) in [(64 * 1024, 200), (64 * 1024 + 1, 413)] {
            let body = format!("{{}}{}", " ".repeat(size - 2));
            let reply = answer(&fixture.app, &request, &mut body.as_bytes()).unwrap();
            assert_eq!(reply.status, status, "{size}");
        }
    }

    #[test]
    fn a_worker_that_has_handed_its_state_over_spends_none_of_it() {
        let (old, new) = (Fixture::new(), Fixture::new());
        let key = old.captcha("right");
        new.app.restore(&old.app.give_away());
        let body = format!(r#"{{"verification_code_key":"{key}","verification_code":"x"}}"#);
        for (endpoint, body, expected) in [
            (&contract::GET_VERIFICATION_CODE, "", None),
            (&contract::LOGIN, &*body, Some(503)),
        ] {
            let request = old.request(endpoint);
            let ask = |app: &App| answer(app, &request, &mut body.as_bytes()).unwrap();
            let refused = ask(&old.app);
            let wait = &refused.headers.last().unwrap().1;
            assert_eq!((refused.status, &**wait), (503, "1"), "{}", endpoint.path);
            let reply = ask(&new.app);
            assert_eq!(
                (reply.status, reply.code),
                (200, expected),
                "{}",
                endpoint.path
            );
        }
    }

    #[test]
    fn only_a_request_with_the_right_captcha_costs_a_hash() {
        let mut fixture = Fixture::new();
        fixture.app.config.password_hash = Scheme::Argon2id;
        let key = fixture.captcha("right");
        let request = fixture.request(&contract::LOGIN);
        let body = |answer: &str| {
            format!(r#"{{"verification_code_key":"{key}","verification_code":"{answer}"}}"#)
        };
        for (body, expected) in [
            (None, Cost::Quick),
            (Some("{}".into()), Cost::Quick),
            (Some(body("wrong")), Cost::Quick),
            (Some(body("RIGHT")), Cost::Hash),
            // A look does not use the captcha up.
            (Some(body("right")), Cost::Hash),
        ] {
            let found = cost(&fixture.app, &request, body.as_deref().map(str::as_bytes));
            assert_eq!(found, expected, "{body:?}");
        }
    }

    #[test]
    fn only_a_request_with_a_valid_token_costs_a_hash() {
        let mut fixture = Fixture::new();
        let (_, token) = fixture.signed_in("rei");
        fixture.app.config.password_hash = Scheme::Argon2id;
        let request = fixture.request(&contract::DELETE_ACCOUNT);
        for (body, expected) in [
            (None, Cost::Quick),
            (Some("{}".into()), Cost::Quick),
            (Some(r#"{"token":"a"}"#.into()), Cost::Quick),
            (Some(format!(r#"{{"token":"{token}"}}"#)), Cost::Hash),
        ] {
            let found = cost(&fixture.app, &request, body.as_deref().map(str::as_bytes));
            assert_eq!(found, expected, "{body:?}");
        }
    }

    #[test]
    fn a_panic_is_answered_and_leaves_the_database_usable() {
        let fixture = Fixture::new();
        for (endpoint, status, code) in [
            (&contract::REGISTERED, 200, 400),
            (&contract::LOGIN, 500, 169),
            (&contract::USER_INFO, 500, 169),
            (&contract::UPLOAD_AVATAR, 200, 169),
            (&contract::GET_VERIFICATION_CODE, 200, 169),
        ] {
            let mut request = fixture.request(endpoint);
            request.headers.token = "a".into();
            let key = fixture.captcha("x");
            let body = format!(
                r#"{{"token":"a","verification_code_key":"{key}","verification_code":"x"}}"#
            );
            let panics = Handler::Json(|_| panic!("on purpose"));
            let app = &fixture.app;
            let reply = interface(app, endpoint, panics, &request, &mut body.as_bytes());
            assert_eq!(
                (reply.status, reply.code),
                (status, Some(code)),
                "{}",
                endpoint.path
            );
        }
        let caught = catch_unwind(AssertUnwindSafe(|| -> Result<(), Fault> {
            fixture.app.write(Durable::Now, |db| {
                let row = "INSERT INTO users VALUES (1, 'a', 'a', 'a', 'a', 'a', 'a', 1, NULL)";
                db.execute(row, [])?;
                panic!("on purpose")
            })
        }));
        assert!(caught.is_err());
        let users = fixture
            .app
            .read(|db| db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, u32>(0)));
        assert_eq!(users.unwrap(), 0);
    }
}
