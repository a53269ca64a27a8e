//! The command line, and the start and stop of the server.

use crate::support::{Folder, KEY, Response, Server, accountd, picture};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    crate::support::run(
        accountd().args(arguments).envs(environment.iter().copied()),
        b"",
    )
}

/// Exit code and standard error of a command that fails.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = run(arguments, environment);
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn help_and_version_are_printed() {
    let help = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    for word in [
        "serve",
        "config",
        "--data DIR",
        "--listen ADDR",
        "--captcha-answer TEXT",
        "Exit status",
    ] {
        assert!(help.contains(word), "{help}");
    }
    for arguments in [&["--help", "config"][..], &["config", "-h", "--data", "x"]] {
        let help = String::from_utf8(run(arguments, &[]).stdout).unwrap();
        assert!(
            help.starts_with("accountd config: print the settings") && !help.contains("--listen"),
            "{help}"
        );
    }
    let version = String::from_utf8(run(&["--version"], &[]).stdout).unwrap();
    assert_eq!(version, format!("accountd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_manual_page_and_completions_are_printed() {
    let page = String::from_utf8(run(&["man"], &[]).stdout).unwrap();
    assert!(
        page.starts_with(".TH ACCOUNTD 1 ")
            && page.contains(".SS accountd user set\\-password USER"),
        "{page}"
    );
    let script = String::from_utf8(run(&["completions", "bash"], &[]).stdout).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_accountd"));
    let folder = program.parent().unwrap().to_str().unwrap();
    let completed = |path: &str, words: &str, at: usize| {
        let line = format!(
            "{script}\nset -u; PATH={path}; COMP_WORDS=({words}); COMP_CWORD={at}; _accountd
             echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &line])
            .output()
            .unwrap();
        assert_eq!(output.stderr, b"");
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    };
    for (words, at, expected) in [
        ("accountd con", 1, "config"),
        ("accountd user set", 2, "set-password"),
        ("accountd --data = x user set", 5, "set-password"),
        ("accountd completions ''", 2, "bash zsh fish"),
        ("accountd dance ''", 2, ""),
    ] {
        assert_eq!(completed(folder, words, at), expected, "{words}");
    }
    assert_eq!(
        completed("/nonexistent", "accountd con", 1),
        "",
        "if accountd is not in PATH, nothing is completed and nothing printed"
    );
    let (code, text) = refused(&["completions", "tcsh"], &[]);
    assert!(
        code == 2 && text.contains("SHELL is \"tcsh\"; it should be bash, zsh or fish"),
        "{text}"
    );
}

#[test]
fn a_closed_pipe_is_not_a_failure_and_a_full_disk_is() {
    let program = env!("CARGO_BIN_EXE_accountd");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(program)
        .arg("--help")
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    let output = Command::new("sh")
        .args(["-c", &format!("{program} --help > /dev/full")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && text.contains("standard output cannot be written"),
        "{text}"
    );
}

#[test]
fn bad_usage_exits_2_with_one_line() {
    for (arguments, sentence) in [
        (&["dance"][..], "dance is not a command"),
        (&["--dance"], "--dance is not an option"),
        (&["--data"], "missing argument"),
        (&["serve", "serve"], "unexpected argument"),
        (
            &["config", "--listen", "127.0.0.1:0"],
            "config has no option --listen",
        ),
        (&["-x"], "invalid option"),
        (
            &["--data=x", "serve", "x"],
            "unexpected argument \"x\"; see accountd serve --help",
        ),
    ] {
        let (code, text) = refused(arguments, &[]);
        assert_eq!(code, 2, "{text}");
        assert!(
            text.contains(sentence) && text.lines().count() == 1,
            "{text}"
        );
    }
}

#[test]
fn an_invalid_setting_exits_2_and_names_its_place() {
    let folder = Folder::new();
    let data = folder.0.to_str().unwrap();
    fs::write(
        folder.0.join("config.json"),
        "{\n  \"threads\": \"four\"\n}",
    )
    .unwrap();
    let (code, text) = refused(&["--data", data], &[]);
    assert_eq!(code, 2);
    assert!(
        text.contains(
            "config.json line 2: \"threads\" is \"four\"; it should be a whole number from 1 to 64"
        ),
        "{text}"
    );
    assert!(!folder.0.join("accountd.db").exists());
    fs::remove_file(folder.0.join("config.json")).unwrap();
    for (name, value) in [
        ("ACCOUNTD_THREADS", "0"),
        ("ACCOUNTD_LISTEN", "localhost"),
        ("ACCOUNTD_PASSWORD_HASH", "bcrypt"),
    ] {
        let (code, text) = refused(&["--data", data], &[(name, value)]);
        assert!(
            code == 2 && text.contains(name) && text.contains("it should be"),
            "{text}"
        );
    }
    let (code, text) = refused(&["--data", data, "--listen", "nowhere"], &[]);
    assert!(
        code == 2
            && text
                .contains("--listen: \"listen\" is \"nowhere\"; it should be IP:PORT or unix:PATH"),
        "{text}"
    );
}

#[test]
fn a_misspelt_variable_is_refused_by_every_command_that_reads_settings() {
    let folder = Folder::new();
    let data = folder.0.to_str().unwrap();
    for arguments in [
        &["serve"][..],
        &["config"],
        &["health"],
        &["user", "rename", "rei", "asuka"],
    ] {
        let arguments = [arguments, &["--data", data]].concat();
        let (code, text) = refused(
            &arguments,
            &[("ACCOUNTD_FORGET_PASSWORD_KEY_FIEL", "/run/secrets/reset")],
        );
        let expected = "accountd: environment variable ACCOUNTD_FORGET_PASSWORD_KEY_FIEL is not a setting; did you mean \
                        ACCOUNTD_FORGET_PASSWORD_KEY_FILE? Correct the name, or unset the variable\n";
        assert_eq!((code, &*text), (2, expected), "{arguments:?}");
    }
    assert!(!folder.0.join("accountd.db").exists());
}

#[test]
fn empty_variables_and_those_of_kubernetes_are_ignored() {
    let data = Arc::new(Folder::new());
    let secret = data.0.join("secret");
    fs::write(&secret, format!("\u{feff}{KEY}\r\n")).unwrap();
    let mut command = Server::command(&data);
    command.envs([
        ("ACCOUNTD_THREADS", ""),
        ("ACCOUNTD_METRICS_LISTEN", ""),
        ("ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION", ""),
        (
            "ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION_FILE",
            secret.to_str().unwrap(),
        ),
        ("ACCOUNTD_SERVICE_HOST", "10.0.0.11"),
        ("ACCOUNTD_PORT", "tcp://10.0.0.11:9999"),
        ("ACCOUNTD_PORT_9999_TCP_ADDR", "10.0.0.11"),
    ]);
    let server = Server::started(data, command);
    server.user("rei");
    fs::write(&secret, "\n").unwrap();
    let name = "ACCOUNTD_SECRET_KEY_REQUIRED_FOR_ACCOUNT_REGISTRATION_FILE";
    let (code, text) = refused(&["config"], &[(name, secret.to_str().unwrap())]);
    assert!(
        code == 2 && text.contains(&format!("{name}: {} is empty; write", secret.display())),
        "{text}"
    );
}

#[test]
fn a_socket_path_over_107_bytes_is_refused_with_the_limit() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let long = |bytes: usize| {
        let start = format!("unix:{}/", folder.0.display());
        format!(
            "{start}{}",
            "s".repeat(bytes - (start.len() - "unix:".len()))
        )
    };
    let refused = |arguments: &[&str], environment: &[(&str, &str)]| {
        let (code, text) = refused(
            &[&["--data", data.to_str().unwrap()], arguments].concat(),
            environment,
        );
        assert!(code == 2 && text.lines().count() == 1, "{text}");
        text
    };
    let text = refused(&["--listen", &long(108)], &[]);
    assert!(
        text.ends_with("it should be IP:PORT or unix:PATH (at most 107 bytes)\n"),
        "{text}"
    );
    let text = refused(
        &["--listen", "127.0.0.1:0"],
        &[("ACCOUNTD_METRICS_LISTEN", &long(108))],
    );
    assert!(
        text.ends_with("it should be IP:PORT, unix:PATH (at most 107 bytes) or null\n"),
        "{text}"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_accountd"));
    command.args(["--listen", &long(107), "--data"]).arg(&data);
    let server = Server::started(Arc::new(folder), command);
    assert!(UnixStream::connect(server.address.strip_prefix("unix:").unwrap()).is_ok());
}

#[test]
fn a_data_folder_can_have_any_name_that_is_utf_8() {
    let outer = Folder::new();
    let program = env!("CARGO_BIN_EXE_accountd");
    for name in [
        "file:x",
        "file:x?mode=memory",
        "a?b#c%20d%",
        " 阿 巴 ",
        "slash/",
        "-x",
    ] {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(program);
            let output = command
                .arg(format!("--data={name}"))
                .args(arguments)
                .current_dir(&outer.0)
                .output()
                .unwrap();
            assert_eq!(
                output.status.code(),
                Some(0),
                "{arguments:?} {name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        };
        let mut command = Command::new(program);
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--captcha-answer",
            crate::support::CAPTCHA,
        ]);
        command.arg(format!("--data={name}")).current_dir(&outer.0);
        let folder = Arc::new(Folder(outer.0.join(name)));
        fs::create_dir(&folder.0).unwrap();
        folder.configure(json!({}));
        let mut server = Server::started(folder.clone(), command);
        let token = server.user("rei");
        assert_eq!(server.upload(&token, &picture(20_000)).code(), 200);
        assert!(run(&["user", "show", "rei", "--json"]).contains("rei@example.org"));
        assert!(run(&["check"]).contains("sound: 1 user"), "{name}");
        server.signal("HUP");
        server.lines.wait(" info reloaded");
        assert_eq!(server.info(&token)["name"], "rei");
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        assert!(
            folder.0.join("accountd.db").exists(),
            "{name}: the database is in the data folder"
        );
        let backups = format!("{}-backups", name.trim_end_matches('/'));
        run(&["backup", "--", &backups]);
        let backup = fs::read_dir(outer.0.join(&backups))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        run(&[
            "restore",
            "--force",
            "--",
            backup.strip_prefix(&outer.0).unwrap().to_str().unwrap(),
        ]);
        assert!(run(&["user", "list"]).contains("rei"));
    }
    // The same holds for the database of another program.
    rusqlite::Connection::open(outer.0.join("file:theirs"))
        .unwrap()
        .execute_batch("CREATE TABLE theirs (id)")
        .unwrap();
    let mut command = Command::new(program);
    let output = command
        .args(["import-medusa", "file:theirs"])
        .current_dir(&outer.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("file:theirs: is not a database of Medusa"),
        "{text}"
    );
    let (code, text) = refused(&["--data", ""], &[]);
    assert!(code == 2 && text.contains("--data is empty"), "{text}");
    let folder = outer.0.join(OsStr::from_bytes(b"a\xff"));
    let output = Command::new(program)
        .arg("--data")
        .arg(&folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2)
            && text.contains("the path of the data folder is not UTF-8"),
        "{text}"
    );
    assert!(!folder.exists());
}

