//! Timeouts, by hand-driven time.

use std::future::{Future, pending, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use super::super::{self as time, Elapsed, Timeout, Timers};
use super::{Count, ms, poll};

#[test]
fn a_future_that_is_ready_takes_no_timer() {
    let (timers, _time) = Timers::manual();
    let mut timeout = Timeout::new_in(&timers, timers.now() + ms(5), ready(7));
    assert_eq!(poll(&mut timeout, Waker::noop()), Poll::Ready(Ok(7)));
    assert_eq!(timers.pending(), 0);
}

#[test]
fn the_future_goes_first_even_if_the_time_is_over() {
    let (timers, mut time) = Timers::manual();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let (sender, receiver) = mpsc::channel();
    let receive = poll_fn(|_| receiver.try_recv().map_or(Poll::Pending, Poll::Ready));
    let mut timeout = time::timeout(ms(5), receive);
    assert!(poll(&mut timeout, &waker).is_pending());
    assert_eq!(timers.pending(), 1);
    time.advance(ms(50));
    assert_eq!(count.get(), 1);
    sender.send(3).unwrap();
    assert_eq!(poll(&mut timeout, &waker), Poll::Ready(Ok(3)));

    let mut late = time::timeout_at(timers.now() - ms(1), ready(4));
    assert_eq!(poll(&mut late, &waker), Poll::Ready(Ok(4)));
}

#[test]
fn when_the_time_is_over_the_task_is_woken_and_learns_it() {
    let (timers, mut time) = Timers::manual();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let mut timeout = time::timeout(ms(5), pending::<()>());
    assert_eq!(timeout.deadline(), timers.now() + ms(5));
    assert!(poll(&mut timeout, &waker).is_pending());
    time.advance(ms(4));
    assert!(poll(&mut timeout, &waker).is_pending());
    time.advance(ms(1));
    assert_eq!(count.get(), 1);
    let Poll::Ready(Err(elapsed)) = poll(&mut timeout, &waker) else { panic!("it is over") };
    let error = io::Error::from(elapsed);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("time was over"));
}

/// Adds up what comes, until the sender is gone.
struct Sum {
    receiver: mpsc::Receiver<u32>,
    sum: u32,
}

impl Future for Sum {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<u32> {
        loop {
            match self.receiver.try_recv() {
                Ok(n) => self.sum += n,
                Err(mpsc::TryRecvError::Empty) => return Poll::Pending,
                Err(mpsc::TryRecvError::Disconnected) => return Poll::Ready(self.sum),
            }
        }
    }
}

#[test]
fn a_timeout_keeps_what_its_future_has_got() {
    let (timers, mut time) = Timers::manual();
    let (sender, receiver) = mpsc::channel();
    let deadline = timers.now() + ms(5);
    let mut timeout = Timeout::new_in(&timers, deadline, Sum { receiver, sum: 0 });
    sender.send(1).unwrap();
    assert!(poll(&mut timeout, Waker::noop()).is_pending());
    sender.send(2).unwrap();
    time.advance(ms(5));
    assert!(matches!(poll(&mut timeout, Waker::noop()), Poll::Ready(Err(Elapsed { .. }))));
    assert_eq!(timeout.get_ref().sum, 3, "what came just before the end as well");
    timeout.get_mut().sum += 10;

    let mut again = Timeout::new_in(&timers, timers.now() + ms(5), timeout.into_inner());
    assert!(poll(&mut again, Waker::noop()).is_pending());
    sender.send(4).unwrap();
    drop(sender);
    assert_eq!(poll(&mut again, Waker::noop()), Poll::Ready(Ok(17)));
}

#[test]
fn a_future_that_must_stay_where_it_is_can_be_awaited_again_after_its_time() {
    let (timers, mut time) = Timers::manual();
    let (sender, receiver) = mpsc::channel::<u32>();
    // Not `Unpin`: what an async block holds across an await stays where it is.
    let mut inner = pin!(async {
        let mut sum = Sum { receiver, sum: 0 };
        let borrowed = &mut sum;
        borrowed.await
    });
    let mut cx = Context::from_waker(Waker::noop());
    let deadline = timers.now() + ms(5);
    let mut timeout = Timeout::new_in(&timers, deadline, inner.as_mut());
    sender.send(5).unwrap();
    assert!(poll(&mut timeout, Waker::noop()).is_pending());
    time.advance(ms(5));
    assert!(matches!(poll(&mut timeout, Waker::noop()), Poll::Ready(Err(_))));
    drop((timeout, sender));
    assert_eq!(inner.as_mut().poll(&mut cx), Poll::Ready(5));
}

#[test]
fn a_dropped_timeout_drops_its_future_and_cancels_its_timer() {
    let (timers, _time) = Timers::manual();
    let (sender, receiver) = mpsc::channel();
    let deadline = timers.now() + ms(5);
    let mut timeout = Timeout::new_in(&timers, deadline, Sum { receiver, sum: 0 });
    assert!(poll(&mut timeout, Waker::noop()).is_pending());
    drop(timeout);
    assert_eq!(timers.pending(), 0);
    assert!(sender.send(1).is_err());
}
