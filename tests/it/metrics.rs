//! `/metrics`: its format, what it counts, and where it is served.

use crate::support::{Folder, Response, Server, picture, request, root};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The samples of a text, by name and labels, after a strict look at its format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    let (mut samples, mut kinds, mut last) = (BTreeMap::new(), BTreeMap::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(
                is_name(name) && help.ends_with('.') && !kinds.contains_key(name),
                "{line}"
            );
            last = name.to_string();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(
                name == last && ["counter", "gauge", "histogram"].contains(&kind),
                "{line}"
            );
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
                    assert!(
                        is_name(name) && !value.trim_end_matches('"').contains(['"', '\\']),
                        "{line}"
                    );
                }
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert_eq!(
                samples.insert(series.to_string(), value),
                None,
                "{line} is there twice"
            );
        }
    }
    samples
}

fn scrape(server: &Server) -> BTreeMap<String, f64> {
    samples(&server.metrics())
}

fn requests(path: &str, status: u16, code: u16) -> String {
    format!("accountd_requests_total{{interface=\"{path}\",status=\"{status}\",code=\"{code}\"}}")
}

#[test]
fn what_is_counted() {
    let server = Server::measured(json!({}));
    let token = server.user("rei");
    server.post("/api/login", &json!({}));
    server.post("/api/login/?a=b", &json!({}));
    server.upload(&token, &picture(20_000));
    server.captcha();
    server.send("GET", "/nothing", &[], b"");
    server.send("GET", "/metrics", &[], b"");
    server.send("GET", "/s/admin.jpg", &[], b"");
    server.raw(b"POST /api/user_info HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    let mut open = server.connect();
    open.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    Response::read(&mut open, false);
    let seen = scrape(&server);
    for (series, value) in [
        (requests("/api/registered", 200, 200), 1.0),
        (requests("/api/login", 200, 200), 1.0),
        (requests("/api/login", 200, 504), 2.0),
        (requests("/api/login", 200, 604), 0.0),
        (requests("/api/upload_avatar", 200, 200), 1.0),
        (requests("/api/get_verification_code", 200, 200), 3.0),
        (requests("other", 404, 404), 2.0),
        (requests("/s/{name}", 200, 200), 1.0),
        (requests("other", 400, 400), 1.0),
        (
            "accountd_request_duration_seconds_count{interface=\"/api/login\"}".into(),
            3.0,
        ),
        (
            "accountd_request_duration_seconds_bucket{interface=\"/api/login\",le=\"+Inf\"}".into(),
            3.0,
        ),
        ("accountd_throttled_total".into(), 0.0),
        ("accountd_renewals_total{reason=\"death\"}".into(), 0.0),
        ("accountd_captchas".into(), 1.0),
        ("accountd_users".into(), 1.0),
        ("accountd_sessions".into(), 1.0),
    ] {
        assert_eq!(seen.get(&series), Some(&value), "{series}");
    }
    for series in [
        "accountd_connections",
        "accountd_database_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(seen[series] >= 1.0, "{series}");
    }
}

#[test]
fn what_is_too_much_is_counted() {
    let server = Server::measured(json!({"throttle": true}));
    let guess = |name: u32| {
        server.post_solved(
            "/api/login",
            json!({"username": name.to_string(), "passwd": "x"}),
        )
    };
    assert!((0..1000).any(|name| guess(name).status == 429));
    let seen = scrape(&server);
    assert_eq!(
        (
            seen["accountd_throttled_total"],
            seen[&requests("/api/login", 429, 429)]
        ),
        (1.0, 1.0)
    );
}

#[test]
fn buckets_grow_to_the_count() {
    let server = Server::measured(json!({}));
    server.captcha();
    let text = server.metrics();
    let mut interfaces = BTreeSet::new();
    let mut last = (String::new(), 0.0);
    for (series, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
        let Some(labels) = series.strip_prefix("accountd_request_duration_seconds_bucket{") else {
            continue;
        };
        let (interface, end) = labels.split_once(",le=").unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(last.0 != interface || last.1 <= value, "{series}");
        last = (interface.to_string(), value);
        if end.starts_with("\"+Inf") {
            assert!(text.contains(&format!(
                "accountd_request_duration_seconds_count{{{interface}}} {value}\n"
            )));
            interfaces.insert(interface.to_string());
        }
    }
    assert_eq!(
        interfaces.len(),
        accountd::contract::DOCUMENT.len() + accountd::contract::ADDITIONS.len() + 4
    );
}

#[test]
fn where_all_others_are_there_are_none() {
    let server = Server::start();
    let unknown = server.send("GET", "/metric", &[], b"");
    for path in ["/metrics", "/metrics/", "/metrics?a"] {
        // As Prometheus on this machine asks, and as TCP forwarders, HAProxy and an nginx of one
        // line do.
        for host in ["localhost", "127.0.0.1:9999", "example.org"] {
            for version in ["1.1", "1.0"] {
                let head = format!(
                    "GET {path} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                );
                let response = server.raw(head.as_bytes());
                assert_eq!(
                    (response.status, response.text()),
                    (404, unknown.text()),
                    "{head}"
                );
            }
        }
        assert_eq!(server.send("HEAD", path, &[], b"").status, 404);
        assert_eq!(server.send("POST", path, &[], b"").status, 404);
    }
}

/// A server with these settings, and the address of its metrics as its log says it.
fn listening(data: &Arc<Folder>, more: Value) -> (Server, String) {
    data.configure(more);
    let server = Server::on(data.clone());
    let line = server.lines.wait(" info metrics on ");
    let shown = line.rsplit_once(" info metrics on ").unwrap().1;
    let address = shown
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"))
        .unwrap_or(shown);
    (server, address.to_string())
}

/// What a listener of metrics answers.
fn ask(address: &str, bytes: &[u8]) -> Response {
    let bare = bytes.starts_with(b"HEAD");
    match address.strip_prefix("unix:") {
        Some(path) => {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(bytes).unwrap();
            Response::read(&mut stream, bare)
        }
        None => {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(bytes).unwrap();
            Response::read(&mut stream, bare)
        }
    }
}

#[test]
fn a_listener_of_their_own_over_tcp_and_a_unix_socket() {
    for (unix, supervise) in [(false, true), (false, false), (true, true), (true, false)] {
        let data = Arc::new(Folder::new());
        let path = data.0.join("metrics");
        let listen = if unix {
            format!("unix:{}", path.display())
        } else {
            "127.0.0.1:0".into()
        };
        if unix {
            // What a server that was killed has left.
            drop(UnixListener::bind(&path).unwrap());
        }
        let more = json!({"metrics_listen": listen, "supervise": supervise, "socket_mode": "0600"});
        let (mut server, address) = listening(&data, more);
        if unix {
            assert_eq!(
                (&address, fs::metadata(&path).unwrap().mode() & 0o777),
                (&listen, 0o600)
            );
        }
        server.post("/api/login", &json!({}));
        // There the proxy's headers are no matter: the admin who opens it decides which clients get
        // there.
        let response = ask(
            &address,
            &request("GET", "/metrics", &[("X-Forwarded-For", "192.0.2.1")], b""),
        );
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("Content-Type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        assert_eq!(
            samples(&response.text())[&requests("/api/login", 200, 504)],
            1.0
        );
        assert_eq!(
            ask(&address, &request("HEAD", "/metrics", &[], b"")).status,
            200
        );
        assert_eq!(
            ask(&address, &request("GET", "/api/login", &[], b"")).status,
            404
        );
        assert_eq!(
            ask(&address, &request("POST", "/metrics", &[], b"")).status,
            404
        );
        assert_eq!(
            server.send("GET", "/metrics", &[], b"").status,
            404,
            "not where all others are"
        );
        if supervise {
            // The next process takes the address over, and what was counted.
            data.configure(json!({"metrics_listen": address}));
            server.signal("HUP");
            server.lines.wait_for(" info metrics on ", 2);
            let seen = samples(&ask(&address, &request("GET", "/metrics", &[], b"")).text());
            assert_eq!(seen["accountd_renewals_total{reason=\"reload\"}"], 1.0);
            assert_eq!(seen[&requests("/api/login", 200, 504)], 1.0);
            if unix {
                assert_eq!(
                    fs::metadata(&path).unwrap().mode() & 0o777,
                    0o660,
                    "the mode of the new configuration"
                );
            }
        }
        server.signal("TERM");
        assert_eq!(
            (server.wait(), path.exists()),
            (Some(0), false),
            "its socket is gone with it"
        );
    }
}

#[test]
fn a_reload_moves_the_listener_and_leaves_nothing_behind() {
    let data = Arc::new(Folder::new());
    let [old, new] = ["old", "new"].map(|name| data.0.join(name));
    let (mut server, _) = listening(
        &data,
        json!({"metrics_listen": format!("unix:{}", old.display())}),
    );
    for (nth, listen) in [Some(format!("unix:{}", new.display())), None]
        .into_iter()
        .enumerate()
    {
        data.configure(json!({"metrics_listen": listen}));
        server.signal("HUP");
        server.lines.wait_for(" info reloaded", nth + 1);
        if nth == 0 {
            server.lines.wait_for(" info metrics on ", 2);
        }
        assert_eq!((old.exists(), new.exists()), (false, nth == 0));
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_worker_that_is_killed_leaves_the_socket_to_the_next() {
    let data = Arc::new(Folder::new());
    let listen = format!("unix:{}", data.0.join("metrics").display());
    let (server, address) = listening(&data, json!({"metrics_listen": listen}));
    crate::restart::kill(crate::restart::children(&server)[0]);
    server.lines.wait_for(" info metrics on ", 2);
    let seen = samples(&ask(&address, &request("GET", "/metrics", &[], b"")).text());
    assert_eq!(seen["accountd_renewals_total{reason=\"death\"}"], 1.0);
}

#[test]
fn an_address_that_cannot_be_had_stops_the_start() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, served) = (listener.local_addr().unwrap(), folder.0.join("served"));
    let _served = UnixListener::bind(&served).unwrap();
    let (served, nowhere) = (
        format!("unix:{}", served.display()),
        format!("unix:{}/no/socket", folder.0.display()),
    );
    for (listen, shown, why) in [
        (
            taken.to_string(),
            format!("http://{taken}/metrics"),
            "Address already in use",
        ),
        (served.clone(), served, "Address already in use"),
        (nowhere.clone(), nowhere, "No such file or directory"),
    ] {
        let main = folder.0.join("main");
        let mut command = Command::new(env!("CARGO_BIN_EXE_accountd"));
        command
            .arg("--listen")
            .arg(format!("unix:{}", main.display()))
            .arg("--data")
            .arg(&folder.0);
        let output = command
            .env("ACCOUNTD_METRICS_LISTEN", listen)
            .output()
            .unwrap();
        assert!(!main.exists());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), text.lines().count()),
            (Some(1), 1),
            "{text}"
        );
        assert!(
            text.starts_with(&format!(
                "accountd: metrics_listen: cannot listen on {shown}: {why}"
            )),
            "{text}"
        );
    }
}

#[test]
fn the_operating_page_lists_every_metric() {
    let text = Server::measured(json!({})).metrics();
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    for name in text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    {
        let is_listed = page
            .lines()
            .any(|line| line.starts_with("| `") && line.contains(&format!("`{name}`")));
        assert!(is_listed, "docs/operating.md should have a row for {name}");
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    let server = Server::measured(json!({}));
    server.user("rei");
    let text = server.metrics();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("SKIPPED: no promtool (Debian: prometheus)");
        return;
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(
        said.status.success() && said.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
}
