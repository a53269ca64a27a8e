//! The files of the web page: their headers, their dependence on settings, and caching.
//! scripts/page.sh tests the page in a browser.

use crate::support::{Folder, Response, Server};
use accountd::contract::{ADDITIONS, CAPTCHA, DOCUMENT, FORWARD_AUTH};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

fn get(server: &Server, path: &str) -> Response {
    server.send("GET", path, &[], b"")
}

/// The text after each `mark`, up to a quotation mark.
fn behind<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.split(mark)
        .skip(1)
        .map(|rest| rest.split(['"', '\'']).next().unwrap())
        .collect()
}

/// The paths of the page and of all files that a browser fetches with it.
fn paths(server: &Server) -> BTreeSet<String> {
    let index = get(server, "/").text();
    let named = behind(&index, "=\"page/")
        .into_iter()
        .filter(|name| !name.ends_with(".json"));
    named
        .map(|name| format!("/page/{name}"))
        .chain(["/".into()])
        .collect()
}

/// The path of the script or the style sheet, whose name contains a digest.
fn path(server: &Server, extension: &str) -> String {
    let mut paths = paths(server).into_iter();
    paths.find(|path| path.ends_with(extension)).unwrap()
}

#[test]
fn its_files_are_complete_small_and_refer_to_no_other_host() {
    for language in ["en", "zh"] {
        files_are_complete_and_small(language);
    }
}

fn files_are_complete_and_small(language: &str) {
    let server = Server::start();
    let (mut size, mut sent) = (0, 0);
    let paths = paths(&server);
    for path in &paths {
        let wished = ("Accept-Language", language);
        let response = server.send("GET", path, &[wished], b"");
        assert_eq!(response.status, 200, "{path}");
        size += response.body.len();
        let gzip = [("Accept-Encoding", "gzip, deflate, br"), wished];
        let compressed = server.send("GET", path, &gzip, b"");
        assert_eq!(compressed.header("Content-Encoding"), Some("gzip"));
        assert_eq!(compressed.header("Vary"), response.header("Vary"));
        sent += compressed.body.len();
        let mut whole = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::bufread::GzDecoder::new(&*compressed.body),
            &mut whole,
        )
        .unwrap();
        assert_eq!(whole, response.body, "{path}");
        let policy = response.header("Content-Security-Policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{path}: {policy}"
        );
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
        let kind = match path.rsplit_once('.') {
            None => "text/html; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some(_) => "image/svg+xml",
        };
        assert_eq!(response.header("Content-Type"), Some(kind), "{path}");
        let text = response.text();
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("://"), "{path} names another host");
        assert!(
            !text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick"),
            "{path}"
        );
    }
    assert!(size <= 90_000, "{size} bytes in {language}");
    assert!(sent <= 25_000, "{sent} bytes as sent in {language}");
    // One script, one style sheet and the icon: nothing waits for a file that another one names.
    assert_eq!(paths.len(), 4, "{paths:?}");
}

