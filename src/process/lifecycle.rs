//! Decides when workers start, serve, hand over and end: from their stages, an event and the time
//! to actions, without a process.
//!
//! There are never more than two workers: one that serves, and one that is starting or answers what
//! it had begun.

use crate::metrics::Reason;
use std::time::{Duration, Instant};

/// How long a worker may take to give away its state, before it is killed so that nothing is spent
/// twice.
const HAND_OVER: Duration = Duration::from_secs(8);
/// How long a worker may take to start.
const START: Duration = Duration::from_secs(35);
/// The pauses in milliseconds before starts after workers that died or could not start, one after
/// the other; the last stays.
const PAUSES: [u64; 6] = [0, 100, 500, 1000, 2000, 5000];
/// A worker that has served for so long had no reason to die that lies in its start.
const PROVEN: Duration = Duration::from_secs(60);

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It opens everything.
    Starting,
    /// It has everything open.
    Ready,
    /// It serves.
    Serving,
    /// It begins nothing more; its state is still to come.
    HandingOver,
    /// It answers what it had begun.
    Draining,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A worker with the configuration and the program of now is wanted.
    Reload,
    /// The worker that serves does not answer.
    Unresponsive,
    /// A worker has everything open.
    Ready(u64),
    /// A worker has given away its state.
    State(u64),
    /// A worker has ended.
    Gone(u64),
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a worker and call it this; `reload` if it is to have the configuration of now.
    Start {
        /// Its number.
        id: u64,
        /// Whether it has the configuration of now.
        reload: bool,
    },
    /// Tell a worker to hand over.
    HandOver(u64),
    /// Tell a worker to serve, with the state of another one if that has given it away.
    Serve {
        /// Its number.
        id: u64,
        /// The one whose state it goes on with.
        from: Option<u64>,
        /// Whether it has the configuration of a reload, which is in force from now on.
        reload: bool,
    },
    /// Kill a worker.
    Kill(u64),
    /// Say that a worker could not start; `reload` if it was for one.
    CannotStart {
        /// Its number.
        id: u64,
        /// Whether it was to have the configuration of now.
        reload: bool,
    },
    /// Log and count that a worker is replaced for this reason.
    Report(Reason),
}

#[derive(Debug)]
struct Worker {
    id: u64,
    stage: Stage,
    since: Instant,
    reload: bool,
}

/// The workers and what is planned with them.
#[derive(Debug)]
pub struct Lifecycle {
    workers: Vec<Worker>,
    started: u64,
    /// Why another worker is to replace the one that serves.
    wanted: Option<Reason>,
    /// The worker whose state waits for the next one, since the one that it was meant for has died.
    state_of: Option<u64>,
    /// Starts and deaths in a row that were no success.
    failures: usize,
    /// When the last of them was.
    failed: Option<Instant>,
}

impl Lifecycle {
    /// No worker yet; the first event starts one.
    #[must_use]
    pub fn empty() -> Lifecycle {
        Lifecycle {
            workers: Vec::new(),
            started: 0,
            wanted: None,
            state_of: None,
            failures: 0,
            failed: None,
        }
    }

    /// What is to be done now that this has happened.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Reload => self.wanted = Some(Reason::Reload),
            Event::Unresponsive => {
                if self.wanted.is_none()
                    && self.find(Stage::Serving).is_some()
                    && self.coming().is_none()
                {
                    self.wanted = Some(Reason::Unresponsive);
                    actions.push(Action::Report(Reason::Unresponsive));
                }
            }
            Event::Ready(id) => self.enter(id, Stage::Ready, now),
            Event::State(id) if self.stage(id) == Some(Stage::HandingOver) => {
                self.enter(id, Stage::Draining, now);
                self.state_of = Some(id);
                self.serve(now, &mut actions);
            }
            Event::State(_) | Event::Time => {}
            Event::Gone(id) => self.gone(id, now, &mut actions),
        }
        self.time_out(now, &mut actions);
        self.hand_over(now, &mut actions);
        self.start(now, &mut actions);
        actions
    }

    /// How long nothing has to be done unless something happens.
    #[must_use]
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        let start = (self.wanted.is_some() || self.find(Stage::Serving).is_none())
            .then(|| self.next_start(now));
        let limits = self
            .workers
            .iter()
            .filter_map(|worker| Some(worker.since + limit(worker.stage)?));
        limits
            .chain(start)
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    /// Whether a worker serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.find(Stage::Serving).is_some()
    }

    fn gone(&mut self, id: u64, now: Instant, actions: &mut Vec<Action>) {
        let Some(at) = self.workers.iter().position(|worker| worker.id == id) else {
            return;
        };
        let worker = self.workers.swap_remove(at);
        match worker.stage {
            Stage::Starting | Stage::Ready => {
                actions.push(Action::CannotStart {
                    id,
                    reload: worker.reload,
                });
                self.fail(now);
            }
            Stage::Serving => {
                actions.push(Action::Report(Reason::Died));
                if now.saturating_duration_since(worker.since) > PROVEN {
                    self.failures = 0;
                }
                self.fail(now);
            }
            Stage::HandingOver => {
                actions.push(Action::Report(Reason::Died));
                self.serve(now, actions);
            }
            Stage::Draining => {}
        }
    }

    fn fail(&mut self, now: Instant) {
        self.failures += 1;
        self.failed = Some(now);
    }

    /// Ends what takes too long.
    fn time_out(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for worker in &mut self.workers {
            if limit(worker.stage)
                .is_some_and(|limit| now.saturating_duration_since(worker.since) >= limit)
            {
                // Once is enough; that it is gone will be told.
                worker.since = now;
                actions.push(Action::Kill(worker.id));
            }
        }
    }

    /// Lets a worker serve that is ready: at once, or when the one before has given away its state.
    fn hand_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.find(Stage::Ready).is_none() || self.find(Stage::HandingOver).is_some() {
            return;
        }
        match self.find(Stage::Serving) {
            Some(id) => {
                self.enter(id, Stage::HandingOver, now);
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
            let from = self.state_of.take();
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
        if self.coming().is_some() || self.wanted.is_none() && serving || now < self.next_start(now)
        {
            return;
        }
        if serving && let Some(draining) = self.find(Stage::Draining) {
            // A reload can wait for what was begun; a server that does not answer cannot.
            if self.wanted == Some(Reason::Unresponsive) {
                actions.push(Action::Kill(draining));
            }
            return;
        }
        self.started += 1;
        let (id, reload) = (self.started, self.wanted == Some(Reason::Reload));
        self.wanted = None;
        self.workers.push(Worker {
            id,
            stage: Stage::Starting,
            since: now,
            reload,
        });
        actions.push(Action::Start { id, reload });
    }

    /// When the next worker may start.
    fn next_start(&self, now: Instant) -> Instant {
        let pause = PAUSES[self.failures.saturating_sub(1).min(PAUSES.len() - 1)];
        self.failed
            .map_or(now, |failed| failed + Duration::from_millis(pause))
    }

    fn coming(&self) -> Option<u64> {
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

    fn enter(&mut self, id: u64, stage: Stage, now: Instant) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            (worker.stage, worker.since) = (stage, now);
        }
    }
}

