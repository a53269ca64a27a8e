//! SIGHUP: another configuration or another program, and no request that is refused meanwhile.

use crate::restart::{children, kill};
use crate::support::{CAPTCHA, Folder, Server, new_user, settings};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Changes members of config.json.
fn configure(server: &Server, more: Value) {
    server.data.configure(more);
}

fn reload(server: &Server, nth: usize) -> String {
    server.signal("HUP");
    server.lines.wait_for("info reloaded", nth)
}

/// Whether a new connection gets its answer.
fn ask(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(
        b"POST /api/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains("\"code\":504") {
        Ok(())
    } else {
        Err(io::Error::other(answer))
    }
}

#[test]
fn nobody_is_refused_while_it_reloads() {
    let server = Server::start();
    let token = server.user("rei");
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut processes = children(&server);
    thread::scope(|scope| {
        let client = || {
            while !over.load(Ordering::Relaxed) {
                ask(&server.address).unwrap();
                served.fetch_add(1, Ordering::Relaxed);
            }
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        for nth in 1..=5 {
            let before = served.load(Ordering::Relaxed);
            reload(&server, nth);
            // Under load all the time, or this would show nothing.
            while served.load(Ordering::Relaxed) < before + 20
                && clients.iter().all(|one| !one.is_finished())
            {
                thread::yield_now();
            }
            processes.extend(children(&server));
        }
        over.store(true, Ordering::Relaxed);
    });
    processes.sort_unstable();
    processes.dedup();
    assert!(processes.len() >= 6, "{processes:?}");
    assert_eq!(server.info(&token)["name"], "rei");
}

#[test]
fn another_configuration_takes_effect() {
    let server = Server::measured(json!({}));
    let open = server.solved(new_user("rei"));
    configure(
        &server,
        json!({"registration_function_status": false, "listen": "127.0.0.1:1"}),
    );
    // The address of the command line goes before the file.
    assert!(reload(&server, 1).ends_with("info reloaded"));
    assert_eq!(server.post("/api/registered", &open).code(), 503);
    configure(&server, json!({"socket_mode": "0600", "supervise": false}));
    assert!(
        reload(&server, 2)
            .ends_with("info reloaded; socket_mode needs a restart; supervise needs a restart")
    );
    assert_eq!(
        server
            .post_solved("/api/registered", new_user("rei"))
            .code(),
        200
    );
    let metrics = server.metrics();
    assert!(
        metrics.contains("accountd_renewals_total{reason=\"reload\"} 2\n"),
        "{metrics}"
    );
}

#[test]
fn a_bad_configuration_is_reported_and_the_old_one_stays_whatever_happens() {
    let server = Server::with(json!({"registration_function_status": false}));
    for (nth, bad) in ["{\"threads\": 0}", "{", "{\"unknown\": 1}"]
        .into_iter()
        .enumerate()
    {
        fs::write(server.path("config.json"), bad).unwrap();
        let lines = server.lines.all().len();
        server.signal("HUP");
        let line = server.lines.wait_for("error reload failed: ", nth + 1);
        assert!(
            line.contains("config.json")
                && line.ends_with("; the previous configuration stays in force"),
            "{line}"
        );
        // Lines of requests come when they come.
        let own = |line: &&String| !line.contains(" debug ") && !line.contains(" info 127.0.0.1 ");
        let said: Vec<_> = server.lines.all().into_iter().skip(lines).collect();
        assert_eq!(said.iter().filter(own).count(), 1, "{said:#?}");
        assert_eq!(
            server
                .post_solved("/api/registered", new_user("rei"))
                .code(),
            503
        );
    }
    // A later process does not adopt an invalid configuration either.
    let before = children(&server);
    kill(before[0]);
    while children(&server).iter().all(|pid| before.contains(pid)) {
        thread::yield_now();
    }
    assert_eq!(
        server
            .post_solved("/api/registered", new_user("rei"))
            .code(),
        503
    );
    configure(&server, json!({}));
    reload(&server, 1);
    assert_eq!(
        server
            .post_solved("/api/registered", new_user("rei"))
            .code(),
        200
    );
}

/// The file that the newest serving process runs, by its number.
fn inode(server: &Server) -> u64 {
    fs::metadata(format!("/proc/{}/exe", children(server).last().unwrap()))
        .unwrap()
        .ino()
}

#[test]
fn a_program_that_took_the_place_of_the_old_one_is_started() {
    let data = Arc::new(Folder::new());
    fs::write(data.0.join("config.json"), settings().to_string()).unwrap();
    let program = data.0.join("program");
    let put = |program: &Path| {
        // As a package manager does it.
        let fresh = data.0.join("program.new");
        fs::copy(env!("CARGO_BIN_EXE_accountd"), &fresh).unwrap();
        fs::rename(fresh, program).unwrap();
        fs::metadata(program).unwrap().ino()
    };
    let old = put(&program);
    let mut command = Command::new(&program);
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--captcha-answer",
            CAPTCHA,
            "--data",
        ])
        .arg(&data.0);
    let server = Server::started(data.clone(), command);
    let open = server.solved(new_user("rei"));
    assert_eq!(inode(&server), old);
    let new = put(&program);
    assert_ne!(new, old);
    reload(&server, 1);
    assert_eq!(inode(&server), new);
    assert_eq!(
        server.post("/api/registered", &open).code(),
        200,
        "a captcha from before"
    );
    // A file that is not a program changes nothing.
    fs::remove_file(&program).unwrap();
    server.signal("HUP");
    server.lines.wait("error reload failed: ");
    assert_eq!(
        (inode(&server), server.post("/api/login", &json!({})).code()),
        (new, 504)
    );
}

#[test]
fn a_link_to_one_of_several_versions_is_followed_anew() {
    let data = Arc::new(Folder::new());
    fs::write(data.0.join("config.json"), settings().to_string()).unwrap();
    let link = data.0.join("accountd");
    let point = |version: &str| {
        let program = data.0.join(version);
        fs::copy(env!("CARGO_BIN_EXE_accountd"), &program).unwrap();
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link).unwrap();
        fs::metadata(&program).unwrap().ino()
    };
    let old = point("accountd-1");
    let mut command = Command::new(&link);
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(&data.0);
    let server = Server::started(data.clone(), command);
    assert_eq!(inode(&server), old);
    let new = point("accountd-2");
    reload(&server, 1);
    assert_eq!(inode(&server), new);
}

#[test]
fn without_a_supervisor_it_says_so_and_goes_on() {
    let server = Server::with(json!({"supervise": false}));
    server.signal("HUP");
    server
        .lines
        .wait("error reload failed: it needs the setting `supervise`; the previous configuration stays in force");
    assert_eq!(server.post("/api/login", &json!({})).code(), 504);
}