#[test]
fn browsers_cache_it_until_it_changes() {
    let server = Server::start();
    for path in paths(&server) {
        let response = get(&server, &path);
        let is_named = path.ends_with(".js") || path.ends_with(".css");
        let cache = if is_named {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        assert_eq!(response.header("Cache-Control"), Some(cache), "{path}");
        let tag = response.header("ETag").unwrap().to_string();
        for known in [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
            let again = server.send("GET", &path, &[("If-None-Match", known)], b"");
            assert_eq!(
                (again.status, again.body.len(), again.header("ETag")),
                (304, 0, Some(&*tag)),
                "{path} {known}"
            );
        }
        assert_eq!(
            server
                .send("GET", &path, &[("If-None-Match", "\"x\"")], b"")
                .status,
            200
        );
    }
    // The tag depends on the settings.
    let tag = |server: &Server, path: &str| get(server, path).header("ETag").unwrap().to_string();
    let closed = Server::with(json!({"registration_function_status": false}));
    assert_eq!(tag(&server, "/"), tag(&Server::start(), "/"));
    assert_ne!(tag(&server, "/"), tag(&closed, "/"));
    assert_eq!(path(&server, ".js"), path(&closed, ".js"));
}

#[test]
fn only_get_and_head_of_known_paths_are_answered() {
    let server = Server::start();
    let (script, style) = (path(&server, ".js"), path(&server, ".css"));
    for path in ["/", "/?a=b", &script, &format!("{style}?v=1")] {
        let whole = get(&server, path);
        let mut stream = server.connect();
        std::io::Write::write_all(
            &mut stream,
            &crate::support::request("HEAD", path, &[], b""),
        )
        .unwrap();
        let head = Response::read(&mut stream, true);
        assert_eq!(head.status, 200, "{path}");
        for name in ["Content-Length", "Content-Type", "ETag"] {
            assert_eq!(head.header(name), whole.header(name), "{path}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(
                server.send(method, path, &[], b"").status,
                404,
                "{method} {path}"
            );
        }
    }
    for path in [
        "/page",
        "/page/",
        "/page/nothing.js",
        "/page/main.js",
        "/page/main-0123456789abcdef.js",
        "/page/../page.rs",
        &script.replace("/page/", "/page//"),
        &script.replace("/page/", "/Page/"),
        &script.replace("/page/", "/"),
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
}

#[test]
fn it_can_be_disabled() {
    let server = Server::with(json!({"page": false}));
    let redirect = "/.well-known/change-password".to_string();
    for path in ["/".into(), path(&Server::start(), ".js"), redirect] {
        let response = get(&server, &path);
        assert_eq!((response.status, response.code()), (404, 404), "{path}");
    }
    server.user("rei");
}

#[test]
fn it_reflects_the_settings() {
    let attributes = |settings: Value| {
        let index = get(&Server::with(settings), "/").text();
        // The JSON of the limits, and the texts, have braces.
        let (page, _) = index
            .split_once("<script type=\"application/json\"")
            .unwrap();
        assert_eq!(page.matches('{').count(), 1, "a placeholder is left");
        let of = |name: &str| {
            behind(&index, &format!("data-{name}=\""))
                .first()
                .map(ToString::to_string)
                .unwrap()
        };
        [
            "registration",
            "reset",
            "too-small",
            "largest",
            "least",
            "common",
            "cookie-domain",
            "captcha-ttl",
            "usernames",
        ]
        .map(of)
    };
    assert_eq!(
        attributes(json!({})),
        [
            "open", "open", "10240", "10485760", "0", "allowed", "", "300", "any"
        ]
    );
    assert_eq!(
        attributes(
            json!({"registration_function_status": false, "max_avatar_bytes": 20_000, "min_password_length": 8})
        ),
        [
            "closed", "open", "10240", "20000", "8", "allowed", "", "300", "any"
        ]
    );
    let off = attributes(
        json!({"forgot_password_function_status": false, "refuse_common_passwords": true}),
    );
    assert_eq!((&*off[1], &*off[5]), ("closed", "refused"));
    let shared = attributes(json!({"cookie_domain": "Example.org"}));
    assert_eq!(shared[6], "example.org");
    let plain = attributes(json!({"captcha_ttl_seconds": 60, "usernames": "plain"}));
    assert_eq!((&*plain[7], &*plain[8]), ("60", "plain"));
}

#[test]
fn its_forms_have_the_fields_of_the_interfaces() {
    let server = Server::start();
    let index = get(&server, "/").text();
    let mut forms = BTreeSet::new();
    for form in index.split("<form").skip(1) {
        let form = form.split("</form>").next().unwrap();
        let api = behind(form, "data-api=\"")[0];
        let endpoint = DOCUMENT
            .iter()
            .chain(&ADDITIONS)
            .find(|endpoint| endpoint.path == format!("/api/{api}"))
            .expect(api);
        let expected: BTreeSet<&str> = endpoint.fields.iter().map(|field| field.name).collect();
        let mut names = BTreeSet::from_iter(behind(form, " name=\""));
        // sheet.js adds the password to these, or has it from the step before.
        if form.contains("data-go=") {
            names.insert("passwd");
        }
        assert_eq!(names, expected, "{api}");
        assert_eq!(form.contains("data-captcha"), endpoint.captcha, "{api}");
        forms.insert(api);
    }
    assert!(index.contains(&format!("name=\"{}\"", CAPTCHA[1])));
    let limits = behind(&index, "data-limits=\"")[0].replace("&quot;", "\"");
    let limits: Value = serde_json::from_str(&limits).unwrap();
    for field in DOCUMENT
        .iter()
        .chain(&ADDITIONS)
        .flat_map(|endpoint| endpoint.fields)
    {
        assert_eq!(limits[field.name], field.limit, "{}", field.name);
    }
    // Some interfaces have no form, such as user_info, upload_avatar and forward_auth.
    let script = get(&server, &path(&server, ".js")).text();
    for endpoint in DOCUMENT.iter().chain(&ADDITIONS).chain([&&FORWARD_AUTH]) {
        let Some(name) = endpoint.path.strip_prefix("/api/") else {
            continue;
        };
        assert!(
            forms.contains(name)
                || script.contains(&format!("\"{name}\""))
                || script.contains(&format!("\"api/{name}/\"")),
            "{name}"
        );
    }
}

/// The page in a language, and its texts.
fn in_language(server: &Server, accept: &str) -> (String, Value) {
    let response = server.send("GET", "/", &[("Accept-Language", accept)], b"");
    let vary = "Accept-Encoding, Accept-Language";
    assert_eq!(response.header("Vary"), Some(vary));
    let index = response.text();
    let (_, rest) = index
        .split_once("<script type=\"application/json\" id=\"texts\">")
        .unwrap();
    let texts = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    (index, texts)
}

#[test]
fn it_comes_in_the_language_of_the_browser_and_names_the_texts_of_the_other() {
    let server = Server::start();
    let (english, texts) = in_language(&server, "en-GB,en;q=0.9,zh;q=0.5");
    assert!(english.contains("<html lang=\"en\""));
    let (chinese, translated) = in_language(&server, "zh-CN,zh;q=0.9,en;q=0.5");
    assert!(chinese.contains("<html lang=\"zh-CN\""));
    for (index, other) in [(&chinese, &texts), (&english, &translated)] {
        let path = behind(index, "data-other=\"")[0];
        let file = get(&server, &format!("/{path}"));
        assert_eq!(file.header("Content-Type"), Some("application/json"));
        assert_eq!(&file.json(), other);
    }
    for name in behind(&english, "data-t=\"")
        .into_iter()
        .chain(behind(&english, "data-label=\""))
        .chain(behind(&english, "data-go=\""))
        .chain(behind(&english, "data-step=\""))
        .filter(|name| !name.is_empty())
    {
        let chinese = translated[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}"));
        assert!(!chinese.is_ascii(), "{name}: {chinese}");
        assert!(texts[name].is_string(), "{name}");
    }
}

#[test]
fn a_host_may_give_it_a_title_and_a_logo() {
    let server = Server::start();
    let index = get(&server, "/").text();
    assert!(index.contains("<title>accountd</title>") && index.contains("<b>accountd</b>"));
    assert_eq!(behind(&index, "data-title=\"")[0], "");
    assert_eq!(
        behind(&index, "<link rel=\"icon\" href=\""),
        ["page/icon.svg"]
    );
    assert_eq!(get(&server, "/page/logo").status, 404);

    let data = Folder::with(json!({"title": "Tom & <b>'s {limits}\"", "logo": "ours.svg"}));
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>";
    fs::write(data.0.join("ours.svg"), svg).unwrap();
    let server = Server::on(data);
    let index = get(&server, "/").text();
    let shown = "Tom &amp; &lt;b&gt;&#39;s {limits}&quot;";
    for part in [
        format!("<title>{shown}</title>"),
        format!("<b>{shown}</b>"),
        format!("data-title=\"{shown}\""),
        "<link rel=\"icon\" href=\"page/logo\">".into(),
        "<img src=\"page/logo\"".into(),
    ] {
        assert!(index.contains(&part), "{part}");
    }
    let logo = get(&server, "/page/logo");
    assert_eq!((logo.status, &*logo.text()), (200, svg));
    for (name, value) in [
        ("Content-Type", "image/svg+xml"),
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ] {
        assert_eq!(logo.header(name), Some(value));
    }
}

#[test]
fn a_logo_that_cannot_be_used_is_named_in_the_log_once() {
    let data = Folder::with(json!({"logo": "none.png"}));
    let server = Server::on(data);
    let line = server.lines.wait("the logo");
    let end = "none.png cannot be read: No such file or directory (os error 2); the page shows accountd's own";
    assert!(line.ends_with(end), "{line}");
    assert!(
        get(&server, "/")
            .text()
            .contains("<img src=\"page/icon.svg\"")
    );
    assert_eq!(get(&server, "/page/logo").status, 404);
    let lines = server.lines.all();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("the logo"))
            .count(),
        1
    );
}

#[test]
fn password_managers_find_the_form_that_changes_a_password() {
    let server = Server::start();
    let response = get(&server, "/.well-known/change-password");
    assert_eq!(response.status, 303);
    assert_eq!(response.header("Location"), Some("/#/account/password"));
    assert_eq!(
        server
            .post("/.well-known/change-password", &json!({}))
            .status,
        404
    );
}
