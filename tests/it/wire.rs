//! HTTP itself: framing, connections, methods of browsers, and what hostile clients send.

use crate::support::{CAPTCHA, FORM, Response, Server, form, new_user, picture, request};
use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

#[test]
fn a_body_may_come_in_chunks() {
    let server = Server::start();
    let body = server.solved(new_user("rei")).to_string();
    let mut raw =
        b"POST /api/registered/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(7) {
        raw.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        raw.extend_from_slice(chunk);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"0\r\n\r\n");
    let response = server.raw(&raw);
    assert_eq!(
        (response.code(), response.header("Connection")),
        (200, None)
    );
}

#[test]
fn a_byte_order_mark_is_skipped_and_the_content_type_does_not_matter() {
    let server = Server::start();
    let token = server.user("rei");
    let body = format!("\u{feff} {{\"token\": \"{token}\"}}\n");
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let response = server.send(
            "POST",
            "/api/user_info",
            &[("Content-Type", content_type)],
            body.as_bytes(),
        );
        assert_eq!(response.code(), 200, "{}", response.text());
    }
}

#[test]
fn unknown_paths_are_404_in_the_same_shape() {
    let server = Server::start();
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/Login",
        "/api/login//",
        "//api/login",
        "/api//login",
        "/api/login/x",
        "/s",
        "*",
    ] {
        let response = server.send("POST", path, &[], b"{}");
        assert_eq!((response.status, response.code()), (404, 404), "{path}");
        assert_eq!(response.json()["message"], "no such path");
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn browsers_on_other_origins_may_use_it() {
    let server = Server::start();
    let ask = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "token"),
    ];
    for path in [
        "/api/login",
        "/api/login/",
        "/api/upload_avatar/",
        "/api/get_verification_code",
        "/s/admin.jpg",
        "/nothing",
    ] {
        let response = server.send("OPTIONS", path, &ask, b"");
        assert_eq!(
            (
                response.status,
                response.body.len(),
                response.header("Content-Length")
            ),
            (204, 0, None),
            "{path}"
        );
        for (name, value) in [
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
            (
                "Access-Control-Allow-Headers",
                "content-type, token, x-requested-with",
            ),
            ("Access-Control-Max-Age", "86400"),
        ] {
            assert_eq!(response.header(name), Some(value));
        }
    }
    let without = [("Origin", "https://a.example")];
    assert_eq!(
        server.send("OPTIONS", "/api/login", &without, b"").code(),
        500
    );
    assert_eq!(
        server.send("OPTIONS", "/nothing", &without, b"").status,
        404
    );
}

#[test]
fn health_checks_of_load_balancers_are_answered() {
    let server = Server::start();
    // HAProxy's `option httpchk` without arguments.
    assert_eq!(server.raw(b"OPTIONS / HTTP/1.0\r\n\r\n").status, 204);
    assert_eq!(
        server.raw(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status,
        204
    );
}

#[test]
fn origins_can_be_listed() {
    let server =
        Server::with(json!({"cors_origins": ["https://a.example", "http://b.example:8080"]}));
    for (origin, allowed) in [
        ("https://a.example", Some("https://a.example")),
        ("http://b.example:8080", Some("http://b.example:8080")),
        ("https://c.example", None),
        ("https://a.example.evil", None),
        ("null", None),
    ] {
        for (method, path) in [
            ("POST", "/api/login"),
            ("GET", "/s/admin.jpg"),
            ("GET", "/nothing"),
        ] {
            let response = server.send(method, path, &[("Origin", origin)], b"");
            assert_eq!(response.header("Access-Control-Allow-Origin"), allowed);
            assert_eq!(response.header("Vary"), Some("Origin"));
        }
    }
}

#[test]
fn a_json_body_has_a_limit() {
    let server = Server::start();
    let token = server.user("rei");
    let body = |bytes: usize| {
        let start = format!("{{\"token\":\"{token}\",\"x\":\"");
        let padding = "x".repeat(bytes - start.len() - 2);
        start + &padding + "\"}"
    };
    assert_eq!(
        server
            .send("POST", "/api/user_info", &[], body(65_536).as_bytes())
            .code(),
        200
    );
    for bytes in [65_537, 1_000_000] {
        let response = server.send("POST", "/api/user_info", &[], body(bytes).as_bytes());
        assert_eq!((response.status, response.code()), (413, 413));
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
    }
    let mut chunked =
        b"POST /api/user_info HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked
        .extend_from_slice(format!("{:x}\r\n{}\r\n0\r\n\r\n", 100_000, body(100_000)).as_bytes());
    assert_eq!(server.raw(&chunked).status, 413);
}

#[test]
fn a_body_that_says_its_length_in_two_ways_is_refused() {
    let server = Server::start();
    for headers in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 40",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: -2",
        "Content-Length: +2",
        "Content-Length: 2, 2",
        "Content-Length: 0x2",
        "Content-Length: two",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "X: a\nContent-Length: 2",
        "X: a\0",
    ] {
        let smuggled = "GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n";
        let raw = format!("POST /api/login HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{{}}{smuggled}");
        let mut stream = server.connect();
        stream.write_all(raw.as_bytes()).unwrap();
        let response = Response::read(&mut stream, false);
        assert_eq!(
            (response.status, response.code()),
            (400, 400),
            "{headers:?}"
        );
        assert_eq!(response.header("Connection"), Some("close"));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{headers:?}: a second answer");
    }
    assert_eq!(server.post("/api/login", &json!({})).code(), 504);
}

