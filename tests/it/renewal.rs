//! The supervisor: a serving process that dies, is worn out or is left alone.

use crate::support::{FORM, Server, new_user, picture};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::thread;

/// The serving processes of a server.
pub fn children(server: &Server) -> Vec<u32> {
    let pid = server.pid();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    listed.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Each of these requests costs a thread that nothing but a new process gives back.
fn wear_out(server: &Server) {
    let hostile = b"POST /api/login HTTP/1.1\r\nContent-Length: 30000000000\r\n\r\n";
    for _ in 0..70 {
        assert_eq!(server.raw(hostile).status, 413);
    }
}

pub fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_serving_process_that_dies_is_replaced() {
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
    server.lines.wait("a serving process ended (signal: 9 (SIGKILL)); open captchas are lost");
}

#[test]
fn a_worn_out_process_hands_over_what_it_knows() {
    let server = Server::measured(json!({}));
    let token = server.user("rei");
    let before = children(&server);
    let open = server.solved(new_user("asuka"));
    let mut upload = server.connect();
    let head = format!(
        "POST /api/upload_avatar HTTP/1.1\r\ntoken: {token}\r\nContent-Type: {FORM}\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
    );
    upload.write_all(head.as_bytes()).unwrap();
    upload.read_exact(&mut [0; 12]).unwrap();
    wear_out(&server);
    server.lines.wait("the serving process is renewed: it nears a limit");
    // The old one accepts until the new one has opened everything; then its connections end one by one.
    while server.send("POST", "/api/login", &[], b"{}").status == 200
        && children(&server)[0] == before[0]
        && children(&server).len() == 1
    {}
    assert_eq!(server.post("/api/registered", &open).code(), 200, "a captcha from before");
    // The old process may still be the one that answers.
    let mut metrics = String::new();
    while !metrics.contains("accountd_renewals_total{reason=\"limit\"} 1\n") {
        metrics = server.metrics();
    }
    for line in [
        "accountd_requests_total{interface=\"/api/login\",status=\"200\",code=\"200\"} 1\n",
        "accountd_requests_total{interface=\"/api/login\",status=\"413\",code=\"413\"} 70\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    upload.write_all(&[b'x'; 2000]).unwrap();
    let mut rest = Vec::new();
    let _ = upload.read_to_end(&mut rest);
    assert!(String::from_utf8_lossy(&rest).contains("\"code\":169"), "what was begun is answered");
}

#[test]
fn a_hand_over_forgives_nobody() {
    let server = Server::with(json!({"throttle": true}));
    let guess = |name: u32| server.post_solved("/api/login", json!({"username": name.to_string(), "passwd": "x"}));
    // Another name each time: the budget of the source, of which there is one more only after twelve seconds.
    let last = (0..1000).find(|name| guess(*name).status == 429).unwrap();
    let before = children(&server);
    wear_out(&server);
    server.lines.wait("the serving process is renewed: it nears a limit");
    while children(&server).contains(&before[0]) {
        server.post("/api/login", &json!({}));
    }
    assert_eq!(guess(last + 1).status, 429);
}

#[test]
fn work_that_needs_memory_wears_nothing_out() {
    for supervise in [true, false] {
        let server = Server::with(json!({"password_hash": "argon2id", "supervise": supervise}));
        server.register("rei");
        let before = children(&server);
        // Several at once, each with 19 MiB.
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| server.login("rei")))));
        assert_eq!(children(&server), before);
        assert!(!server.lines.all().concat().contains("renewed"), "{:#?}", server.lines.all());
    }
}

#[test]
fn a_serving_process_ends_with_its_supervisor() {
    let mut server = Server::start();
    let mut idle = server.connect();
    idle.write_all(b"GET /s/admin.jpg HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
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
    let name = server.upload(&token, &picture(20_000)).json()["message"].as_str().unwrap().to_string();
    server.signal("TERM");
    server.wait();
    for left in ["aaaaaaaaaa1700000000.png", ".abcdefghijklmnopqrst"] {
        fs::write(server.path("avatars").join(left), "x").unwrap();
    }
    fs::write(server.path("avatars").join("somebody's own.txt"), "x").unwrap();
    let again = Server::on(server.data.clone());
    again.lines.wait("2 pictures that belong to nobody were removed");
    let mut files = again.avatars();
    files.sort();
    let mut expected = ["somebody's own.txt".to_string(), name.clone()];
    expected.sort();
    assert_eq!(files, expected);
    assert_eq!(again.send("GET", &format!("/s/{name}"), &[], b"").status, 200);
}
