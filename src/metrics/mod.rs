//! Counters of requests and their durations, in the text format of Prometheus.
//!
//! All counters are created from the contract before the first request, so counting is an atomic
//! addition without a lock or an allocation.

mod restarts;
pub mod usage;

pub use restarts::{RestartReason, Restarts};

use crate::contract::{
    ADDITIONS, AVATARS, DOCUMENT, Endpoint, FORWARD_AUTH, OPENAPI, OUTSIDE, Reason,
};
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The path at `metrics_listen`.
pub const PATH: &str = "/metrics";
/// The media type of the format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Prefixes of the paths that are not interfaces of the contract. The last one matches every path.
const OTHERS: [&str; 4] = [AVATARS, OPENAPI, FORWARD_AUTH.path, ""];
/// The upper bounds of the histogram's buckets in seconds. One more bucket has no upper bound.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0,
];

/// The counters.
pub struct Metrics {
    interfaces: Vec<Interface>,
    restarts: OnceLock<Restarts>,
}

struct Interface {
    /// Its path, or the prefix of its paths.
    path: &'static str,
    rows: Vec<Row>,
    /// The number of requests by bucket.
    durations: [AtomicU64; BUCKETS.len() + 1],
    /// The sum of all durations.
    microseconds: AtomicU64,
}

struct Row {
    status: u16,
    code: u16,
    requests: AtomicU64,
}

/// The counters for the next process, which ignores those that it does not know.
#[derive(Serialize, Deserialize)]
pub struct State(Vec<Counted>);

#[derive(Serialize, Deserialize)]
struct Counted {
    path: String,
    /// Status, code, requests.
    rows: Vec<(u16, u16, u64)>,
    durations: Vec<u64>,
    microseconds: u64,
}

impl Metrics {
    /// Counters of zero requests.
    pub fn from_contract() -> Metrics {
        let endpoints = DOCUMENT
            .into_iter()
            .chain(ADDITIONS)
            .map(|endpoint| (endpoint.path, answers(endpoint)));
        let others = OTHERS.map(|path| (path, about_http().to_vec()));
        let interface = |(path, answers): (&'static str, Vec<(u16, u16)>)| Interface {
            path,
            rows: answers
                .into_iter()
                .map(|(status, code)| Row {
                    status,
                    code,
                    requests: AtomicU64::new(0),
                })
                .collect(),
            durations: Default::default(),
            microseconds: AtomicU64::new(0),
        };
        Metrics {
            interfaces: endpoints.chain(others).map(interface).collect(),
            restarts: OnceLock::new(),
        }
    }

    /// Counts a request to this path. If the answer has no code, its status is used instead.
    pub fn count(&self, path: &str, status: u16, code: Option<u16>, duration: Duration) {
        let code = code.unwrap_or(status);
        let Some(interface) = self.interface(path) else {
            return;
        };
        if let Some(row) = interface
            .rows
            .iter()
            .find(|row| row.status == status && row.code == code)
        {
            row.requests.fetch_add(1, Ordering::Relaxed);
        }
        let bucket = BUCKETS
            .iter()
            .position(|end| duration.as_secs_f64() <= *end)
            .unwrap_or(BUCKETS.len());
        interface.durations[bucket].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        interface
            .microseconds
            .fetch_add(microseconds, Ordering::Relaxed);
    }

    fn interface(&self, path: &str) -> Option<&Interface> {
        let (endpoints, others) = self
            .interfaces
            .split_at(self.interfaces.len() - OTHERS.len());
        let bare = path.strip_suffix('/').unwrap_or(path);
        let endpoint = endpoints.iter().find(|interface| interface.path == bare);
        endpoint.or_else(|| {
            others
                .iter()
                .find(|interface| path.starts_with(interface.path))
        })
    }

    /// Sets the counters of the supervisor.
    pub fn set_restarts(&self, restarts: Restarts) {
        let _ = self.restarts.set(restarts);
    }

    /// The counters for the next process.
    pub fn state(&self) -> State {
        let row = |row: &Row| (row.status, row.code, get(&row.requests));
        let interface = |one: &Interface| Counted {
            path: one.path.into(),
            rows: one.rows.iter().map(row).collect(),
            durations: one.durations.iter().map(get).collect(),
            microseconds: get(&one.microseconds),
        };
        State(self.interfaces.iter().map(interface).collect())
    }

    /// Adds the counters of the previous process.
    pub fn restore(&self, state: &State) {
        for counted in &state.0 {
            let Some(interface) = self.interfaces.iter().find(|one| one.path == counted.path)
            else {
                continue;
            };
            for (status, code, requests) in &counted.rows {
                if let Some(row) = interface
                    .rows
                    .iter()
                    .find(|row| row.status == *status && row.code == *code)
                {
                    row.requests.fetch_add(*requests, Ordering::Relaxed);
                }
            }
            for (ours, theirs) in interface.durations.iter().zip(&counted.durations) {
                ours.fetch_add(*theirs, Ordering::Relaxed);
            }
            interface
                .microseconds
                .fetch_add(counted.microseconds, Ordering::Relaxed);
        }
    }

