//! The command `audit`: who did what to an account, and who was refused.

use super::terminal::table::{self, Table, plain, time};
use super::{Folder, user};
use crate::clock;
use crate::command::{Args, Command, DATA, Failure, ID, JSON, Opt, print, usage};
use crate::store::audit::{self, Line};
use serde::Serialize;

const USER: Opt = Opt {
    name: "user",
    value: "USER",
    doc: "only what concerns this user: a name, or id:N",
};
const SINCE: Opt = Opt {
    name: "since",
    value: "WHEN",
    doc: "only what happened since then: a day like 2026-11-24, a time like 2026-11-24T18:30:00Z, or how long ago like \
          90min, 12h or 7d",
};

/// Lines that are printed at once, each as text in its columns.
const PAGE: usize = 1000;

/// `audit`
pub const AUDIT: Command = Command {
    name: "audit",
    doc: "print what was done to accounts, by whom, and who was refused",
    about: "A line for each registration, log-in, log-out and change of a password, key or picture, for each failed sign-in, and for each \
            command that changed something; the oldest first, times in UTC. EVENT is the last segment of the interface's \
            path, or the command. SOURCE is the client's address, or `command`. USER is the name at that time; of a failed \
            sign-in it is there only if a user has that name, since people type passwords into the wrong field.\n\
            With --user a name means the user who has it now, under former names too, and whoever had it before.\n\
            Lines go after audit_days. When there are more than 100,000 of either outcome, the users who have the most lines lose \
            the oldest of theirs.",
    arguments: &[],
    options: &[USER, ID, SINCE, JSON, DATA],
    exit: &[],
    examples: &[
        (
            "audit --since 7d --user rei",
            "print what happened to rei's account in the last week",
        ),
        (
            "audit --json | jq -r 'select(.outcome == \"refused\") | .source' | sort | uniq -c",
            "count failed sign-ins by address",
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
    let folder = Folder::open(args)?;
    let who = user::who(&folder, args, USER.name)?;
    let kept = clock::now() - folder.config.audit_days * audit::DAY;
    let lines = folder.read(|db| audit::list(db, who.as_ref(), since.max(kept)))?;
    let mut pages = lines.chunks(PAGE);
    if args.has(JSON.name) {
        return pages.try_for_each(|page| print(&page.iter().map(json).collect::<String>()));
    }
    let mut table = Table::with(["TIME", "USER", "EVENT", "SOURCE", "OUTCOME"]);
    pages.try_for_each(|page| print(&table.page(page.iter().map(row))))?;
    // Of nothing there is still the head.
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

/// The Unix seconds that a text means at a time `now`.
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
    let wanted = || {
        format!(
            "--since {}: it should be a day, a time, or how long ago, like 7d",
            plain(text)
        )
    };
    ago.map(|ago| now.saturating_sub(ago))
        .map_err(|_| usage("audit", wanted()))
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn a_day_a_time_or_how_long_ago() {
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