#[test]
fn a_fixed_captcha_answer_is_refused_on_public_addresses() {
    let folder = Folder::new();
    let data = folder.0.to_str().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let (code, text) = refused(
            &[
                "--data",
                data,
                "--listen",
                address,
                "--captcha-answer",
                "abc",
            ],
            &[],
        );
        assert!(
            code == 2 && text.contains("--captcha-answer is for tests and refused on"),
            "{text}"
        );
    }
    assert_eq!(
        refused(&["--data", data, "--captcha-answer", "a b"], &[]).0,
        2
    );
    let server = Server::start();
    server
        .lines
        .wait("WARNING: every captcha has the answer of --captcha-answer");
}

#[test]
fn the_first_start_writes_a_private_configuration() {
    let folder = Arc::new(Folder::new());
    let mut server = Server::on(folder.clone());
    let path = server.path("config.json");
    server.lines.wait(&format!(
        "registration key: secret_key_required_for_account_registration in {}",
        path.display()
    ));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&path).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["registration_function_status"], true);
    assert_eq!(written["forgot_password_function_status"], false);
    let key = written["secret_key_required_for_account_registration"]
        .as_str()
        .unwrap();
    assert!(key.len() == 40 && written["forget_password_key"] != key);
    let mut user = crate::support::new_user("rei");
    user["key"] = key.into();
    assert_eq!(server.post_solved("/api/registered", user).code(), 200);
    let log = server.lines.all().concat();
    assert!(!log.contains(key), "{log}");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let server = Server::on(folder);
    assert_eq!(
        fs::read_to_string(server.path("config.json")).unwrap(),
        text,
        "a second start writes nothing"
    );
    server.login("rei");
}

