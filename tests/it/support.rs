//! The helper of the tests in Rust: servers on free ports over fresh folders, commands, and a
//! client that sends exact bytes.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The answer to every captcha.
pub const CAPTCHA: &str = "k7m3xp";
/// The registration key of every test server.
pub const KEY: &str = "a registration key";
/// The reset key of every test server.
pub const RESET: &str = "a reset key";
/// The metrics socket in the data folder.
const METRICS: &str = "metrics";
/// Longer than any wait of a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh folder, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let path = std::env::temp_dir().join(format!(
            "accountd-it-{}",
            accountd::crypto::random_alphanumeric(12)
        ));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    /// A data folder with these settings in addition to [`settings`].
    pub fn with(more: Value) -> Arc<Folder> {
        let data = Folder::new();
        data.configure(more);
        Arc::new(data)
    }

    /// Writes config.json with these settings in addition to [`settings`].
    pub fn configure(&self, more: Value) {
        let mut all = settings();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fs::write(self.0.join("config.json"), all.to_string()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The log lines of a server.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn push(&self, line: String) {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<String> {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that contains this text.
    pub fn wait(&self, text: &str) -> String {
        self.wait_for(text, 1)
    }

    /// Waits until `count` lines contain this text; returns the last of them.
    pub fn wait_for(&self, text: &str, count: usize) -> String {
        let found = |lines: &Vec<String>| {
            lines
                .iter()
                .filter(|line| line.contains(text))
                .nth(count - 1)
                .cloned()
        };
        let lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, _) = self
            .0
            .1
            .wait_timeout_while(lines, PATIENCE, |lines| found(lines).is_none())
            .unwrap();
        found(&lines).unwrap_or_else(|| panic!("no {count} lines {text:?} among {lines:#?}"))
    }
}

pub struct Server {
    pub data: Arc<Folder>,
    pub address: String,
    pub lines: Lines,
    child: Child,
}

/// The default settings of tests: every function is enabled.
pub fn settings() -> Value {
    json!({
        "secret_key_required_for_account_registration": KEY,
        "forget_password_key": RESET,
        "forgot_password_function_status": true,
        "log": "debug",
        "throttle": false,
    })
}

impl Server {
    pub fn start() -> Server {
        Server::with(json!({}))
    }

    /// A server with these settings in addition to [`settings`].
    pub fn with(more: Value) -> Server {
        Server::on(Folder::with(more))
    }

    /// A server with [`Server::metrics`] and these settings in addition to [`settings`].
    pub fn measured(more: Value) -> Server {
        let data = Folder::with(more);
        let mut command = Server::command(&data);
        // A variable, so that a test can overwrite config.json.
        command.env(
            "ACCOUNTD_METRICS_LISTEN",
            format!("unix:{}", data.0.join(METRICS).display()),
        );
        Server::started(data, command)
    }

    /// A server on an existing folder.
    pub fn on(data: Arc<Folder>) -> Server {
        let command = Server::command(&data);
        Server::started(data, command)
    }

    /// The command that starts a server on a folder and a free port.
    pub fn command(data: &Folder) -> Command {
        let mut command = accountd();
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--captcha-answer",
                CAPTCHA,
                "--data",
            ])
            .arg(&data.0);
        command
    }

    /// The metrics of a server started by [`Server::measured`].
    pub fn metrics(&self) -> String {
        let ask = || {
            let mut stream = UnixStream::connect(self.path(METRICS))?;
            stream.write_all(&request("GET", "/metrics", &[], b""))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        let since = Instant::now();
        loop {
            match ask() {
                Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                    return answer.split_once("\r\n\r\n").unwrap().1.into();
                }
                // The socket may be passing from one worker to the next.
                other => assert!(since.elapsed() < PATIENCE, "{other:?}"),
            }
        }
    }

    /// Starts a server with this command on a folder and waits until it listens.
    pub fn started(data: Arc<Folder>, mut command: Command) -> Server {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = Lines::default();
        let (stderr, sink) = (child.stderr.take().unwrap(), lines.clone());
        thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| sink.push(line))
        });
        let line = lines.wait("listening on ");
        let address = line
            .trim_start_matches("listening on ")
            .trim_start_matches("http://")
            .to_string();
        Server {
            data,
            address,
            lines,
            child,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.data.0.join(name)
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits until the server exits; returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes on a new connection and reads one response.
    pub fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = self.connect();
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(bytes);
        let head = bytes.starts_with(b"HEAD ");
        Response::read(&mut stream, head)
    }

    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.raw(&request(method, path, headers, body))
    }

    /// Posts a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    /// Fetches a captcha; returns its key.
    pub fn captcha(&self) -> String {
        let response = self.send("GET", "/api/get_verification_code/", &[], b"");
        response
            .header("VerificationCodeKey")
            .expect("a key")
            .to_string()
    }

    /// Adds the two members of a solved captcha.
    pub fn solved(&self, mut body: Value) -> Value {
        body["verification_code_key"] = self.captcha().into();
        body["verification_code"] = CAPTCHA.into();
        body
    }

    /// Posts JSON with a solved captcha.
    pub fn post_solved(&self, path: &str, body: Value) -> Response {
        self.post(path, &self.solved(body))
    }

    pub fn register(&self, name: &str) {
        let response = self.post_solved("/api/registered/", new_user(name));
        assert_eq!(response.code(), 200, "{}", response.text());
    }

    /// Logs in with the password of [`new_user`].
    pub fn login(&self, name: &str) -> String {
        let response = self.post_solved(
            "/api/login/",
            json!({"username": name, "passwd": "a password"}),
        );
        assert_eq!(response.code(), 200, "{}", response.text());
        response.json()["message"].as_str().unwrap().to_string()
    }

    pub fn user(&self, name: &str) -> String {
        self.register(name);
        self.login(name)
    }

    pub fn info(&self, token: &str) -> Value {
        self.post("/api/user_info/", &json!({"token": token}))
            .json()["message"]
            .clone()
    }

    pub fn upload(&self, token: &str, file: &[u8]) -> Response {
        let body = form("file", file);
        self.send(
            "POST",
            "/api/upload_avatar/",
            &[("token", token), ("Content-Type", FORM)],
            &body,
        )
    }

    pub fn avatars(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.path("avatars")) else {
            return Vec::new();
        };
        folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Opens the database as another process would.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("accountd.db")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server wrote {:#?}", self.lines.all());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn new_user(name: &str) -> Value {
    json!({
        "show_name": format!("{name} 阿巴"), "username": name, "passwd": "a password",
        "email": format!("{name}@example.org"), "key": KEY,
    })
}