/// How long a worker may be in a stage. One that drains ends by itself.
fn limit(stage: Stage) -> Option<Duration> {
    match stage {
        Stage::Starting => Some(START),
        Stage::HandingOver => Some(HAND_OVER),
        Stage::Ready | Stage::Serving | Stage::Draining => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &[Action] = &[];
    const DIED: Action = Action::Report(Reason::Died);
    const UNRESPONSIVE: Action = Action::Report(Reason::Unresponsive);

    /// Plays events at seconds since the start, and compares what is to be done.
    fn play(rows: &[(u64, Event, &[Action])]) -> Lifecycle {
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
        let lifecycle = play(&[
            (0, Event::Time, START_1),
            (1, Event::Ready(1), SERVE_1),
            (9, Event::Time, NOTHING),
        ]);
        assert!(lifecycle.is_serving() && lifecycle.timeout(Instant::now()).is_none());
    }

    #[test]
    fn a_reload_hands_the_state_over_and_the_old_worker_drains_without_a_limit() {
        play(&[
            (0, Event::Time, START_1),
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
            (9999, Event::Time, NOTHING),
            (9999, Event::Gone(1), NOTHING),
        ]);
    }

    #[test]
    fn a_worker_that_does_not_give_away_its_state_is_killed_before_the_next_one_serves() {
        play(&[
            (0, Event::Time, START_1),
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
            (10, Event::Time, NOTHING),
            (11, Event::Time, &[Action::Kill(1)]),
            (
                11,
                Event::Gone(1),
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
            (0, Event::Time, START_1),
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
            (500, Event::Time, NOTHING),
            (
                501,
                Event::Gone(1),
                &[Action::Start {
                    id: 3,
                    reload: true,
                }],
            ),
        ];
        play(&[drains.clone(), reload].concat());
        let replacement: Vec<(u64, Event, &[Action])> = vec![
            (5, Event::Unresponsive, &[UNRESPONSIVE, Action::Kill(1)]),
            (
                5,
                Event::Gone(1),
                &[Action::Start {
                    id: 3,
                    reload: false,
                }],
            ),
        ];
        play(&[drains, replacement].concat());
    }

    #[test]
    fn a_worker_that_dies_while_it_serves_is_replaced_at_once_and_then_ever_later() {
        play(&[
            (0, Event::Time, START_1),
            (1, Event::Ready(1), SERVE_1),
            (
                2,
                Event::Gone(1),
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
            (2, Event::Gone(2), &[DIED]),
            (
                3,
                Event::Time,
                &[Action::Start {
                    id: 3,
                    reload: false,
                }],
            ),
            (
                3,
                Event::Gone(3),
                &[Action::CannotStart {
                    id: 3,
                    reload: false,
                }],
            ),
            (
                4,
                Event::Time,
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
            (4, Event::Gone(4), &[DIED]),
            (
                5,
                Event::Time,
                &[Action::Start {
                    id: 5,
                    reload: false,
                }],
            ),
            (
                5,
                Event::Gone(5),
                &[Action::CannotStart {
                    id: 5,
                    reload: false,
                }],
            ),
            (6, Event::Time, NOTHING),
            (
                7,
                Event::Time,
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
                Event::Gone(6),
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
        play(&[
            (0, Event::Time, START_1),
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
                Event::Gone(2),
                &[Action::CannotStart {
                    id: 2,
                    reload: true,
                }],
            ),
            (99, Event::Time, NOTHING),
        ]);
    }

    #[test]
    fn a_start_that_takes_too_long_is_ended() {
        play(&[
            (0, Event::Time, START_1),
            (34, Event::Time, NOTHING),
            (35, Event::Time, &[Action::Kill(1)]),
            (
                35,
                Event::Gone(1),
                &[
                    Action::CannotStart {
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
        play(&[
            (0, Event::Time, START_1),
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
                Event::Gone(2),
                &[Action::CannotStart {
                    id: 2,
                    reload: true,
                }],
            ),
            (
                3,
                Event::Gone(1),
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
        play(&[
            (0, Event::Time, START_1),
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
                Event::Gone(2),
                &[Action::CannotStart {
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
