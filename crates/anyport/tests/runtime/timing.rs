//! Timers of tasks.

use super::dropped::{races, sends};
use super::world::{Checked, Numbers, pair, runtime};
use anyport::BackendKind;
use anyport::rt;
use anyport::rt::time::{self, interval, sleep, timeout};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

pub(crate) fn sleeps_end_in_the_order_of_their_deadlines(kind: BackendKind) {
    let runtime = runtime(kind);
    let ended = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let start = time::now();
        let tasks: Vec<_> = [50, 10, 30]
            .map(|millis| {
                let ended = Arc::clone(&ended);
                rt::spawn(async move {
                    time::sleep_until(start + Duration::from_millis(millis)).await;
                    ended.lock().expect("nobody panics").push((millis, time::now()));
                })
            })
            .into();
        for task in tasks {
            task.await.expect("it ends");
        }
        let ended = ended.lock().expect("nobody panics");
        for (millis, now) in ended.iter() {
            assert!(*now >= start + Duration::from_millis(*millis), "{millis} ms came early");
        }
    });
}

pub(crate) fn a_receive_raced_with_a_timeout_loses_no_byte(kind: BackendKind) {
    let runtime = runtime(kind);
    let task = runtime.spawn(async {
        let (mut stream, peer) = pair();
        let peer = sends(peer);
        let (mut checked, mut numbers) = (Checked::default(), Numbers(8));
        for _ in 0..races() / 10 {
            // Over at once, or in a while: both ends of the race win now and then.
            let limit = Duration::from_micros(numbers.below(3) as u64 * 100);
            if let Ok(received) = timeout(limit, stream.recv()).await {
                checked.take(received.expect("it arrives").as_slice());
            }
        }
        checked.take(stream.recv().await.expect("it arrives").as_slice());
        drop(stream);
        assert!(peer.join().expect("it ends") >= checked.position);
    });
    runtime.block_on(task).expect("it does not panic");
}

pub(crate) fn a_timeout_ends_what_does_not_come(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        let limit = Duration::from_millis(5);
        let start = Instant::now();
        assert!(timeout(limit, stream.recv()).await.is_err());
        assert!(start.elapsed() >= limit);
        drop(peer);
        let received = timeout(Duration::from_secs(30), stream.recv()).await.expect("it comes");
        assert!(received.expect("an orderly end").is_empty());
        let mut ticks = interval(Duration::from_millis(1));
        let first = ticks.tick().await;
        assert_eq!(ticks.tick().await, first + Duration::from_millis(1));
    });
}

pub(crate) fn timers_go_on_while_a_task_blocks(kind: BackendKind) {
    let runtime = runtime(kind);
    let (release, gate) = mpsc::channel::<()>();
    let blocked = runtime.spawn(async move {
        // Made by the worker that then blocks.
        let other = rt::spawn(async move {
            sleep(Duration::from_millis(2)).await;
            release.send(()).expect("it waits");
        });
        gate.recv().expect("it is released");
        other.await
    });
    runtime.block_on(blocked).expect("it ends").expect("so does the other");
}

pub(crate) fn a_shutdown_drops_tasks_that_sleep(kind: BackendKind) {
    let runtime = runtime(kind);
    for _ in 0..100 {
        runtime.spawn(async { sleep(Duration::from_secs(3600)).await }).detach();
    }
    assert_eq!(runtime.shut_down(Duration::from_secs(30)).tasks_left, 0);
}