pub const FORM: &str = "multipart/form-data; boundary=----XyZ";

/// A multipart body with one file.
pub fn form(name: &str, file: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "------XyZ\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n------XyZ--\r\n");
    body
}

/// A PNG of noise with this many bytes or slightly more.
pub fn picture(bytes: usize) -> Vec<u8> {
    let side = 1 + f64::from(u32::try_from(bytes).unwrap()).sqrt().ceil() as u32;
    let mut noise = vec![0; (side * side) as usize];
    accountd::crypto::fill_random(&mut noise);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&noise)
        .unwrap();
    file
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Reads one response and skips interim ones; `bare` means that it has no body, whatever its
    /// Content-Length is.
    pub fn read(stream: &mut impl Read, bare: bool) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head))
            });
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        if status == 100 {
            return Response::read(stream, bare);
        }
        let split = |line: &str| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .unwrap()
        };
        let mut response = Response {
            status,
            headers: lines.map(split).collect(),
            body: Vec::new(),
        };
        if !bare {
            let length = response
                .header("Content-Length")
                .map_or(0, |length| length.parse().unwrap());
            response.body = vec![0; length];
            stream.read_exact(&mut response.body).unwrap();
        }
        response
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.0.eq_ignore_ascii_case(name))
            .map(|header| &*header.1)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The `code` of the body.
    pub fn code(&self) -> u64 {
        self.json()["code"].as_u64().unwrap()
    }
}

/// The binary that the tests run.
pub fn accountd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_accountd"))
}

/// Runs a command to its end with this standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses may exit without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let mut command = Command::new("kill");
    command.args(["-s", name, &pid.to_string()]);
    assert!(command.status().unwrap().success());
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
