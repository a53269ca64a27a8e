//! What a service manager does: passes a socket, hears what goes on, wants a socket for a group.

use crate::support::{CAPTCHA, Folder, Response, Server, settings};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

/// The command, its descriptor 3 being this one, as sd_listen_fds(3) has it.
fn passing(socket: OwnedFd, count: &str, data: &Folder) -> Command {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=$1; shift; exec \"$@\" 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args([
        "-c",
        script,
        "sh",
        count,
        env!("CARGO_BIN_EXE_accountd"),
        "--captcha-answer",
        CAPTCHA,
        "--data",
    ]);
    command.arg(&data.0).stdin(socket);
    command
}

fn post(path: &Path) -> u64 {
    let mut stream = UnixStream::connect(path).unwrap();
    stream
        .write_all(b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    Response::read(&mut stream, false).code()
}

#[test]
fn a_socket_that_is_passed_is_served_and_left() {
    for supervise in [true, false] {
        let data = Folder::with(json!({"supervise": supervise, "listen": "127.0.0.1:1"}));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut server = Server::started(data.clone(), passing(listener.into(), "1", &data));
        assert_eq!(server.address, address);
        let token = server.user("rei");
        server.signal("HUP");
        server.lines.wait(if supervise {
            "info reloaded"
        } else {
            "reload failed"
        });
        assert_eq!(server.info(&token)["name"], "rei");
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));

        let path = data.0.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut server = Server::started(data.clone(), passing(listener.into(), "1", &data));
        assert_eq!(
            (&*server.address, post(&path)),
            (&*format!("unix:{}", path.display()), 504)
        );
        server.signal("TERM");
        assert_eq!(
            (server.wait(), path.exists()),
            (Some(0), true),
            "it is not ours to remove"
        );
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_one_sentence() {
    let refused = |socket: OwnedFd, count: &str, sentence: &str| {
        let data = Folder::with(json!({}));
        let Output { status, stderr, .. } = passing(socket, count, &data).output().unwrap();
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{text}");
        assert_eq!(text, format!("accountd: LISTEN_FDS: {sentence}\n"));
    };
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    refused(
        listener().into(),
        "2",
        "2 sockets were passed, but accountd serves only one",
    );
    let datagrams = UnixDatagram::unbound().unwrap();
    refused(
        datagrams.into(),
        "1",
        "the passed socket is not a listening stream socket",
    );
    // A socket that was meant for another process is not taken.
    let data = Folder::with(json!({"listen": "127.0.0.1:0"}));
    let mut command = Command::new(env!("CARGO_BIN_EXE_accountd"));
    command
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .arg("--data")
        .arg(&data.0);
    Server::started(data, command);
}

#[test]
fn a_service_manager_hears_of_start_reload_and_stop() {
    let data = Folder::with(json!({"listen": "127.0.0.1:0"}));
    let path = data.0.join("notify");
    let name = format!("accountd-it-{}", accountd::crypto::random_alphanumeric(12));
    let hidden = SocketAddr::from_abstract_name(&name).unwrap();
    for (variable, ear) in [
        (
            path.display().to_string(),
            UnixDatagram::bind(&path).unwrap(),
        ),
        (
            format!("@{name}"),
            UnixDatagram::bind_addr(&hidden).unwrap(),
        ),
    ] {
        let hear = || {
            let mut text = [0; 200];
            let count = ear.recv(&mut text).unwrap();
            String::from_utf8(text[..count].to_vec()).unwrap()
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_accountd"));
        command
            .arg("--data")
            .arg(&data.0)
            .env("NOTIFY_SOCKET", &variable);
        let mut server = Server::started(data.clone(), command);
        assert_eq!(hear(), "READY=1");
        for text in [settings().to_string(), "{".into(), settings().to_string()] {
            fs::write(server.path("config.json"), text).unwrap();
            server.signal("HUP");
            let reloading = hear();
            let time = reloading
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .unwrap();
            let uptime = fs::read_to_string("/proc/uptime").unwrap();
            let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
            let time = time.parse::<f64>().unwrap() / 1e6;
            assert!(0.0 < time && time <= uptime + 1.0, "{time} {uptime}");
            assert_eq!(hear(), "READY=1");
        }
        server.signal("TERM");
        assert_eq!(hear(), "STOPPING=1");
        assert_eq!(server.wait(), Some(0));
        fs::write(
            data.0.join("config.json"),
            json!({"listen": "127.0.0.1:0"}).to_string(),
        )
        .unwrap();
    }
}

#[test]
fn a_unix_socket_has_the_mode_and_the_group_that_the_configuration_says() {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let own = fs::metadata(Folder::new().0.as_path()).map_or(0, |metadata| metadata.gid());
    let name = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|row| row[2] == own.to_string());
    let name = name.map_or_else(|| own.to_string(), |row| row[0].to_string());
    for (more, mode) in [
        (json!({}), 0o660),
        (json!({"socket_mode": "0600"}), 0o600),
        (
            json!({"socket_mode": "0666", "socket_group": own.to_string()}),
            0o666,
        ),
        (json!({"socket_group": name}), 0o660),
    ] {
        let data = Folder::with(more.clone());
        let path = data.0.join("socket");
        let mut command = Command::new(env!("CARGO_BIN_EXE_accountd"));
        command
            .arg("--listen")
            .arg(format!("unix:{}", path.display()))
            .arg("--data")
            .arg(&data.0);
        let mut server = Server::started(data.clone(), command);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(
            (metadata.mode() & 0o777, metadata.gid()),
            (mode, own),
            "{more}"
        );
        assert_eq!(post(&path), 504);
        server.signal("TERM");
        assert_eq!((server.wait(), path.exists()), (Some(0), false));
    }
}

#[test]
fn a_group_that_is_none_is_said() {
    let data = Folder::with(json!({"socket_group": "no-such-group"}));
    let mut command = Command::new(env!("CARGO_BIN_EXE_accountd"));
    let path = data.0.join("socket");
    command
        .arg("--listen")
        .arg(format!("unix:{}", path.display()))
        .arg("--data")
        .arg(&data.0);
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!((status.code(), path.exists()), (Some(1), false));
    let text = String::from_utf8(stderr).unwrap();
    assert!(
        text.ends_with("socket_group: no no-such-group in /etc/group; give the group's number\n"),
        "{text}"
    );
}
