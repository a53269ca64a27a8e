//! The state machine of the workers: when they start, serve, hand over and end. It maps stages, an
//! event and the time to actions, and does not touch processes itself.
//!
//! There are never more than two workers: one that serves, and one that is starting or draining.

use crate::metrics::RestartReason;
use std::time::{Duration, Instant};

/// How long a worker may take to send its state. After that it is killed, so that no captcha or
/// budget is spent twice.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a worker may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(35);
/// The delays in milliseconds before the next start, by the number of failures in a row.
const BACKOFF: [u64; 6] = [0, 100, 500, 1000, 2000, 5000];
/// After serving for this long, a worker's death does not count as one more failure in a row.
const STABLE: Duration = Duration::from_secs(60);

/// The stage of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is opening its files.
    Starting,
    /// It is ready to serve.
    Ready,
    /// It serves.
    Serving,
    /// It was told to hand over and has not sent its state yet.
    HandingOver,
    /// It answers its last requests.
    Draining,
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A reload was requested: a worker with the current configuration and program.
    Reload,
    /// The serving worker does not answer.
    Unresponsive,
    /// A worker is ready to serve.
    Ready(u64),
    /// A worker has sent its state.
    State(u64),
    /// A worker has exited.
    Exited(u64),
    /// The time limit of [`Lifecycle::timeout`] has passed.
    Tick,
}

/// An action for the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a worker.
    Start {
        /// Its number.
        id: u64,
        /// Whether it gets the configuration of a reload.
        reload: bool,
    },
    /// Tell a worker to hand over.
    HandOver(u64),
    /// Tell a worker to serve.
    Serve {
        /// Its number.
        id: u64,
        /// The worker whose state it takes over.
        from: Option<u64>,
        /// Whether it has the configuration of a reload, which is in force from now on.
        reload: bool,
    },
    /// Kill a worker.
    Kill(u64),
    /// Log that a worker could not start.
    StartFailed {
        /// Its number.
        id: u64,
        /// Whether it was started for a reload.
        reload: bool,
    },
    /// Log and count that a worker is replaced for this reason.
    Report(RestartReason),
}

#[derive(Debug)]
struct Worker {
    id: u64,
    stage: Stage,
    since: Instant,
    reload: bool,
}

/// The workers and their pending changes.
#[derive(Debug)]
pub struct Lifecycle {
    workers: Vec<Worker>,
    started: u64,
    /// Why the serving worker is to be replaced, if it is.
    wanted: Option<RestartReason>,
    /// The worker whose state was received and not passed on yet.
    unclaimed_state: Option<u64>,
    /// The number of failures in a row: deaths and failed starts.
    failures: usize,
    /// When the last failure was.
    failed: Option<Instant>,
}

impl Lifecycle {
    /// Without a worker. The first event starts one.
    pub fn empty() -> Lifecycle {
        Lifecycle {
            workers: Vec::new(),
            started: 0,
            wanted: None,
            unclaimed_state: None,
            failures: 0,
            failed: None,
        }
    }

