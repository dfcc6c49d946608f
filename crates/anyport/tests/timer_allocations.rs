//! Once warm, a timer allocates nothing: not when it is made, waits, is reset, fires or is cancelled.

#[path = "world/counting_allocator.rs"]
mod counting_allocator;

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use anyport::rt::time::{self, Interval, ManualTime, Sleep, Timers};
use counting_allocator::Counting;

thread_local! {
    /// Of this thread: time that is moved by hand needs no other.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // While a thread ends it has none.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(count);

const TIMERS: u32 = 3_000;

/// `TIMERS` that are put off, brought forward, fire or are cancelled, and others in between.
fn round(time: &mut ManualTime, sleeps: &mut Vec<Sleep>, interval: &mut Interval) {
    let mut cx = Context::from_waker(Waker::noop());
    let start = time.now();
    for n in 0..TIMERS {
        let mut sleep = time::sleep(Duration::from_millis(u64::from(n % 500) + 1));
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        match n % 4 {
            0 => sleep.reset(start + Duration::from_secs(100)),
            1 => sleep.reset(start),
            _ => {}
        }
        sleeps.push(sleep);
    }
    for _ in 0..1_000 {
        let mut timeout = pin!(time::timeout(Duration::from_millis(3), pending::<()>()));
        assert!(timeout.as_mut().poll(&mut cx).is_pending());
        while interval.poll_tick(&mut cx).is_ready() {}
        time.advance(Duration::from_millis(3));
        assert!(timeout.poll(&mut cx).is_ready());
    }
    // Some have fired, some have not.
    sleeps.clear();
}

#[test]
fn timers_allocate_nothing_once_warm() {
    let (timers, mut time) = Timers::manual();
    let _entered = timers.enter();
    let mut sleeps = Vec::new();
    let mut interval = time::interval(Duration::from_millis(2));
    round(&mut time, &mut sleeps, &mut interval);
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the allocator counts");
    for _ in 0..5 {
        round(&mut time, &mut sleeps, &mut interval);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
