//! Timers by the clock of a world: never early, seldom late, in order, and whatever is done to them.

use super::{runtime, unsettled};
use crate::choices::Choices;
use anyport::rt::time::{self, Interval, MissedTickBehavior, Sleep, interval_at, timeout};
use anyport::rt::{self, JoinHandle};
use anyport::sim::World;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

/// What a timer may be late by: its resolution, and what the turns of all threads take meanwhile.
const LATE_MAX: Duration = Duration::from_millis(3);

fn check(deadline: Instant) {
    let now = time::now();
    assert!(now >= deadline, "{:?} early", deadline - now);
    assert!(now < deadline + LATE_MAX, "{:?} late", now - deadline);
}

/// Near ones, and those of the outer wheels.
fn span(choices: &mut Choices) -> Duration {
    let longest = [3, 300, 90_000][choices.below(3)];
    choices.time(Duration::from_millis(longest))
}

/// One sleep after the other.
async fn sleeps(mut choices: Choices) {
    for _ in 0..1 + choices.below(6) {
        let span = span(&mut choices);
        let deadline = time::now() + span;
        match choices.below(2) {
            0 => time::sleep_until(deadline).await,
            _ => time::sleep(span).await,
        }
        check(deadline);
    }
}

/// Of a sleep and its limit the earlier one ends it, where they are not too close.
async fn limits(mut choices: Choices) {
    for _ in 0..1 + choices.below(6) {
        let (sleep, limit) = (span(&mut choices), span(&mut choices));
        let start = time::now();
        match timeout(limit, time::sleep(sleep)).await {
            Ok(()) => {
                assert!(sleep < limit + LATE_MAX);
                check(start + sleep);
            }
            Err(_) => {
                assert!(limit < sleep + LATE_MAX);
                check(start + limit);
            }
        }
    }
}

/// A task that waits for many at once, and resets and drops some of them.
async fn many(mut choices: Choices) {
    let mut waiting: Vec<Sleep> = Vec::new();
    for _ in 0..1 + choices.below(40) {
        waiting.push(time::sleep(span(&mut choices)));
    }
    let mut is_first = true;
    poll_fn(|cx| {
        let now = time::now();
        let is_late = |sleep: &Sleep| sleep.deadline() + LATE_MAX < now;
        assert!(is_first || !waiting.iter().any(is_late), "one was forgotten");
        is_first = false;
        waiting.retain_mut(|sleep| {
            let poll = Pin::new(&mut *sleep).poll(cx);
            match poll {
                Poll::Ready(()) => assert!(time::now() >= sleep.deadline(), "too early"),
                Poll::Pending if choices.one_in(9) => sleep.reset(now + span(&mut choices)),
                Poll::Pending if choices.one_in(9) => return false,
                Poll::Pending => {}
            }
            let goes_on = poll.is_pending();
            if goes_on {
                // A reset one that had fired is registered again by a poll only.
                let again = Pin::new(&mut *sleep).poll(cx);
                return again.is_pending();
            }
            goes_on
        });
        match waiting.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// The ticks of an interval, whose task is busy now and then.
async fn ticks(mut choices: Choices) {
    // Lateness up to this is none.
    const TOLERANCE: Duration = Duration::from_millis(5);
    let period = Duration::from_millis(1 + choices.below(30) as u64);
    let start = time::now() + choices.time(Duration::from_millis(20));
    let behaviors =
        [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip];
    let behavior = behaviors[choices.below(3)];
    let mut interval: Interval = interval_at(start, period);
    interval.set_missed_tick_behavior(behavior);
    let mut due = start;
    for _ in 0..1 + choices.below(20) {
        if choices.one_in(4) {
            time::sleep(choices.time(Duration::from_millis(100))).await;
        }
        if choices.one_in(8) {
            let before = time::now();
            interval.reset();
            let now = time::now();
            // Somewhere in between.
            let tick = interval.tick().await;
            assert!(tick >= before + period && tick <= now + period);
            due = tick + period;
            continue;
        }
        let limit = choices.time(Duration::from_millis(40));
        let asked = time::now();
        let Ok(tick) = timeout(limit, interval.tick()).await else {
            assert!(asked + limit < due + LATE_MAX, "a tick was due");
            continue;
        };
        let given = time::now();
        assert_eq!(tick, due);
        check(asked.max(due));
        let late = given - due;
        due = match behavior {
            MissedTickBehavior::Burst => due + period,
            // When exactly it was given out is not known here; its own next tick is.
            _ if late + Duration::from_millis(1) > TOLERANCE => {
                let next = interval.tick().await;
                match behavior {
                    MissedTickBehavior::Delay if next != due + period => {
                        assert!(next >= asked + period && next <= given + period);
                    }
                    MissedTickBehavior::Skip => {
                        let into = (next - due).as_nanos() % period.as_nanos();
                        assert_eq!(into, 0, "out of step");
                        assert!(next > due && next <= given + period);
                    }
                    _ => {}
                }
                check(given.max(next));
                next + period
            }
            _ => due + period,
        };
    }
}

pub(super) fn timers(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    let runtime = runtime(&mut choices);
    runtime.block_on(async {
        let tasks: Vec<JoinHandle<()>> = (0..1 + choices.below(8))
            .map(|_| {
                let own = choices.split();
                match choices.below(4) {
                    0 => rt::spawn(sleeps(own)),
                    1 => rt::spawn(limits(own)),
                    2 => rt::spawn(many(own)),
                    _ => rt::spawn(ticks(own)),
                }
            })
            .collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    });
}

#[test]
fn timers_are_never_early_and_late_by_their_resolution() {
    World::check(600, timers);
}

pub(super) fn order(world: &World) {
    // More than two timers can be late by.
    const APART: Duration = Duration::from_millis(4);
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    let runtime = runtime(&mut choices);
    let ended = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let start = time::now() + Duration::from_millis(5);
        let mut order: Vec<u32> = (0..2 + choices.below(20) as u32).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, choices.below(place + 1));
        }
        let tasks: Vec<_> = order
            .into_iter()
            .map(|number| {
                let ended = Arc::clone(&ended);
                rt::spawn(async move {
                    time::sleep_until(start + number * APART).await;
                    ended.lock().expect("no panic").push(number);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    });
    let ended = ended.lock().expect("no panic");
    assert!(ended.is_sorted(), "{ended:?}");
}

#[test]
fn timers_end_in_the_order_of_their_deadlines() {
    World::check(200, order);
}

#[test]
fn a_year_of_sleep_takes_no_time() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    World::check(10, |world| {
        let runtime = runtime(&mut Choices::new(world.seed()));
        runtime.block_on(async { time::sleep(YEAR).await });
        assert!(world.now() >= YEAR && world.steps() < 10_000, "{} steps", world.steps());
    });
}

#[test]
fn an_idle_runtime_does_nothing() {
    World::check(10, |world| {
        let runtime = runtime(&mut Choices::new(world.seed()));
        runtime.block_on(async { time::sleep(Duration::from_millis(10)).await });
        world.sleep(Duration::from_secs(1));
        let before = world.steps();
        world.sleep(Duration::from_secs(3600));
        assert!(world.steps() - before < 100, "{} steps", world.steps() - before);
    });
}