    /// Handles an event and returns the actions that follow from it.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Reload => self.wanted = Some(RestartReason::Reload),
            Event::Unresponsive => {
                if self.wanted.is_none()
                    && self.find(Stage::Serving).is_some()
                    && self.next_worker().is_none()
                {
                    self.wanted = Some(RestartReason::Unresponsive);
                    actions.push(Action::Report(RestartReason::Unresponsive));
                }
            }
            Event::Ready(id) => self.set_stage(id, Stage::Ready, now),
            Event::State(id) if self.stage(id) == Some(Stage::HandingOver) => {
                self.set_stage(id, Stage::Draining, now);
                self.unclaimed_state = Some(id);
                self.serve(now, &mut actions);
            }
            Event::State(_) | Event::Tick => {}
            Event::Exited(id) => self.on_exit(id, now, &mut actions),
        }
        self.kill_overdue(now, &mut actions);
        self.hand_over(now, &mut actions);
        self.start(now, &mut actions);
        actions
    }

    /// When [`Event::Tick`] is due if no other event occurs before.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        let start = (self.wanted.is_some() || self.find(Stage::Serving).is_none())
            .then(|| self.next_start(now));
        let limits = self
            .workers
            .iter()
            .filter_map(|worker| Some(worker.since + stage_timeout(worker.stage)?));
        limits
            .chain(start)
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    /// Whether a worker serves.
    pub fn is_serving(&self) -> bool {
        self.find(Stage::Serving).is_some()
    }

    fn on_exit(&mut self, id: u64, now: Instant, actions: &mut Vec<Action>) {
        let Some(at) = self.workers.iter().position(|worker| worker.id == id) else {
            return;
        };
        let worker = self.workers.swap_remove(at);
        match worker.stage {
            Stage::Starting | Stage::Ready => {
                actions.push(Action::StartFailed {
                    id,
                    reload: worker.reload,
                });
                self.record_failure(now);
            }
            Stage::Serving => {
                actions.push(Action::Report(RestartReason::Died));
                if now.saturating_duration_since(worker.since) > STABLE {
                    self.failures = 0;
                }
                self.record_failure(now);
            }
            Stage::HandingOver => {
                actions.push(Action::Report(RestartReason::Died));
                self.serve(now, actions);
            }
            Stage::Draining => {}
        }
    }

    fn record_failure(&mut self, now: Instant) {
        self.failures += 1;
        self.failed = Some(now);
    }

    /// Kills the workers that exceed the time limit of their stage.
    fn kill_overdue(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for worker in &mut self.workers {
            if stage_timeout(worker.stage)
                .is_some_and(|limit| now.saturating_duration_since(worker.since) >= limit)
            {
                // The next attempt is after another time limit. Its exit is an event of its own.
                worker.since = now;
                actions.push(Action::Kill(worker.id));
            }
        }
    }

    /// Lets a ready worker serve: at once, or when the serving one has sent its state.
    fn hand_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.find(Stage::Ready).is_none() || self.find(Stage::HandingOver).is_some() {
            return;
        }
        match self.find(Stage::Serving) {
            Some(id) => {
                self.set_stage(id, Stage::HandingOver, now);
                actions.push(Action::HandOver(id));
            }
            None => self.serve(now, actions),
        }
    }

    fn serve(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Some(worker) = self
            .workers
            .iter_mut()
            .find(|worker| worker.stage == Stage::Ready)
        {
            let from = self.unclaimed_state.take();
            (worker.stage, worker.since) = (Stage::Serving, now);
            actions.push(Action::Serve {
                id: worker.id,
                from,
                reload: std::mem::take(&mut worker.reload),
            });
        }
    }

    fn start(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let serving =
            self.find(Stage::Serving).is_some() || self.find(Stage::HandingOver).is_some();
        if self.next_worker().is_some()
            || self.wanted.is_none() && serving
            || now < self.next_start(now)
        {
            return;
        }
        if serving && let Some(draining) = self.find(Stage::Draining) {
            // A reload can wait until the old worker has drained. A server that does not answer
            // cannot.
            if self.wanted == Some(RestartReason::Unresponsive) {
                actions.push(Action::Kill(draining));
            }
            return;
        }
        self.started += 1;
        let (id, reload) = (self.started, self.wanted == Some(RestartReason::Reload));
        self.wanted = None;
        self.workers.push(Worker {
            id,
            stage: Stage::Starting,
            since: now,
            reload,
        });
        actions.push(Action::Start { id, reload });
    }

    /// The earliest time for the next start.
    fn next_start(&self, now: Instant) -> Instant {
        let delay = BACKOFF[self.failures.saturating_sub(1).min(BACKOFF.len() - 1)];
        self.failed
            .map_or(now, |failed| failed + Duration::from_millis(delay))
    }

    fn next_worker(&self) -> Option<u64> {
        self.find(Stage::Starting)
            .or_else(|| self.find(Stage::Ready))
    }

    fn find(&self, stage: Stage) -> Option<u64> {
        self.workers
            .iter()
            .find(|worker| worker.stage == stage)
            .map(|worker| worker.id)
    }

    fn stage(&self, id: u64) -> Option<Stage> {
        self.workers
            .iter()
            .find(|worker| worker.id == id)
            .map(|worker| worker.stage)
    }

    fn set_stage(&mut self, id: u64, stage: Stage, now: Instant) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            (worker.stage, worker.since) = (stage, now);
        }
    }
}