/// What else is read in one way or not at all: the answers that follow each of these, and nothing
/// but them.
#[test]
fn no_second_request_is_read_out_of_the_first() {
    let server = Server::start();
    let smuggled = "GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /api/login HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}")
    };
    let chunked = |body: &str| post("Transfer-Encoding: chunked", body);
    // What is sent, the HTTP statuses that come back, and whether the connection ends then without
    // being asked to.
    for (what, sent, statuses, ends) in [
        (
            "a chunk whose length is not a number",
            chunked(&format!("xx\r\n{smuggled}")),
            &[400][..],
            true,
        ),
        (
            "a chunk with a sign",
            chunked(&format!("+2\r\n{{}}\r\n0\r\n\r\n{smuggled}")),
            &[400],
            true,
        ),
        (
            "a chunk that is longer than it says",
            chunked(&format!("1\r\n{{}}\r\n0\r\n\r\n{smuggled}")),
            &[400],
            true,
        ),
        (
            "a request behind chunks",
            chunked(&format!("2\r\n{{}}\r\n0\r\n\r\n{smuggled}")),
            &[200, 200],
            false,
        ),
        (
            "a header without a colon",
            post("Content-Length 2", &format!("{{}}{smuggled}")),
            &[400],
            true,
        ),
        (
            "a header of spaces",
            post("  ", &format!("{{}}{smuggled}")),
            &[400],
            true,
        ),
        (
            "a name with a space",
            post("Content-Length : 2", &format!("{{}}{smuggled}")),
            &[400],
            true,
        ),
        (
            "a letter beyond ASCII",
            post("X: 阿", smuggled),
            &[200, 200],
            false,
        ),
        (
            "a bare LF",
            format!("POST /api/login HTTP/1.1\nContent-Length: 2\n\n{{}}{smuggled}"),
            &[400],
            true,
        ),
        (
            "HTTP/1.0",
            format!("GET /nothing HTTP/1.0\r\n\r\n{smuggled}"),
            &[404],
            true,
        ),
        (
            "HTTP/9",
            format!("GET /nothing HTTP/9\r\n\r\n{smuggled}"),
            &[400],
            true,
        ),
        (
            "an absolute target",
            format!("GET http://a/nothing HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}"),
            &[404, 200],
            false,
        ),
        (
            "another expectation",
            post("Expect: x\r\nContent-Length: 2", &format!("{{}}{smuggled}")),
            &[200, 200],
            false,
        ),
        (
            "an upgrade with a body",
            post(
                "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2",
                &format!("{{}}{smuggled}"),
            ),
            &[200, 200],
            false,
        ),
        (
            "an upgrade in chunks",
            post(
                "Connection: upgrade\r\nTransfer-Encoding: chunked",
                &format!("2\r\n{{}}\r\n0\r\n\r\n{smuggled}"),
            ),
            &[200, 200],
            false,
        ),
    ] {
        let mut stream = server.connect();
        // The server may end the connection before it has read everything.
        let _ = stream.write_all(sent.as_bytes());
        if !ends {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let text = String::from_utf8_lossy(&all);
        let seen: Vec<u16> = text
            .match_indices("HTTP/1.1 ")
            .map(|(at, _)| text[at + 9..][..3].parse().unwrap())
            .collect();
        let seen: Vec<u16> = seen.into_iter().filter(|status| *status != 100).collect();
        assert_eq!(seen, statuses, "{what}: {text}");
    }
    assert_eq!(server.post("/api/login", &json!({})).code(), 504);
}