#[test]
fn config_prints_values_with_their_sources_and_hides_secrets() {
    let folder = Folder::new();
    let data = folder.0.to_str().unwrap();
    fs::write(
        folder.0.join("config.json"),
        json!({"threads": 2, "forget_password_key": KEY}).to_string(),
    )
    .unwrap();
    let output = run(
        &["config", "--data", data],
        &[("ACCOUNTD_TOKEN_TTL_SECONDS", "600")],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "threads = 2  [".to_string(),
        "token_ttl_seconds = 600  [environment variable ACCOUNTD_TOKEN_TTL_SECONDS]".into(),
        "sessions_per_user = 1  [default]".into(),
        "forget_password_key = (hidden)".into(),
        "secret_key_required_for_account_registration = (not set)  [default]".into(),
    ] {
        assert!(text.contains(&line), "{text}");
    }
    assert!(!text.contains(KEY));
}

#[test]
fn a_second_server_on_a_folder_is_refused_with_the_pid_of_the_first() {
    let server = Server::start();
    let (code, text) = refused(
        &[
            "--data",
            server.data.0.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
        ],
        &[],
    );
    assert_eq!(code, 1);
    assert!(
        text.contains(&format!(
            "another accountd, with pid {}, is using this folder",
            server.pid()
        )),
        "{text}"
    );
    assert_eq!(server.post("/api/login", &json!({})).code(), 504);
}

