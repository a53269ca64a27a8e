//! `/metrics`: its format, what it counts, and who gets to see it.

use crate::support::{Server, picture, request, settings};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// The samples of a text, by name and labels, after a strict look at its format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    let (mut samples, mut kinds, mut last) = (BTreeMap::new(), BTreeMap::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && help.ends_with('.') && !kinds.contains_key(name), "{line}");
            last = name.to_string();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(name == last && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            kinds.insert(name.to_string(), kind.to_string());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let of = if kinds[&last] == "histogram" {
                let end = name.strip_prefix(&*last).unwrap();
                assert!(["_bucket", "_sum", "_count"].contains(&end), "{line}");
                &last
            } else {
                name
            };
            assert_eq!(of, last, "{line} is not below its head");
            if let Some((_, labels)) = series.split_once('{') {
                for label in labels.strip_suffix('}').unwrap().split("\",") {
                    let (name, value) = label.split_once("=\"").unwrap();
                    assert!(is_name(name) && !value.trim_end_matches('"').contains(['"', '\\']), "{line}");
                }
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert_eq!(samples.insert(series.to_string(), value), None, "{line} is there twice");
        }
    }
    samples
}

fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let response = server.send("GET", "/metrics", &[], b"");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    samples(&response.text())
}

fn requests(path: &str, status: u16, code: u16) -> String {
    format!("accountd_requests_total{{interface=\"{path}\",status=\"{status}\",code=\"{code}\"}}")
}

#[test]
fn what_is_counted() {
    let server = Server::start();
    let token = server.user("rei");
    server.post("/api/login", &json!({}));
    server.post("/api/login/?a=b", &json!({}));
    server.upload(&token, &picture(20_000));
    server.captcha();
    server.send("GET", "/nothing", &[], b"");
    server.send("GET", "/s/admin.jpg", &[], b"");
    server.raw(b"POST /api/user_info HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    let seen = scrape(&server);
    for (series, value) in [
        (requests("/api/registered", 200, 200), 1.0),
        (requests("/api/login", 200, 200), 1.0),
        (requests("/api/login", 200, 504), 2.0),
        (requests("/api/login", 200, 604), 0.0),
        (requests("/api/upload_avatar", 200, 200), 1.0),
        (requests("/api/get_verification_code", 200, 200), 3.0),
        (requests("other", 404, 404), 1.0),
        (requests("/s/{name}", 200, 200), 1.0),
        (requests("/api/user_info", 400, 400), 1.0),
        ("accountd_request_duration_seconds_count{interface=\"/api/login\"}".into(), 3.0),
        ("accountd_request_duration_seconds_bucket{interface=\"/api/login\",le=\"+Inf\"}".into(), 3.0),
        ("accountd_throttled_total".into(), 0.0),
        ("accountd_renewals_total{reason=\"limit\"}".into(), 0.0),
        ("accountd_captchas".into(), 1.0),
        ("accountd_users".into(), 1.0),
        ("accountd_sessions".into(), 1.0),
    ] {
        assert_eq!(seen.get(&series), Some(&value), "{series}");
    }
    for series in
        ["accountd_connections", "accountd_database_bytes", "process_resident_memory_bytes", "process_open_fds"]
    {
        assert!(seen[series] >= 1.0, "{series}");
    }
    assert_eq!(scrape(&server)[&requests("/metrics", 200, 200)], 1.0);
}

#[test]
fn what_is_too_much_is_counted() {
    let server = Server::with(json!({"throttle": true}));
    let guess = |name: u32| server.post_solved("/api/login", json!({"username": name.to_string(), "passwd": "x"}));
    assert!((0..1000).any(|name| guess(name).status == 429));
    let seen = scrape(&server);
    assert_eq!((seen["accountd_throttled_total"], seen[&requests("/api/login", 429, 429)]), (1.0, 1.0));
}

#[test]
fn buckets_grow_to_the_count() {
    let server = Server::start();
    server.captcha();
    let text = server.send("GET", "/metrics", &[], b"").text();
    let mut interfaces = BTreeSet::new();
    let mut last = (String::new(), 0.0);
    for (series, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
        let Some(labels) = series.strip_prefix("accountd_request_duration_seconds_bucket{") else { continue };
        let (interface, end) = labels.split_once(",le=").unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(last.0 != interface || last.1 <= value, "{series}");
        last = (interface.to_string(), value);
        if end.starts_with("\"+Inf") {
            assert!(text.contains(&format!("accountd_request_duration_seconds_count{{{interface}}} {value}\n")));
            interfaces.insert(interface.to_string());
        }
    }
    assert_eq!(interfaces.len(), accountd::contract::DOCUMENT.len() + accountd::contract::ADDITIONS.len() + 4);
}

#[test]
fn only_this_machine_gets_to_see_them() {
    let server = Server::start();
    assert_eq!(server.send("GET", "/metrics", &[], b"").status, 200);
    assert_eq!(server.send("HEAD", "/metrics?a", &[], b"").body.len(), 0);
    assert_eq!(server.send("POST", "/metrics", &[], b"").status, 404);
    for header in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 a"),
        ("X-Real-IP", "127.0.0.1"),
        ("Origin", "http://127.0.0.1"),
    ] {
        assert_eq!(server.send("GET", "/metrics", &[header], b"").status, 404, "{header:?}");
    }
    for head in
        ["GET /metrics HTTP/1.1\r\nHost: example.org\r\n\r\n", "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"]
    {
        assert_eq!(server.raw(head.as_bytes()).status, 404, "{head}");
    }
}

#[test]
fn a_listener_of_their_own() {
    for supervise in [true, false] {
        let server = Server::with(json!({"metrics_listen": "127.0.0.1:0", "supervise": supervise}));
        let line = server.lines.wait("metrics on http://");
        let address = line.rsplit_once("//").unwrap().1.strip_suffix("/metrics").unwrap().to_string();
        let ask = |bytes: &[u8]| {
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            stream.write_all(bytes).unwrap();
            crate::support::Response::read(&mut stream, bytes.starts_with(b"HEAD"))
        };
        server.post("/api/login", &json!({}));
        // There the proxy's headers are no matter: whoever opens it decides who gets there.
        let response = ask(&request("GET", "/metrics", &[("X-Forwarded-For", "192.0.2.1")], b""));
        assert_eq!(response.status, 200);
        assert_eq!(samples(&response.text())[&requests("/api/login", 200, 504)], 1.0);
        assert_eq!(ask(&request("HEAD", "/metrics", &[], b"")).status, 200);
        assert_eq!(ask(&request("GET", "/api/login", &[], b"")).status, 404);
        assert_eq!(ask(&request("POST", "/metrics", &[], b"")).status, 404);
        assert_eq!(server.send("GET", "/metrics", &[], b"").status, 404, "not where everybody is");
        if supervise {
            // The next process takes the address over, and what was counted.
            let mut all = settings();
            all["metrics_listen"] = address.clone().into();
            fs::write(server.path("config.json"), all.to_string()).unwrap();
            server.signal("HUP");
            server.lines.wait_for("metrics on http://", 2);
            let seen = samples(&ask(&request("GET", "/metrics", &[], b"")).text());
            assert_eq!(seen["accountd_renewals_total{reason=\"reload\"}"], 1.0);
            assert_eq!(seen[&requests("/api/login", 200, 504)], 1.0);
        }
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    let server = Server::start();
    server.user("rei");
    let text = server.send("GET", "/metrics", &[], b"").text();
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("SKIPPED: no promtool (Debian: prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
}