#[test]
fn announced_lengths_that_no_memory_holds_end_nothing() {
    let server = Server::start();
    let token = server.user("rei");
    for length in [
        "30000000000",
        "4611686018427387904",
        "9223372036854775808",
        "18446744073709551615",
        "200000000",
    ] {
        for (path, status, code) in [
            ("/api/login", 413, 413),
            ("/nothing", 404, 404),
            ("/api/upload_avatar/", 200, 169),
        ] {
            let raw = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\ntoken: {token}\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\nabc"
            );
            let response = server.raw(raw.as_bytes());
            assert_eq!(
                (response.status, response.code()),
                (status, code),
                "{path} {length}"
            );
        }
    }
    assert_eq!(server.info(&token)["name"], "rei");
}

#[test]
fn half_a_body_is_no_body() {
    let server = Server::start();
    let token = server.user("rei");
    let whole = form("file", &picture(30_000));
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        let headers = [("token", &*token), ("Content-Type", FORM)];
        let mut raw = request("POST", "/api/upload_avatar", &headers, &whole);
        raw.truncate(raw.len() - whole.len() + cut);
        let mut stream = server.connect();
        stream.write_all(&raw).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let response = Response::read(&mut stream, false);
        assert_eq!(response.code(), 169, "cut at {cut}");
        let detail = response.json()["detail"].as_str().unwrap().to_string();
        assert_eq!(detail, format!("the body broke off after {cut} bytes"));
    }
    assert_eq!(server.avatars(), Vec::<String>::new());
    let mut stream = server.connect();
    stream
        .write_all(b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n{\"a\":")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let response = Response::read(&mut stream, false);
    assert_eq!(
        (response.code(), response.json()["detail"].as_str()),
        (
            504,
            Some("body is not a JSON object: it broke off after 5 bytes")
        )
    );
}

