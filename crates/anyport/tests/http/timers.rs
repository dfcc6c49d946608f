//! What hyper does with the timer beyond waiting.

use super::world::{give_up_after, runtime};
use anyport::BackendKind;
use anyport::rt::hyper::AnyportTimer;
use anyport::rt::time;
use hyper::rt::{Sleep, Timer};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn a_sleep_that_is_put_off_ends_later(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let mut sleep = AnyportTimer.sleep(LONG);
        assert!(give_up_after(1, sleep.as_mut()).await.is_none());
        let deadline = AnyportTimer.now() + Duration::from_millis(2);
        AnyportTimer.reset(&mut sleep, deadline);
        sleep.as_mut().await;
        assert!(time::now() >= deadline);
        AnyportTimer.reset(&mut sleep, time::now() + LONG);
        assert!(give_up_after(1, sleep.as_mut()).await.is_none());
        AnyportTimer.sleep_until(deadline).await;
    });
}

pub(crate) fn a_sleep_of_another_kind_is_replaced(kind: BackendKind) {
    struct Never;
    impl Future for Never {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
    impl Sleep for Never {}
    let runtime = runtime(kind);
    runtime.block_on(async {
        let mut sleep: Pin<Box<dyn Sleep>> = Box::pin(Never);
        AnyportTimer.reset(&mut sleep, time::now());
        sleep.await;
    });
}
