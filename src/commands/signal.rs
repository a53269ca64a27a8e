//! The commands `reload` and `stop`: signals to the server of a data folder.

use crate::command::{Args, Command, DATA, Failure, print};
use crate::config::{environment, load};
use crate::process::lock_holder;
use std::io;
use std::time::Duration;

/// How long `stop` waits. The server gives its workers 35 seconds.
const PATIENCE: Duration = Duration::from_secs(45);

/// `reload`
pub const RELOAD: Command = Command {
    name: "reload",
    doc: "let the running server continue with the current settings and program",
    about: "Checks the settings first: if they are invalid, it prints the reason and does not signal the server. \
            Otherwise it sends SIGHUP to the process that has locked the data folder. The log tells when the server \
            has reloaded. No connection is refused meanwhile.\n\
            A server in a container is signalled from outside, with `docker kill -s HUP NAME`.",
    arguments: &[],
    options: &[DATA],
    exit: &[(
        1,
        "no server uses the data folder, or it cannot be signalled",
    )],
    examples: &[(
        "reload --data /srv/accounts",
        "after a change of config.json or an upgrade of the program",
    )],
    run: reload,
};

/// `stop`
pub const STOP: Command = Command {
    name: "stop",
    doc: "stop the running server and wait until it has stopped",
    about: "Sends SIGTERM to the process that has locked the data folder, and waits up to 45 seconds until it has \
            answered its last requests and ended.\n\
            A service manager or a container's restart policy may start the server again; use `systemctl stop` or \
            `docker stop` there.",
    arguments: &[],
    options: &[DATA],
    exit: &[(
        1,
        "no server uses the data folder, it cannot be signalled, or it is still running",
    )],
    examples: &[(
        "stop --data /srv/accounts",
        "stop the server of this data folder",
    )],
    run: stop,
};

fn reload(args: &Args) -> Result<(), Failure> {
    let data = args.data();
    environment()
        .and_then(|found| load(&data, &found, &[]))
        .map_err(|error| Failure::new(2, error))?;
    let server = lock_holder::server(&data)?;
    server.reload().map_err(|error| failed(server.pid, error))?;
    print(&format!(
        "pid {}: reloading; its log has the result\n",
        server.pid
    ))
}

fn stop(args: &Args) -> Result<(), Failure> {
    let server = lock_holder::server(&args.data())?;
    let pid = server.pid;
    match server.stop(PATIENCE) {
        Ok(true) => print(&format!("pid {pid}: stopped\n")),
        Ok(false) => {
            let seconds = PATIENCE.as_secs();
            Err(Failure::new(
                1,
                format!("pid {pid}: is still running after {seconds} seconds"),
            ))
        }
        Err(error) => Err(failed(pid, error)),
    }
}

fn failed(pid: i32, error: io::Error) -> Failure {
    Failure::new(1, format!("pid {pid}: {error}"))
}
