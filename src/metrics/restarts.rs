//! The reasons for which a worker is replaced: their labels in the metrics, their log lines, and
//! how often each occurred.

use crate::log::{self, Level};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a worker is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartReason {
    /// It does not answer the supervisor's probes.
    Unresponsive,
    /// It died while serving or handing over.
    Died,
    /// A reload was requested with SIGHUP.
    Reload,
}

impl RestartReason {
    /// Every reason, in the order of the metrics.
    pub const ALL: [RestartReason; 3] = [
        RestartReason::Unresponsive,
        RestartReason::Died,
        RestartReason::Reload,
    ];

    /// The value of the label `reason` (docs/operating.md), which is also its key in a message to a
    /// worker. Both are read by other versions, so neither changes.
    pub fn label(self) -> &'static str {
        match self {
            RestartReason::Unresponsive => "deaf",
            RestartReason::Died => "death",
            RestartReason::Reload => "reload",
        }
    }

    /// Writes the log line. `detail` is the exit status of a worker that died, or what is appended
    /// to the line of a reload.
    pub fn log(self, detail: &str) {
        let (level, line) = match self {
            RestartReason::Unresponsive => (
                Level::Error,
                "the worker does not answer and is replaced".into(),
            ),
            RestartReason::Died => (
                Level::Error,
                format!("a worker ended ({detail}); open captchas are lost"),
            ),
            RestartReason::Reload => (Level::Info, format!("reloaded{detail}")),
        };
        log::line(level, &line);
    }
}

/// How often workers were replaced, by the label of the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restarts(BTreeMap<String, u64>);

impl Default for Restarts {
    fn default() -> Restarts {
        Restarts(
            RestartReason::ALL
                .map(|reason| (reason.label().into(), 0))
                .into(),
        )
    }
}

impl Restarts {
    /// Counts one restart.
    pub fn count(&mut self, reason: RestartReason) {
        *self.0.entry(reason.label().into()).or_default() += 1;
    }

    /// The number of restarts for this reason.
    pub fn get(&self, reason: RestartReason) -> u64 {
        self.0.get(reason.label()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_sent_to_workers_in_the_format_of_1_1_0() {
        let mut restarts = Restarts::default();
        restarts.count(RestartReason::Died);
        let text = "{\"deaf\":0,\"death\":1,\"reload\":0}";
        assert_eq!(serde_json::to_string(&restarts).unwrap(), text);
        let received: Restarts = serde_json::from_str(text).unwrap();
        assert_eq!(
            RestartReason::ALL.map(|reason| received.get(reason)),
            [0, 1, 0]
        );
    }

    #[test]
    fn a_reason_of_a_newer_version_is_ignored() {
        let received: Restarts = serde_json::from_str("{\"reload\":2,\"leak\":1}").unwrap();
        assert_eq!(
            RestartReason::ALL.map(|reason| received.get(reason)),
            [0, 0, 2]
        );
    }
}
