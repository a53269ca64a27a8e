//! The floor that benchmarks compare accountd with: the same packages without our code.
//!
//! - `floor http THREADS FILE`: plain tiny_http on a listening socket with accountd's options. It
//!   answers `/s/…` with the bytes of FILE from memory and everything else with `200 ok`, and logs
//!   its address as accountd does.
//! - `floor commits FOLDER SECONDS`: one writer that changes display names in FOLDER/accountd.db
//!   with accountd's pragmas, one per commit; prints commits per second.
//! - `floor lookups FOLDER SECONDS KIB`: one reader that looks up tokens in FOLDER/accountd.db as
//!   `user_info` does, with a page cache of KIB; prints nanoseconds per look-up.
//! - `floor files FOLDER BYTES SECONDS`: writes and syncs files of BYTES one after the other; then
//!   the same with what a durable avatar needs: the folder is synced and a row of
//!   FOLDER/accountd.db changed. Prints the median time of each in microseconds.

use accountd::config::Listen;
use accountd::crypto;
use accountd::server::listener;
use accountd::server::unix::Access;
use accountd::store::users::by_token;
use accountd::store::{Fault, Reader};
use rusqlite::{Connection, TransactionBehavior, params};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tiny_http::{Response, Server};

/// Commits before the measured ones. After them the write-ahead log has its full size and is
/// overwritten from the start. While it grows, each sync also costs a commit of the file system's
/// journal and takes several times as long.
const WARM: i64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["http", threads, file] => http(threads.parse()?, fs::read(file)?),
        ["commits", folder, seconds] => commits(Path::new(folder), Duration::from_secs_f64(seconds.parse()?)),
        ["lookups", folder, seconds, cache] => {
            lookups(Path::new(folder), Duration::from_secs_f64(seconds.parse()?), cache.parse()?)
        }
        ["files", folder, bytes, seconds] => {
            files(Path::new(folder), bytes.parse()?, Duration::from_secs_f64(seconds.parse()?))
        }
        _ => Err("usage: floor http THREADS FILE | commits FOLDER SECONDS | lookups FOLDER SECONDS KIB | files FOLDER BYTES SECONDS".into()),
    }
}

fn http(threads: usize, file: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let access = Access {
        mode: 0o600,
        group: None,
    };
    let bound = listener::bind(&Listen::Tcp("127.0.0.1:0".parse()?), &access)?;
    let Listen::Tcp(address) = bound.listen else {
        return Err("the socket is not bound to a TCP address".into());
    };
    let listener = TcpListener::from(bound.socket);
    let server = Server::from_listener(listener, None).map_err(|error| error.to_string())?;
    let (server, file) = (Arc::new(server), Arc::new(file));
    for _ in 0..threads {
        let (server, file) = (server.clone(), file.clone());
        thread::spawn(move || {
            while let Ok(request) = server.recv() {
                let _ = if request.url().starts_with("/s/") {
                    let body =
                        Response::new(200.into(), Vec::new(), &file[..], Some(file.len()), None);
                    request.respond(body.with_chunked_threshold(usize::MAX))
                } else {
                    request.respond(Response::from_string("200 ok"))
                };
            }
        });
    }
    eprintln!("listening on http://{address}");
    loop {
        // tiny_http leaves some of the connections that arrive at once waiting until another one
        // comes and goes.
        drop(TcpStream::connect(address));
        thread::sleep(Duration::from_secs(5));
    }
}

fn open(folder: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(folder.join(accountd::store::FILE))?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}

fn commits(folder: &Path, time: Duration) -> Result<(), Box<dyn Error>> {
    let mut db = open(folder)?;
    let users: i64 = db.query_row("SELECT max(id) FROM users", [], |row| row.get(0))?;
    // SQLite does not write an unchanged row.
    let names = crypto::random_alphanumeric(10);
    let mut commit = |count: i64| -> rusqlite::Result<()> {
        // Users in an order that jumps all over the table, as with real clients. The step is
        // coprime to their number.
        let id = count * 7_919 % users + 1;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached("UPDATE users SET show_name = ?2 WHERE id = ?1")?
            .execute(params![id, format!("{names} {count:010}")])?;
        transaction.commit()
    };
    for count in 0..WARM {
        commit(count)?;
    }
    let (since, mut count) = (Instant::now(), 0_i64);
    while since.elapsed() < time {
        commit(WARM + count)?;
        count += 1;
    }
    println!("{:.1}", count as f64 / since.elapsed().as_secs_f64());
    Ok(())
}

fn lookups(folder: &Path, time: Duration, cache: i64) -> Result<(), Box<dyn Error>> {
    let reader = Reader::open(folder)?;
    let users = |db: &Connection| {
        db.pragma_update(None, "cache_size", -cache)?;
        db.query_row("SELECT max(id) FROM users", [], |row| row.get::<_, i64>(0))
    };
    let users = reader.read(users).map_err(cause)?;
    let (mut since, mut count, mut warm) = (Instant::now(), 0, true);
    while warm || since.elapsed() < time {
        let digest = crypto::sha256(format!("{:010}", count * 7_919 % users + 1).repeat(25));
        reader
            .read(|db| by_token(db, &digest, 0))
            .map_err(cause)?
            .ok_or("a token is unknown")?;
        count += 1;
        // Every row once, to fill the cache.
        if warm && count > users {
            (since, count, warm) = (Instant::now(), 0, false);
        }
    }
    println!("{:.0}", since.elapsed().as_secs_f64() * 1e9 / count as f64);
    Ok(())
}

fn cause(fault: Fault) -> String {
    fault.cause().into()
}

fn files(folder: &Path, bytes: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    let db = open(folder)?;
    let (content, path) = (vec![0x5a; bytes], folder.join("floor"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create_new(&path)?;
        file.write_all(&content)?;
        file.sync_all()
    };
    let write_durably = |count: usize| -> Result<(), Box<dyn Error>> {
        write()?;
        File::open(folder)?.sync_all()?;
        db.prepare_cached("UPDATE users SET avatar = ?1 WHERE id = 1")?
            .execute([format!("{count}.png")])?;
        Ok(())
    };
    let (mut files, mut pictures) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < time {
        let since = Instant::now();
        write()?;
        files.push(since.elapsed());
        fs::remove_file(&path)?;
        let since = Instant::now();
        write_durably(files.len())?;
        pictures.push(since.elapsed());
        fs::remove_file(&path)?;
    }
    for times in [&mut files, &mut pictures] {
        times.sort_unstable();
        println!("{}", times[times.len() / 2].as_micros());
    }
    Ok(())
}
