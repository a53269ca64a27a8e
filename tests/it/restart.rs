//! The supervisor: a worker that dies, hands over or is left alone.

use crate::support::{self, FORM, Response, Server, form, new_user, picture, request};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The workers of a server.
pub fn children(server: &Server) -> Vec<u32> {
    let pid = server.pid();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    listed
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

pub fn kill(pid: u32) {
    support::signal(pid, "KILL");
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let server = Server::start();
    let token = server.user("rei");
    for _ in 0..3 {
        let before = children(&server);
        let mut idle = server.connect();
        kill(before[0]);
        // The end of the process is the end of its connections.
        let _ = idle.read_to_end(&mut Vec::new());
        assert_eq!(server.info(&token)["name"], "rei");
        assert!(!children(&server).contains(&before[0]));
    }
    server
        .lines
        .wait("a worker ended (signal: 9 (SIGKILL)); open captchas are lost");
}

/// Reloads this many times, one after the other.
fn reload(server: &Server, times: usize) {
    for _ in 0..times {
        let before = server
            .lines
            .all()
            .iter()
            .filter(|line| line.ends_with("info reloaded"))
            .count();
        server.signal("HUP");
        server.lines.wait_for("info reloaded", before + 1);
    }
}

#[test]
fn a_worker_gives_away_its_state_and_answers_what_it_had_begun() {
    let server = Server::start();
    let token = server.user("rei");
    let before = children(&server);
    let open = server.solved(new_user("asuka"));
    let mut upload = server.connect();
    let head = format!(
        "POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\ntoken: {token}\r\nContent-Type: {FORM}\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
    );
    upload.write_all(head.as_bytes()).unwrap();
    upload.read_exact(&mut [0; 25]).unwrap();
    reload(&server, 1);
    assert!(children(&server).contains(&before[0]) && children(&server).len() == 2);
    assert_eq!(
        server.post("/api/registered", &open).code(),
        200,
        "a captcha from before"
    );
    assert_eq!(
        server.post("/api/registered", &open).code(),
        504,
        "and it is used up"
    );
    upload.write_all(&[b'x'; 2000]).unwrap();
    assert_eq!(
        Response::read(&mut upload, false).code(),
        169,
        "what was begun is answered"
    );
}

#[test]
fn a_connection_is_kept_across_reloads_with_what_was_sent_of_a_request() {
    let server = Server::start();
    let token = server.user("rei");
    let body = json!({"token": token}).to_string();
    let request = format!(
        "POST /api/user_info HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (mut idle, mut begun) = (server.connect(), server.connect());
    for half in [10, request.len() - 5] {
        idle.write_all(request.as_bytes()).unwrap();
        assert_eq!(Response::read(&mut idle, false).code(), 200);
        begun.write_all(&request.as_bytes()[..half]).unwrap();
        reload(&server, 1);
        begun.write_all(&request.as_bytes()[half..]).unwrap();
        assert_eq!(Response::read(&mut begun, false).code(), 200);
    }
}

#[test]
fn there_are_never_more_than_two_workers_and_a_slow_upload_is_not_cut_off() {
    let server = Server::start();
    let token = server.user("rei");
    let body = form("file", &picture(20_000));
    let mut upload = server.connect();
    upload
        .write_all(
            &request(
                "POST",
                "/api/upload_avatar",
                &[("token", &token), ("Content-Type", FORM)],
                &body,
            )[..500],
        )
        .unwrap();
    let rest = &request(
        "POST",
        "/api/upload_avatar",
        &[("token", &token), ("Content-Type", FORM)],
        &body,
    )[500..];
    // It is being read once it has its permit; a later request is answered behind it.
    assert_eq!(server.info(&token)["name"], "rei");
    reload(&server, 1);
    for _ in 0..5 {
        server.signal("HUP");
        assert_eq!(server.info(&token)["name"], "rei");
        assert!(children(&server).len() <= 2);
    }
    upload.write_all(rest).unwrap();
    assert_eq!(Response::read(&mut upload, false).code(), 200);
    // The reloads that came meanwhile are one, now that the old worker is gone.
    server.lines.wait_for("info reloaded", 2);
}

#[test]
fn a_hand_over_forgets_no_guess() {
    let server = Server::with(json!({"throttle": true}));
    let guess = |name: u32| {
        server.post_solved(
            "/api/login",
            json!({"username": name.to_string(), "passwd": "x"}),
        )
    };
    // Another name each time: the budget of the source, of which there is one more only after
    // twelve seconds.
    let last = (0..1000).find(|name| guess(*name).status == 429).unwrap();
    reload(&server, 2);
    assert_eq!(guess(last + 1).status, 429);
}

#[test]
fn a_captcha_is_accepted_once_however_often_workers_hand_over() {
    let server = Server::start();
    server.register("rei");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut logins = 0;
                    while !over.load(Ordering::SeqCst) {
                        let login =
                            server.solved(json!({"username": "rei", "passwd": "a password"}));
                        // Twice at once: one of them is the second.
                        let (one, other) = thread::scope(|scope| {
                            let one = scope.spawn(|| server.post("/api/login", &login).code());
                            (
                                server.post("/api/login", &login).code(),
                                one.join().unwrap(),
                            )
                        });
                        let mut codes = [one, other];
                        codes.sort_unstable();
                        assert_eq!(codes, [200, 503]);
                        logins += 1;
                    }
                    logins
                })
            })
            .collect();
        reload(&server, 15);
        over.store(true, Ordering::SeqCst);
        let logins: u32 = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum();
        assert!(logins > 3, "{logins}");
    });
}