#[test]
fn a_length_that_no_memory_holds_may_come_behind_other_requests() {
    let server = Server::start();
    let get = "GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n";
    for count in [1, 30, 65, 200, 2000] {
        let mut stream = server.connect();
        let last = "POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000000\r\n\r\nabc";
        let _ = stream.write_all((get.repeat(count) + last).as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(server.post("/api/login", &json!({})).code(), 504);
    let log = server.lines.all().join("\n");
    assert!(!log.contains("a worker ended"), "{log}");
}

#[test]
fn bodies_that_break_off_cost_nothing_that_stays() {
    let server = Server::start();
    let pid = server.pid();
    let descriptors = || {
        let child = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        std::fs::read_dir(format!("/proc/{}/fd", child.trim()))
            .unwrap()
            .count()
    };
    server.post("/api/login", &json!({}));
    let before = descriptors();
    for length in [1025, 2000, 50_000, 5_000_000] {
        for _ in 0..10 {
            let mut stream = server.connect();
            let head = format!(
                "POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{{"
            );
            stream.write_all(head.as_bytes()).unwrap();
        }
    }
    // Each is noticed when its connection closes; other requests go on meanwhile.
    let since = Instant::now();
    while descriptors() > before + 4 {
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "{} descriptors, {before} before",
            descriptors()
        );
        server.post("/api/login", &json!({}));
    }
}

#[test]
fn a_client_that_waits_for_a_hundred_gets_it() {
    let server = Server::start();
    let token = server.user("rei");
    for body in [
        form("file", &picture(30_000)),
        format!("{{\"token\":\"{token}\"}}").into_bytes(),
    ] {
        let path = if body.len() > 10_000 {
            "/api/upload_avatar"
        } else {
            "/api/user_info"
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\ntoken: {token}\r\nContent-Type: {FORM}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut interim = [0; 12];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100");
        let mut byte = [0];
        let mut seen = interim.to_vec();
        while !seen.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        stream.write_all(&body).unwrap();
        assert_eq!(Response::read(&mut stream, false).code(), 200);
    }
}

#[test]
fn connections_are_kept_and_closed_as_the_client_wishes() {
    let server = Server::start();
    let mut stream = server.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let response = Response::read(&mut stream, false);
        assert_eq!(
            (response.status, response.header("Connection")),
            (200, None)
        );
    }
    for (head, says) in [
        ("HTTP/1.1\r\nHost: a\r\nConnection: close", "close"),
        ("HTTP/1.0", "close"),
    ] {
        let mut stream = server.connect();
        stream
            .write_all(format!("GET /s/admin.jpg {head}\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(
            Response::read(&mut stream, false).header("Connection"),
            Some(says),
            "{head}"
        );
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    let mut stream = server.connect();
    for _ in 0..2 {
        stream
            .write_all(b"GET /s/admin.jpg HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .unwrap();
        assert_eq!(
            Response::read(&mut stream, false).header("Connection"),
            Some("keep-alive")
        );
    }
}

#[test]
fn many_connections_at_one_instant_are_all_answered() {
    let server = Server::start();
    let mut streams: Vec<_> = (0..64).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream
            .write_all(b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
    }
    // None of them is closed meanwhile, so none may wait for the end of another one.
    for stream in &mut streams {
        assert_eq!(Response::read(stream, false).status, 200);
    }
}

#[test]
fn no_answer_waits_for_a_delayed_ack() {
    // A ratio within one run: an answer of 5,000 bytes on a kept connection against one of 100. Two
    // writes without TCP_NODELAY take 40 ms, which is some hundred times as long.
    let server = Server::start();
    let median = |path: &str| {
        let mut stream = server.connect();
        let mut times: Vec<Duration> = (0..31)
            .map(|_| {
                let since = Instant::now();
                stream
                    .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                    .unwrap();
                Response::read(&mut stream, false);
                since.elapsed()
            })
            .collect();
        times.sort();
        times[15]
    };
    let (small, large) = (median("/nothing"), median("/s/admin.jpg"));
    assert!(large < small * 50, "{large:?} against {small:?}");
}

#[test]
fn uploads_are_never_in_the_way_of_small_requests() {
    let server = Server::start();
    let token = server.user("rei");
    // More uploads than there are workers, none of which ever ends.
    let _slow: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = server.connect();
            let head = format!(
                "POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\ntoken: {token}\r\nContent-Type: {FORM}\r\nContent-Length: 100000\r\n\r\n------XyZ"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(server.info(&token)["name"], "rei");
    }
}

#[test]
fn answers_that_nobody_reads_are_in_nobodys_way() {
    let server = Server::start();
    let token = server.user("rei");
    let name = server.upload(&token, &picture(5_000_000)).json()["message"]
        .as_str()
        .unwrap()
        .to_string();
    // Many more than there are workers: large answers, and small ones until no buffer takes more of
    // them.
    let _unread: Vec<_> = (0..20)
        .map(|i| {
            let mut stream = server.connect();
            let (path, count) = if i % 2 == 0 {
                (format!("/s/{name}"), 1)
            } else {
                ("/s/admin.jpg".into(), 2000)
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(count);
            stream
                .set_write_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            let _ = stream.write_all(request.as_bytes());
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(server.info(&token)["name"], "rei");
    }
}

#[test]
fn a_request_that_is_reset_harms_nobody() {
    let server = Server::start();
    for _ in 0..50 {
        let mut stream = server.connect();
        stream
            .write_all(b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
            .unwrap();
        // Closed with an answer unread, which the kernel turns into a reset.
        drop(stream);
    }
    assert_eq!(
        server
            .post(
                "/api/login",
                &json!({"verification_code_key": CAPTCHA, "verification_code": "x"})
            )
            .code(),
        503
    );
}

#[test]
fn failed_sign_ins_are_logged_in_one_form_with_the_real_client() {
    let server = Server::with(json!({"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}));
    server.register("rei");
    let reset = json!({"key": "x", "name": "rei", "email": "rei@example.org", "new_passwd": "b"});
    let mut wrong_key = new_user("asuka");
    wrong_key["key"] = "x".into();
    for (nth, (path, body)) in [
        (
            "/api/login",
            json!({"username": "rei", "passwd": "x\nfailed sign-in from 192.0.2.1"}),
        ),
        ("/api/login/", json!({"username": "nobody", "passwd": "x"})),
        (
            "/api/update_password",
            json!({"username": "rei", "old_passwd": "x", "new_passwd": "b"}),
        ),
        ("/api/forget_password", reset),
        ("/api/registered", wrong_key),
    ]
    .into_iter()
    .enumerate()
    {
        let body = server.solved(body).to_string();
        let forwarded = format!("192.0.2.1, 198.51.100.{nth}, 10.0.0.1");
        server.send(
            "POST",
            path,
            &[("X-Forwarded-For", &forwarded)],
            body.as_bytes(),
        );
        let path = path.trim_end_matches('/');
        let line = server
            .lines
            .wait(&format!("failed sign-in from 198.51.100.{nth} at {path}"));
        assert!(
            line.ends_with(&format!(
                "Z info failed sign-in from 198.51.100.{nth} at {path}"
            )),
            "{line}"
        );
    }
    let before = server.lines.all().len();
    server.login("rei");
    server.post("/api/login", &server.solved(json!({"username": "rei"})));
    server.send("POST", "/the-end", &[], b"");
    server.lines.wait("/the-end");
    assert!(
        !server.lines.all()[before..]
            .concat()
            .contains("failed sign-in")
    );
    assert!(!server.lines.all().concat().contains("192.0.2.1"));

    let server = Server::start();
    let body = server
        .solved(json!({"username": "rei", "passwd": "x"}))
        .to_string();
    server.send(
        "POST",
        "/api/login",
        &[("X-Forwarded-For", "198.51.100.1")],
        body.as_bytes(),
    );
    server
        .lines
        .wait("failed sign-in from 127.0.0.1 at /api/login");
}

#[test]
fn the_openapi_document_is_served_once() {
    let server = Server::start();
    let response = server.send("GET", "/openapi.json?a=b", &[], b"");
    assert_eq!(
        (response.status, response.header("Content-Type")),
        (200, Some("application/json"))
    );
    assert_eq!(response.header("Cache-Control"), Some("no-cache"));
    assert_eq!(response.json(), accountd::site::openapi::document());
    let tag = response.header("ETag").unwrap();
    let known = server.send("GET", "/openapi.json", &[("If-None-Match", tag)], b"");
    assert_eq!(
        (known.status, known.body.len(), known.header("ETag")),
        (304, 0, Some(tag))
    );
    assert_eq!(
        server
            .send(
                "GET",
                "/openapi.json",
                &[("If-None-Match", "\"another\"")],
                b""
            )
            .status,
        200
    );
    let head = server.send("HEAD", "/openapi.json", &[], b"");
    assert_eq!(
        (head.status, head.body.len(), head.header("ETag")),
        (200, 0, Some(tag))
    );
    assert_eq!(
        head.header("Content-Length"),
        response.header("Content-Length")
    );
    assert_eq!(server.send("POST", "/openapi.json", &[], b"{}").status, 404);
}

/// A client may have its answer, and ask again, before the server is done with its first request;
/// under load many do.
#[test]
fn requests_that_come_before_the_one_before_is_done_are_all_answered() {
    const AHEAD: usize = 40;
    let server = Server::start();
    let one = b"GET /api/get_verification_code HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(&one.repeat(AHEAD)).unwrap();
    }
    for client in &mut clients {
        for _ in 0..AHEAD {
            assert_eq!(Response::read(client, false).status, 200);
        }
    }
}