/// The time limit of a stage. A draining worker has a limit of its own.
fn stage_timeout(stage: Stage) -> Option<Duration> {
    match stage {
        Stage::Starting => Some(START_TIMEOUT),
        Stage::HandingOver => Some(HANDOVER_TIMEOUT),
        Stage::Ready | Stage::Serving | Stage::Draining => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &[Action] = &[];
    const DIED: Action = Action::Report(RestartReason::Died);
    const UNRESPONSIVE: Action = Action::Report(RestartReason::Unresponsive);

    /// Replays events at seconds since the start, and compares the actions.
    fn replay(rows: &[(u64, Event, &[Action])]) -> Lifecycle {
        let (mut lifecycle, start) = (Lifecycle::empty(), Instant::now());
        for (nth, (seconds, event, expected)) in rows.iter().enumerate() {
            let actions = lifecycle.on(*event, start + Duration::from_secs(*seconds));
            assert_eq!(actions, *expected, "row {nth}: {event:?} at {seconds}");
            assert!(lifecycle.workers.len() <= 2, "row {nth}: {lifecycle:?}");
        }
        lifecycle
    }

    const START_1: &[Action] = &[Action::Start {
        id: 1,
        reload: false,
    }];
    const SERVE_1: &[Action] = &[Action::Serve {
        id: 1,
        from: None,
        reload: false,
    }];

    #[test]
    fn the_first_worker_serves_when_it_is_ready() {
        let lifecycle = replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (9, Event::Tick, NOTHING),
        ]);
        assert!(lifecycle.is_serving() && lifecycle.timeout(Instant::now()).is_none());
    }

    #[test]
    fn a_reload_hands_the_state_over_and_the_old_worker_drains_without_a_limit() {
        replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Reload,
                &[Action::Start {
                    id: 2,
                    reload: true,
                }],
            ),
            (3, Event::Ready(2), &[Action::HandOver(1)]),
            (
                4,
                Event::State(1),
                &[Action::Serve {
                    id: 2,
                    from: Some(1),
                    reload: true,
                }],
            ),
            (9999, Event::Tick, NOTHING),
            (9999, Event::Exited(1), NOTHING),
        ]);
    }

    #[test]
    fn a_worker_that_does_not_send_its_state_is_killed_before_the_next_one_serves() {
        replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Unresponsive,
                &[
                    UNRESPONSIVE,
                    Action::Start {
                        id: 2,
                        reload: false,
                    },
                ],
            ),
            (2, Event::Unresponsive, NOTHING),
            (3, Event::Ready(2), &[Action::HandOver(1)]),
            (10, Event::Tick, NOTHING),
            (11, Event::Tick, &[Action::Kill(1)]),
            (
                11,
                Event::Exited(1),
                &[
                    DIED,
                    Action::Serve {
                        id: 2,
                        from: None,
                        reload: false,
                    },
                ],
            ),
        ]);
    }

    #[test]
    fn a_reload_waits_for_a_worker_that_drains_and_a_replacement_does_not() {
        let drains: Vec<(u64, Event, &[Action])> = vec![
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Reload,
                &[Action::Start {
                    id: 2,
                    reload: true,
                }],
            ),
            (3, Event::Ready(2), &[Action::HandOver(1)]),
            (
                4,
                Event::State(1),
                &[Action::Serve {
                    id: 2,
                    from: Some(1),
                    reload: true,
                }],
            ),
        ];
        let reload: Vec<(u64, Event, &[Action])> = vec![
            (5, Event::Reload, NOTHING),
            (500, Event::Tick, NOTHING),
            (
                501,
                Event::Exited(1),
                &[Action::Start {
                    id: 3,
                    reload: true,
                }],
            ),
        ];
        replay(&[drains.clone(), reload].concat());
        let replacement: Vec<(u64, Event, &[Action])> = vec![
            (5, Event::Unresponsive, &[UNRESPONSIVE, Action::Kill(1)]),
            (
                5,
                Event::Exited(1),
                &[Action::Start {
                    id: 3,
                    reload: false,
                }],
            ),
        ];
        replay(&[drains, replacement].concat());
    }

    #[test]
    fn a_worker_that_dies_is_replaced_at_once_and_repeated_deaths_delay_the_next_start() {
        replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Exited(1),
                &[
                    DIED,
                    Action::Start {
                        id: 2,
                        reload: false,
                    },
                ],
            ),
            (
                2,
                Event::Ready(2),
                &[Action::Serve {
                    id: 2,
                    from: None,
                    reload: false,
                }],
            ),
            (2, Event::Exited(2), &[DIED]),
            (
                3,
                Event::Tick,
                &[Action::Start {
                    id: 3,
                    reload: false,
                }],
            ),
            (
                3,
                Event::Exited(3),
                &[Action::StartFailed {
                    id: 3,
                    reload: false,
                }],
            ),
            (
                4,
                Event::Tick,
                &[Action::Start {
                    id: 4,
                    reload: false,
                }],
            ),
            (
                4,
                Event::Ready(4),
                &[Action::Serve {
                    id: 4,
                    from: None,
                    reload: false,
                }],
            ),
            (4, Event::Exited(4), &[DIED]),
            (
                5,
                Event::Tick,
                &[Action::Start {
                    id: 5,
                    reload: false,
                }],
            ),
            (
                5,
                Event::Exited(5),
                &[Action::StartFailed {
                    id: 5,
                    reload: false,
                }],
            ),
            (6, Event::Tick, NOTHING),
            (
                7,
                Event::Tick,
                &[Action::Start {
                    id: 6,
                    reload: false,
                }],
            ),
            (
                7,
                Event::Ready(6),
                &[Action::Serve {
                    id: 6,
                    from: None,
                    reload: false,
                }],
            ),
            (
                100,
                Event::Exited(6),
                &[
                    DIED,
                    Action::Start {
                        id: 7,
                        reload: false,
                    },
                ],
            ),
        ]);
    }

    #[test]
    fn a_worker_that_cannot_start_for_a_reload_leaves_the_old_one_serving() {
        replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Reload,
                &[Action::Start {
                    id: 2,
                    reload: true,
                }],
            ),
            (
                3,
                Event::Exited(2),
                &[Action::StartFailed {
                    id: 2,
                    reload: true,
                }],
            ),
            (99, Event::Tick, NOTHING),
        ]);
    }

    #[test]
    fn a_worker_that_takes_too_long_to_start_is_killed() {
        replay(&[
            (0, Event::Tick, START_1),
            (34, Event::Tick, NOTHING),
            (35, Event::Tick, &[Action::Kill(1)]),
            (
                35,
                Event::Exited(1),
                &[
                    Action::StartFailed {
                        id: 1,
                        reload: false,
                    },
                    Action::Start {
                        id: 2,
                        reload: false,
                    },
                ],
            ),
        ]);
    }

    #[test]
    fn both_workers_that_die_during_a_hand_over_are_replaced_by_one() {
        replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Reload,
                &[Action::Start {
                    id: 2,
                    reload: true,
                }],
            ),
            (3, Event::Ready(2), &[Action::HandOver(1)]),
            (
                3,
                Event::Exited(2),
                &[Action::StartFailed {
                    id: 2,
                    reload: true,
                }],
            ),
            (
                3,
                Event::Exited(1),
                &[
                    DIED,
                    Action::Start {
                        id: 3,
                        reload: false,
                    },
                ],
            ),
            (
                5,
                Event::Ready(3),
                &[Action::Serve {
                    id: 3,
                    from: None,
                    reload: false,
                }],
            ),
        ]);
    }

    #[test]
    fn a_worker_whose_successor_died_before_the_state_came_is_replaced() {
        replay(&[
            (0, Event::Tick, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Reload,
                &[Action::Start {
                    id: 2,
                    reload: true,
                }],
            ),
            (3, Event::Ready(2), &[Action::HandOver(1)]),
            (
                3,
                Event::Exited(2),
                &[Action::StartFailed {
                    id: 2,
                    reload: true,
                }],
            ),
            (
                4,
                Event::State(1),
                &[Action::Start {
                    id: 3,
                    reload: false,
                }],
            ),
            (
                5,
                Event::Ready(3),
                &[Action::Serve {
                    id: 3,
                    from: Some(1),
                    reload: false,
                }],
            ),
        ]);
    }
}