#[test]
fn a_data_folder_open_to_others_is_logged_and_its_lock_is_private() {
    for (mode, is_logged) in [
        (0o700, false),
        (0o750, false),
        (0o710, false),
        (0o755, true),
        (0o701, true),
        (0o770, true),
    ] {
        let folder = Folder::new();
        // Older versions created the lock with this mode.
        fs::write(folder.0.join("accountd.lock"), "").unwrap();
        fs::set_permissions(
            folder.0.join("accountd.lock"),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(mode)).unwrap();
        let server = Server::on(Arc::new(folder));
        let lock = fs::metadata(server.path("accountd.lock"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(lock, 0o600, "{mode:o}");
        let path = server.data.0.display();
        let warning = format!(
            " error the mode of the data folder {path}, 0{mode:03o}, lets other users of this machine in; `chmod 700 {path}` \
             keeps them out"
        );
        let lines = server.lines.all();
        assert_eq!(
            lines.iter().filter(|line| line.ends_with(&warning)).count(),
            usize::from(is_logged),
            "{mode:o} {lines:#?}"
        );
    }
    let server = Server::start();
    assert_eq!(
        fs::metadata(server.path("accountd.lock"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn a_data_folder_that_the_user_may_not_use_is_refused_with_the_command_that_helps() {
    let owned = Folder::new();
    let closed = Folder::new();
    let owner = fs::metadata(&owned.0).unwrap().uid();
    let stranger = if owner == 0 { 65532 } else { owner };
    // Only root can become another user.
    let start = |data: &Path| {
        let mut command = if owner == 0 {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65532", "--clear-groups", "--"]);
            command.arg(env!("CARGO_BIN_EXE_accountd"));
            command
        } else {
            accountd()
        };
        let output = crate::support::run(command.arg("--data").arg(data), b"");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1));
        error
    };
    let path = owned.0.display();
    if owner == 0 {
        let expected = format!(
            "accountd: {path}: belongs to the user with id 0, but this process has the user id {stranger}; \
             `chown -R {stranger} {path}` gives the folder to it\n"
        );
        assert_eq!(start(&owned.0), expected);
    }
    // The folder is right, but a file in it is not.
    let file = closed.0.join("config.json");
    fs::write(&file, "{}").unwrap();
    if owner == 0 {
        for path in [&closed.0, &file] {
            std::os::unix::fs::chown(path, Some(stranger), None).unwrap();
        }
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let expected = format!(
        "accountd: {}: its mode does not let the user with id {stranger} use it; `chmod -R u+rwX {}` does\n",
        file.display(),
        closed.0.display()
    );
    assert_eq!(start(&closed.0), expected);
}

#[test]
fn start_errors_exit_1_with_one_line() {
    let server = Server::start();
    let folder = Folder::new();
    let data = folder.0.to_str().unwrap();
    let (code, text) = refused(&["--data", data, "--listen", &server.address], &[]);
    assert!(
        code == 1 && text.contains("cannot listen on") && text.lines().count() == 1,
        "{text}"
    );
    fs::write(folder.0.join("accountd.db"), "x".repeat(200)).unwrap();
    let (code, text) = refused(&["--data", data, "--listen", "127.0.0.1:0"], &[]);
    assert!(
        code == 1
            && text.contains("is not a SQLite database; move it away")
            && text.lines().count() == 1,
        "{text}"
    );
    let file = folder.0.join("accountd.db");
    let (code, text) = refused(&["--data", file.to_str().unwrap()], &[]);
    assert!(code == 1 && text.lines().count() == 1, "{text}");
}

#[test]
fn too_few_descriptors_are_refused_at_the_start() {
    let folder = Folder::new();
    let start = format!(
        "ulimit -n 100; exec {} --data {} --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_accountd"),
        folder.0.display()
    );
    let output = Command::new("sh").args(["-c", &start]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("100 descriptors are too few to serve: allow at least 256"),
        "{text}"
    );
}

#[test]
fn a_signal_stops_the_server_after_requests_are_answered() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        let token = server.user("rei");
        // An upload whose body is still missing when the signal comes.
        let body = crate::support::form("file", &picture(30_000));
        let head = format!(
            "POST /api/upload_avatar HTTP/1.1\r\nHost: a\r\ntoken: {token}\r\nContent-Type: {}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            crate::support::FORM,
            body.len()
        );
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        // The interim response shows that the server is waiting for the body.
        let mut interim = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
        server.signal(signal);
        stream.write_all(&body).unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut rest).unwrap();
        let text = String::from_utf8_lossy(&rest);
        assert!(text.contains("\"code\":200"), "{signal}: {text}");
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn the_server_listens_on_a_unix_socket_and_replaces_a_stale_one() {
    let folder = Folder::new();
    let socket = folder.0.join("socket");
    let address = format!("unix:{}", socket.display());
    let start = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_accountd"))
            .args(["--listen", &address, "--captcha-answer", "abc", "--data"])
            .arg(folder.0.join("data"))
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        assert!(lines.any(|line| line.unwrap() == format!("listening on {address}")));
        (child, lines)
    };
    let (mut child, lines) = start();
    let ask = || {
        let mut streams: Vec<_> = (0..12)
            .map(|_| UnixStream::connect(&socket).unwrap())
            .collect();
        for stream in &mut streams {
            stream
                .write_all(b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
                .unwrap();
        }
        for stream in &mut streams {
            assert_eq!(Response::read(stream, false).code(), 504);
        }
    };
    ask();
    // A killed server leaves its socket behind; the next start replaces it.
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);
    assert!(socket.exists());
    let (mut child, _lines) = start();
    ask();
    child.kill().unwrap();
    child.wait().unwrap();
}
