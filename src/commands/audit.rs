//! The command `audit`: prints the audit log.

use super::terminal::table::{self, Table, plain, time};
use super::{DataFolder, user};
use crate::clock;
use crate::command::{Args, Command, DATA, Failure, ID, JSON, Opt, print, usage};
use crate::store::audit::{self, Line};
use serde::Serialize;

const USER: Opt = Opt {
    name: "user",
    value: "USER",
    doc: "only events of this user, given as a name or id:N",
};
const SINCE: Opt = Opt {
    name: "since",
    value: "WHEN",
    doc: "only events since then: a day such as 2026-11-24, a time such as 2026-11-24T18:30:00Z, or how long ago, such as \
          90min, 12h or 7d",
};

/// Lines that are formatted and printed at once.
const PAGE: usize = 1000;

/// `audit`
pub const AUDIT: Command = Command {
    name: "audit",
    doc: "print the audit log: changes to accounts and failed sign-ins",
    about: "One line for each registration, log-in, log-out, change of a password, key or picture, failed sign-in, and \
            command that changed something. The oldest is first; times are in UTC. EVENT is the last segment of the \
            interface's path, or the command. SOURCE is the client's address, or `command`. USER is the name at that time. A \
            failed sign-in has a USER only if a user has that name, since people type passwords into the wrong field.\n\
            With --user, a name selects the user who has it now, including events under former names, and earlier users who \
            had it.\n\
            Lines are removed after audit_days. If there are more than 100,000 lines with the same outcome, the users with \
            the most lines lose their oldest ones.",
    arguments: &[],
    options: &[USER, ID, SINCE, JSON, DATA],
    exit: &[],
    examples: &[
        (
            "audit --since 7d --user rei",
            "print the events of rei's account in the last week",
        ),
        (
            "audit --json | jq -r 'select(.outcome == \"refused\") | .source' | sort | uniq -c",
            "count failed sign-ins per address",
        ),
    ],
    run: print_audit,
};

#[derive(Serialize)]
struct View<'a> {
    at: i64,
    user: Option<&'a str>,
    event: &'a str,
    source: &'a str,
    outcome: &'a str,
}

fn print_audit(args: &Args) -> Result<(), Failure> {
    let since = args
        .text(SINCE.name)?
        .map_or(Ok(0), |text| since(&text, clock::now()))?;
    let folder = DataFolder::open(args)?;
    let selected = user::selected_user(&folder, args, USER.name)?;
    let oldest = clock::now() - folder.config.audit_days * audit::DAY;
    let lines = folder.read(|db| audit::list(db, selected.as_ref(), since.max(oldest)))?;
    let mut pages = lines.chunks(PAGE);
    if args.has(JSON.name) {
        return pages.try_for_each(|page| print(&page.iter().map(json).collect::<String>()));
    }
    let mut table = Table::with_header(["TIME", "USER", "EVENT", "SOURCE", "OUTCOME"]);
    pages.try_for_each(|page| print(&table.page(page.iter().map(row))))?;
    // An empty log still has its header.
    print(&table.page([]))
}

fn json(line: &Line) -> String {
    let Line {
        at,
        user,
        event,
        source,
        outcome,
    } = line;
    table::json(&View {
        at: *at,
        user: user.as_deref(),
        event,
        source,
        outcome,
    })
}

fn row(line: &Line) -> [String; 5] {
    let user = line.user.as_deref().map_or_else(|| "-".into(), plain);
    [
        time(line.at),
        user,
        plain(&line.event),
        plain(&line.source),
        line.outcome.clone(),
    ]
}

/// The time in Unix seconds that a text means at the time `now`.
fn since(text: &str, now: i64) -> Result<i64, Failure> {
    let day = if text.len() == "2026-11-24".len() {
        format!("{text}T00:00:00Z")
    } else {
        text.into()
    };
    if let Ok(time) = humantime::parse_rfc3339_weak(&day) {
        return Ok(time
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs().cast_signed()));
    }
    let ago =
        humantime::parse_duration(text).map(|ago| i64::try_from(ago.as_secs()).unwrap_or(i64::MAX));
    let sentence = || {
        format!(
            "--since {}: it should be a day, a time, or how long ago, like 7d",
            plain(text)
        )
    };
    ago.map(|ago| now.saturating_sub(ago))
        .map_err(|_| usage("audit", sentence()))
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn since_takes_a_day_a_time_or_how_long_ago() {
        for (text, seconds) in [
            ("2026-11-24", 1_795_478_400),
            ("2026-11-24T18:28:57Z", 1_795_544_937),
            ("2026-11-24 18:28:57", 1_795_544_937),
            ("7d", 2_000_000_000 - 7 * 86_400),
            ("90min", 2_000_000_000 - 5400),
        ] {
            assert_eq!(since(text, 2_000_000_000).ok(), Some(seconds), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1969-01-01",
            "2026-13-01",
            "2026-11-24T25:00:00Z",
            "7",
            "-7d",
            "99999999999999999999y",
        ] {
            assert!(since(text, 0).is_err(), "{text}");
        }
    }
}
