//! Intervals, by hand-driven time.

use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::super::{self as time, Interval, ManualTime, MissedTickBehavior, Timers};
use super::{Count, ms, poll};

/// One tick, in milliseconds since the start; `None` while there is none.
fn tick(interval: &mut Interval, since: std::time::Instant, waker: &Waker) -> Option<u64> {
    match poll(&mut pin!(interval.tick()), waker) {
        Poll::Ready(due) => Some((due - since).as_millis() as u64),
        Poll::Pending => None,
    }
}

#[test]
fn an_interval_ticks_at_once_and_then_every_period_for_who_is_in_time() {
    let (timers, mut time) = Timers::manual();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let start = timers.now();
    let mut interval = time::interval(ms(20));
    assert_eq!(interval.period(), ms(20));
    for n in 0..50 {
        assert_eq!(tick(&mut interval, start, &waker), Some(20 * n));
        assert_eq!(tick(&mut interval, start, &waker), None);
        time.advance_to(start + ms(20 * (n + 1) - 1));
        assert_eq!(tick(&mut interval, start, &waker), None);
        time.advance_to(start + ms(20 * (n + 1)));
        assert_eq!(count.get(), n as usize + 1);
    }
    let mut later = time::interval_at(timers.now() + ms(7), ms(20));
    assert!(later.poll_tick(&mut std::task::Context::from_waker(&waker)).is_pending());
    time.advance(ms(7));
    assert_eq!(tick(&mut later, start, &waker), Some(1_007));
}

/// When ticks are given out, and which, by who is busy from 50 to 170 and polls every 10 ms else.
fn ticks_of_a_busy_task(behavior: MissedTickBehavior) -> Vec<(u64, u64)> {
    let (timers, mut time): (Timers, ManualTime) = Timers::manual();
    let start = timers.now();
    let mut interval = Interval::new_in(&timers, start, ms(50));
    interval.set_missed_tick_behavior(behavior);
    assert_eq!(interval.missed_tick_behavior(), behavior);
    let mut ticks = Vec::new();
    for now_ms in (0..=50).chain(170..=400).step_by(1) {
        time.advance_to(start + ms(now_ms));
        while let Some(due) = tick(&mut interval, start, Waker::noop()) {
            ticks.push((now_ms, due));
        }
    }
    ticks
}

#[test]
fn a_burst_makes_up_for_each_missed_tick() {
    assert_eq!(MissedTickBehavior::default(), MissedTickBehavior::Burst);
    assert_eq!(
        ticks_of_a_busy_task(MissedTickBehavior::Burst),
        [
            (0, 0),
            (50, 50),
            (170, 100),
            (170, 150),
            (200, 200),
            (250, 250),
            (300, 300),
            (350, 350),
            (400, 400)
        ]
    );
}

#[test]
fn a_delay_shifts_what_follows_a_missed_tick() {
    assert_eq!(
        ticks_of_a_busy_task(MissedTickBehavior::Delay),
        [(0, 0), (50, 50), (170, 100), (220, 220), (270, 270), (320, 320), (370, 370)]
    );
}

#[test]
fn a_skip_leaves_missed_ticks_out_and_keeps_in_step() {
    assert_eq!(
        ticks_of_a_busy_task(MissedTickBehavior::Skip),
        [(0, 0), (50, 50), (170, 100), (200, 200), (250, 250), (300, 300), (350, 350), (400, 400)]
    );
}

#[test]
fn a_lateness_of_five_milliseconds_is_none() {
    for (late_ms, next) in [(5, 40), (6, 46)] {
        let (timers, mut time) = Timers::manual();
        let start = timers.now();
        let mut interval = Interval::new_in(&timers, start + ms(20), ms(20));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        time.advance(ms(20 + late_ms));
        assert_eq!(tick(&mut interval, start, Waker::noop()), Some(20));
        time.advance_to(start + ms(next - 1));
        assert_eq!(tick(&mut interval, start, Waker::noop()), None);
        time.advance_to(start + ms(next));
        assert_eq!(tick(&mut interval, start, Waker::noop()), Some(next));
    }
}

#[test]
fn a_period_shorter_than_the_resolution_keeps_its_pace() {
    let (timers, mut time) = Timers::manual();
    let start = timers.now();
    let mut interval = Interval::new_in(&timers, start, Duration::from_micros(300));
    let mut ticks = 0;
    for now_ms in 0..=30 {
        time.advance_to(start + ms(now_ms));
        while tick(&mut interval, start, Waker::noop()).is_some() {
            ticks += 1;
        }
    }
    assert_eq!(ticks, 101);
}

#[test]
fn a_tick_that_is_given_up_is_not_lost() {
    let (timers, mut time) = Timers::manual();
    let start = timers.now();
    let mut interval = Interval::new_in(&timers, start + ms(10), ms(10));
    {
        let mut given_up = pin!(interval.tick());
        assert!(poll(&mut given_up, Waker::noop()).is_pending());
        time.advance(ms(10));
    }
    assert_eq!(tick(&mut interval, start, Waker::noop()), Some(10));
}

#[test]
fn a_reset_starts_a_period_now_and_wakes_who_waits_at_its_end() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let start = timers.now();
    let mut interval = Interval::new_in(&timers, start, ms(10));
    assert_eq!(tick(&mut interval, start, &waker), Some(0));
    assert_eq!(tick(&mut interval, start, &waker), None);
    time.advance(ms(7));
    interval.reset();
    time.advance(ms(9));
    assert_eq!(count.get(), 0);
    time.advance(ms(1));
    assert_eq!(count.get(), 1);
    assert_eq!(tick(&mut interval, start, &waker), Some(17));
}

#[test]
#[should_panic(expected = "must be more than zero")]
fn a_period_of_nothing_is_refused() {
    let (timers, _time) = Timers::manual();
    Interval::new_in(&timers, timers.now(), Duration::ZERO);
}