#[test]
fn work_that_needs_memory_replaces_no_worker() {
    for supervise in [true, false] {
        let server = Server::with(json!({"password_hash": "argon2id", "supervise": supervise}));
        server.register("rei");
        let before = children(&server);
        // Several at once, each with 19 MiB.
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| server.login("rei")))));
        assert_eq!(children(&server), before);
        assert!(
            !server.lines.all().concat().contains("replaced"),
            "{:#?}",
            server.lines.all()
        );
    }
}

#[test]
fn a_worker_ends_with_its_supervisor() {
    let mut server = Server::start();
    let mut idle = server.connect();
    idle.write_all(b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    server.signal("KILL");
    server.wait();
    // The connection ends when the process does; while it lived, it would be kept for seconds.
    let mut all = Vec::new();
    let _ = idle.read_to_end(&mut all);
    let again = Server::on(server.data.clone());
    assert_eq!(again.post("/api/login", &json!({})).code(), 504);
}

#[test]
fn it_serves_without_a_supervisor_too() {
    let mut server = Server::with(json!({"supervise": false}));
    let token = server.user("rei");
    assert_eq!(children(&server), Vec::<u32>::new());
    assert_eq!(server.info(&token)["name"], "rei");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_start_removes_what_a_crash_left_behind() {
    let mut server = Server::start();
    let token = server.user("rei");
    let name = server.upload(&token, &picture(20_000)).json()["message"]
        .as_str()
        .unwrap()
        .to_string();
    server.signal("TERM");
    server.wait();
    for left in ["aaaaaaaaaa1700000000.png", ".abcdefghijklmnopqrst"] {
        fs::write(server.path("avatars").join(left), "x").unwrap();
    }
    fs::write(server.path("avatars").join("a person's own.txt"), "x").unwrap();
    let again = Server::on(server.data.clone());
    again.lines.wait("removed 2 pictures that no account uses");
    let mut files = again.avatars();
    files.sort();
    let mut expected = ["a person's own.txt".to_string(), name.clone()];
    expected.sort();
    assert_eq!(files, expected);
    assert_eq!(
        again.send("GET", &format!("/s/{name}"), &[], b"").status,
        200
    );
}
