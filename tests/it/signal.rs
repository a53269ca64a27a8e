//! The commands `reload` and `stop`: which process they signal, and why they refuse.

use crate::support::{Folder, Server, accountd, run};
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ABSENT: &str = "no server that this command can see uses this folder; signal one in a container with `docker kill -s HUP NAME` or `docker stop NAME`";

/// Exit code, standard output and standard error of a command on a data folder.
fn command(data: &Path, name: &str) -> (Option<i32>, String, String) {
    let output = run(accountd().arg(name).arg("--data").arg(data), b"");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The sentence of a refusal, without the data folder.
fn refusal(data: &Path, name: &str) -> String {
    let (code, output, error) = command(data, name);
    assert_eq!((code, &*output), (Some(1), ""), "{error}");
    let (_, sentence) = error.split_once(&format!("{}: ", data.display())).unwrap();
    sentence.trim().into()
}

/// A process that is not a server, and ends when it is dropped.
struct Bystander(Child);

impl Bystander {
    fn start() -> Bystander {
        Bystander(
            Command::new("cat")
                .stdin(Stdio::piped())
                .spawn()
                .expect("cat starts"),
        )
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_holder_of_the_lock_is_signalled_and_not_the_pid_in_the_file() {
    let mut server = Server::start();
    let mut bystander = Bystander::start();
    fs::write(
        server.path("accountd.lock"),
        format!("{}\n", bystander.0.id()),
    )
    .unwrap();
    let data = server.data.0.clone();
    let pid = server.pid();

    let (code, output, error) = command(&data, "reload");
    assert_eq!(
        (code, &*output, &*error),
        (
            Some(0),
            &*format!("pid {pid}: reloading; its log has the result\n"),
            ""
        )
    );
    server.lines.wait("info reloaded");

    let (code, output, error) = command(&data, "stop");
    assert_eq!(
        (code, &*output, &*error),
        (Some(0), &*format!("pid {pid}: stopped\n"), "")
    );
    assert_eq!(server.wait(), Some(0));
    assert_eq!(refusal(&data, "stop"), ABSENT);
    assert_eq!(refusal(&data, "reload"), ABSENT);
    assert!(bystander.0.try_wait().unwrap().is_none());
}

#[test]
fn a_server_with_invalid_settings_is_not_signalled() {
    let server = Server::start();
    server.data.configure(json!({"threads": 0}));
    let (code, output, error) = command(&server.data.0, "reload");
    assert_eq!((code, &*output), (Some(2), ""));
    assert!(error.contains("threads"), "{error}");
    assert!(
        !server
            .lines
            .all()
            .iter()
            .any(|line| line.contains("reload"))
    );
}

#[test]
fn other_holders_of_the_lock_are_not_signalled() {
    let data = Folder::new();
    for name in ["reload", "stop"] {
        assert_eq!(refusal(&data.0, name), ABSENT);
    }
    let lock = File::create(data.0.join("accountd.lock")).unwrap();
    lock.try_lock().unwrap();
    let pid = std::process::id();
    for (text, reason) in [
        ("", format!("process {pid} is starting; try again")),
        (
            &format!("{pid} restore\n"),
            format!("process {pid} is restoring a backup"),
        ),
    ] {
        fs::write(data.0.join("accountd.lock"), text).unwrap();
        for name in ["reload", "stop"] {
            assert_eq!(refusal(&data.0, name), reason);
        }
    }
}

#[test]
fn a_server_of_another_pid_namespace_is_named_as_such() {
    let server = Server::start();
    let namespace = ["--map-root-user", "--pid", "--fork", "--mount-proc"];
    let works = Command::new("unshare").args(namespace).arg("true").output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("not tried: this machine creates no PID namespace");
        return;
    }
    for name in ["reload", "stop"] {
        let output = run(
            Command::new("unshare")
                .args(namespace)
                .arg(env!("CARGO_BIN_EXE_accountd"))
                .arg(name)
                .arg("--data")
                .arg(&server.data.0),
            b"",
        );
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(ABSENT), "{error}");
    }
    server.post("/api/user_info", &json!({}));
}