    /// Writes the counters as text.
    pub fn write(&self, text: &mut String) {
        head(
            text,
            "accountd_requests_total",
            "counter",
            "Requests answered, by interface, HTTP status and code.",
        );
        for (interface, row) in self
            .interfaces
            .iter()
            .flat_map(|one| one.rows.iter().map(move |row| (one, row)))
        {
            let labels = format!(
                "interface=\"{}\",status=\"{}\",code=\"{}\"",
                interface.name(),
                row.status,
                row.code
            );
            sample(text, "accountd_requests_total", &labels, get(&row.requests));
        }
        head(
            text,
            "accountd_throttled_total",
            "counter",
            "Requests that were too many and got HTTP 429.",
        );
        let throttled = self
            .interfaces
            .iter()
            .flat_map(|one| &one.rows)
            .filter(|row| row.status == 429);
        sample(
            text,
            "accountd_throttled_total",
            "",
            throttled.map(|row| get(&row.requests)).sum::<u64>(),
        );
        let name = "accountd_request_duration_seconds";
        head(
            text,
            name,
            "histogram",
            "Time from a request's head to its answer, before that is sent.",
        );
        for interface in &self.interfaces {
            let label = format!("interface=\"{}\"", interface.name());
            let mut sum = 0;
            for (bucket, count) in interface.durations.iter().enumerate() {
                sum += get(count);
                let end = BUCKETS
                    .get(bucket)
                    .map_or("+Inf".into(), ToString::to_string);
                sample(
                    text,
                    &format!("{name}_bucket"),
                    &format!("{label},le=\"{end}\""),
                    sum,
                );
            }
            let seconds = Duration::from_micros(get(&interface.microseconds)).as_secs_f64();
            sample(text, &format!("{name}_sum"), &label, seconds);
            sample(text, &format!("{name}_count"), &label, sum);
        }
        let name = "accountd_renewals_total";
        head(
            text,
            name,
            "counter",
            "Workers that were replaced, by reason.",
        );
        let restarts = self.restarts.get().cloned().unwrap_or_default();
        for reason in RestartReason::ALL {
            let label = format!("reason=\"{}\"", reason.label());
            sample(text, name, &label, restarts.get(reason));
        }
    }
}

impl Interface {
    fn name(&self) -> &'static str {
        match self.path {
            AVATARS => "/s/{name}",
            "" => "other",
            path => path,
        }
    }
}

/// The statuses and codes of all possible answers of an interface.
fn answers(endpoint: &Endpoint) -> Vec<(u16, u16)> {
    let rows = endpoint
        .refusals
        .iter()
        .chain([&endpoint.success])
        .map(|row| (200, row.code));
    let faults = [Reason::ReadFailed, Reason::WriteFailed, Reason::Panicked]
        .map(|reason| endpoint.refusal(reason, None));
    let faults = faults
        .iter()
        .filter(|answer| answer.status != 200)
        .map(|answer| (answer.status, answer.code));
    let mut answers: Vec<_> = rows
        .chain(faults)
        .chain(
            about_http()
                .into_iter()
                .filter(|row| !matches!(row.0, 200 | 303 | 401 | 403)),
        )
        .collect();
    answers.sort_unstable();
    answers.dedup();
    answers
}

/// The statuses of files, preflights, forward auth and errors of HTTP.
fn about_http() -> [(u16, u16); 4 + OUTSIDE.len()] {
    let mut all = [(0, 0); 4 + OUTSIDE.len()];
    let statuses = [200, 204, 303, 304]
        .into_iter()
        .chain(OUTSIDE.map(|(status, _)| status));
    all.iter_mut()
        .zip(statuses)
        .for_each(|(one, status)| *one = (status, status));
    all
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Writes the header of a metric.
pub fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes a sample of a metric.
pub fn sample(text: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        _ => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.write(&mut text);
        text
    }

    #[test]
    fn every_answer_of_the_contract_has_a_counter() {
        let metrics = Metrics::from_contract();
        for endpoint in DOCUMENT.into_iter().chain(ADDITIONS) {
            for row in endpoint.refusals.iter().chain([&endpoint.success]) {
                metrics.count(
                    &format!("{}/", endpoint.path),
                    200,
                    Some(row.code),
                    Duration::from_millis(3),
                );
                let line = format!(
                    "interface=\"{}\",status=\"200\",code=\"{}\"}} 1\n",
                    endpoint.path, row.code
                );
                assert!(text(&metrics).contains(&line), "{line}");
            }
        }
        for (path, name) in [
            ("/s/a.png", "/s/{name}"),
            ("/", "other"),
            ("/api/login/x", "other"),
        ] {
            metrics.count(path, 404, Some(404), Duration::ZERO);
            assert!(
                text(&metrics).contains(&format!(
                    "interface=\"{name}\",status=\"404\",code=\"404\"}} "
                )),
                "{name}"
            );
        }
    }

    #[test]
    fn durations_are_counted_in_their_buckets() {
        let metrics = Metrics::from_contract();
        for millis in [0, 3, 200, 20_000] {
            metrics.count("/health", 200, Some(200), Duration::from_millis(millis));
        }
        let text = text(&metrics);
        for (end, count) in [
            ("0.0005", 1),
            ("0.0025", 1),
            ("0.005", 2),
            ("0.1", 2),
            ("0.5", 3),
            ("10", 3),
            ("+Inf", 4),
        ] {
            let line = format!("bucket{{interface=\"/health\",le=\"{end}\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(
            text.contains("accountd_request_duration_seconds_sum{interface=\"/health\"} 20.203\n"),
            "{text}"
        );
    }

    #[test]
    fn counters_are_passed_on_to_the_next_process() {
        let (old, new) = (Metrics::from_contract(), Metrics::from_contract());
        old.count("/health", 200, Some(200), Duration::from_millis(3));
        new.count("/health", 200, Some(200), Duration::from_millis(3));
        let mut state = serde_json::to_value(old.state()).unwrap();
        state.as_array_mut().unwrap().push(
            serde_json::json!({"path": "/unknown", "rows": [[200, 200, 1]], "durations": [1], "microseconds": 1}),
        );
        new.restore(&serde_json::from_value(state).unwrap());
        let text = text(&new);
        assert!(text.contains("interface=\"/health\",status=\"200\",code=\"200\"} 2\n"));
        assert!(text.contains("duration_seconds_count{interface=\"/health\"} 2\n"));
    }
}
