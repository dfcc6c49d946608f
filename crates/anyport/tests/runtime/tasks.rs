//! Tasks: results, panics, aborts, fairness, and tasks that block.

use super::world::{DEADLINE, bytes, pair, runtime, single, wait_until};
use anyport::BackendKind;
use anyport::buf::PoolOptions;
use anyport::rt::{self, Runtime};
use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};

pub(crate) fn a_task_gives_its_result_to_who_waits(kind: BackendKind) {
    let runtime = runtime(kind);
    let tasks: Vec<_> = (0..1000_u64).map(|i| runtime.spawn(async move { i * i })).collect();
    let sum = runtime.block_on(async {
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("it does not panic");
        }
        sum
    });
    assert_eq!(sum, (0..1000).map(|i| i * i).sum::<u64>());
}

pub(crate) fn a_panic_is_a_result_and_the_worker_goes_on(kind: BackendKind) {
    let runtime = single(kind);
    for number in 0..3 {
        let task = runtime.spawn(async move {
            if number < 3 {
                panic!("number {number}");
            }
        });
        let error = runtime.block_on(task).expect_err("it panics");
        assert!(error.is_panic() && !error.is_cancelled());
        assert!(error.to_string().ends_with(&format!("panicked: number {number}")), "{error}");
        let payload = error.into_panic().expect("it was a panic");
        assert_eq!(
            payload.downcast_ref::<String>().map(String::as_str),
            Some(&*format!("number {number}"))
        );
    }
    assert_eq!(runtime.block_on(runtime.spawn(async { 7 })).expect("the worker lives"), 7);
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn an_aborted_task_is_dropped_and_says_so(kind: BackendKind) {
    let runtime = runtime(kind);
    for is_early in [false, true] {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let has_begun = Arc::new(AtomicBool::new(false));
        let (held, begun) = (Dropped(Arc::clone(&is_dropped)), Arc::clone(&has_begun));
        let task = runtime.spawn(async move {
            let _held = held;
            begun.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        });
        if !is_early {
            wait_until("its first poll", || has_begun.load(Ordering::SeqCst));
        }
        task.abort_handle().abort();
        let error = runtime.block_on(task).expect_err("it was aborted");
        assert!(error.is_cancelled());
        assert!(is_dropped.load(Ordering::SeqCst));
    }
    // One that is over keeps its result.
    let task = runtime.spawn(async { 5 });
    wait_until("its end", || task.is_finished());
    task.abort();
    assert_eq!(runtime.block_on(task).expect("it was over"), 5);
}

pub(crate) fn a_destructor_that_panics_is_a_result(kind: BackendKind) {
    /// Ready at once, or never.
    struct Grudge(bool);

    impl Future for Grudge {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if self.0 { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    impl Drop for Grudge {
        fn drop(&mut self) {
            panic!("to the last");
        }
    }

    let runtime = single(kind);
    for is_ready in [true, false] {
        let task = runtime.spawn(Grudge(is_ready));
        if !is_ready {
            task.abort();
        }
        let error = runtime.block_on(task).expect_err("it panics");
        assert!(error.to_string().ends_with("panicked: to the last"), "{error}");
    }
    assert_eq!(runtime.block_on(runtime.spawn(async { 7 })).expect("the worker lives"), 7);
}

pub(crate) fn a_task_nobody_waits_for_runs_to_its_end(kind: BackendKind) {
    let runtime = runtime(kind);
    let (sender, ended) = mpsc::channel();
    runtime
        .spawn(async move {
            for _ in 0..10 {
                rt::yield_now().await;
            }
            sender.send(()).expect("somebody waits");
        })
        .detach();
    ended.recv_timeout(super::world::DEADLINE).expect("it ends");
    wait_until("no task lives", || runtime.handle().metrics().tasks_alive == 0);
}

pub(crate) fn tasks_are_spawned_from_foreign_threads(kind: BackendKind) {
    let runtime = runtime(kind);
    let sum = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (handle, sum) = (runtime.handle().clone(), Arc::clone(&sum));
            scope.spawn(move || {
                for i in 0..1000 {
                    let sum = Arc::clone(&sum);
                    handle.spawn(async move { sum.fetch_add(i, Ordering::SeqCst) }).detach();
                }
            });
        }
    });
    wait_until("all were polled", || sum.load(Ordering::SeqCst) == 4 * (0..1000).sum::<usize>());
}

pub(crate) fn more_tasks_than_the_queue_holds_all_run(kind: BackendKind) {
    const TASKS: usize = 100_000;
    let runtime = single(kind);
    let (release, gate) = mpsc::channel::<()>();
    let count = Arc::new(AtomicUsize::new(0));
    // The only worker takes none of them before all are spawned.
    runtime.spawn(async move { gate.recv() }).detach();
    for _ in 0..TASKS {
        let count = Arc::clone(&count);
        runtime
            .spawn(async move {
                // Again behind all the others.
                rt::yield_now().await;
                count.fetch_add(1, Ordering::SeqCst)
            })
            .detach();
    }
    release.send(()).expect("the worker waits");
    wait_until("all were polled", || count.load(Ordering::SeqCst) == TASKS);
}

pub(crate) fn a_task_that_is_always_ready_lets_others_run(kind: BackendKind) {
    let runtime = single(kind);
    let is_done = Arc::new(AtomicBool::new(false));
    let other = Arc::clone(&is_done);
    runtime.block_on(async {
        let greedy = rt::spawn(async move {
            let (mut stream, mut peer) = pair();
            peer.write_all(&bytes(0, 1)).expect("the peer sends");
            let mut out = [0];
            while !is_done.load(Ordering::SeqCst) {
                assert_eq!(stream.peek(&mut out).await, Ok(1));
            }
        });
        rt::spawn(async move { other.store(true, Ordering::SeqCst) }).await.expect("it has a turn");
        greedy.await.expect("it ends");
    });
}

pub(crate) fn a_task_that_blocks_does_not_hold_up_others(kind: BackendKind) {
    let runtime = runtime(kind);
    // One of two that run blocks; the other must serve what it waits for.
    let (sender, gate) = mpsc::channel::<()>();
    let blocked = runtime.spawn(async move { gate.recv() });
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        rt::spawn(async move {
            peer.write_all(b"go").expect("the peer sends");
            assert_eq!(stream.recv().await.expect("it arrives").as_slice(), b"go");
            sender.send(()).expect("it waits");
        })
        .await
        .expect("it is served");
        blocked.await.expect("it goes on").expect("it was sent");
    });
}

/// Also where nobody finds a thread that blocks: what it waits for comes from another task.
pub(crate) fn a_task_that_says_so_may_block(kind: BackendKind) {
    let runtime = single_with_stand_in(kind);
    let (sender, gate) = mpsc::channel::<()>();
    let (begun, blocks) = mpsc::channel();
    let name = String::from("borrowed");
    let blocked = runtime.spawn(async move {
        rt::blocking(|| {
            begun.send(()).expect("the test waits");
            // Within another one it is only a call.
            rt::blocking(|| gate.recv()).expect("the other task sends");
            assert!(rt::Handle::current().is_some(), "it is in the runtime still");
            name.len()
        })
    });
    blocks.recv_timeout(DEADLINE).expect("it runs");
    assert_eq!(runtime.handle().metrics().stand_ins, 1, "its place was free before it blocked");
    let other = runtime.spawn(async move { sender.send(()) });
    runtime.block_on(other).expect("it ends").expect("the other waits");
    assert_eq!(runtime.block_on(blocked).expect("it goes on"), 8);
}

pub(crate) fn blocking_elsewhere_is_only_a_call(kind: BackendKind) {
    let runtime = single(kind);
    assert_eq!(rt::blocking(|| 1), 1);
    assert_eq!(runtime.block_on(async { rt::blocking(|| 2) }), 2);
    let pooled = runtime.handle().spawn_blocking(|| rt::blocking(|| 3));
    assert_eq!(runtime.block_on(pooled).expect("it ends"), 3);
    // On the only worker, and after a panic in it.
    let panics = runtime.spawn(async { rt::blocking(|| panic!("by design")) });
    assert!(runtime.block_on(panics).expect_err("it panicked").is_panic());
    let task = runtime.spawn(async { rt::blocking(|| 4) });
    assert_eq!(runtime.block_on(task).expect("it ends"), 4);
}

pub(crate) fn a_task_may_wait_for_others_by_blocking(kind: BackendKind) {
    let runtime = single_with_stand_in(kind);
    let handle = runtime.handle().clone();
    let inner = runtime.spawn(async move {
        let nested = handle.clone();
        handle.block_on(async move {
            // More that is ready at once than a task may do in a turn.
            let (mut stream, mut peer) = pair();
            peer.write_all(b"x").expect("the peer sends");
            for _ in 0..1000 {
                assert_eq!(stream.peek(&mut [0]).await, Ok(1));
            }
            nested.spawn(async { 3 }).await
        })
    });
    assert_eq!(runtime.block_on(inner).expect("it ends").expect("so does the other"), 3);
}

/// One runs, and there is another to take its place.
fn single_with_stand_in(kind: BackendKind) -> Runtime {
    Runtime::builder().backend(kind).workers(2).concurrency(1).build().expect("a runtime")
}

pub(crate) fn tasks_that_wake_each_other_go_on_for_ever(kind: BackendKind) {
    const TURNS: usize = 20_000;
    #[derive(Default)]
    struct Table {
        turn: usize,
        wakers: [Option<Waker>; 2],
    }
    let runtime = runtime(kind);
    let table = Arc::new(Mutex::new(Table::default()));
    let players = [0, 1].map(|me| {
        let table = Arc::clone(&table);
        runtime.spawn(poll_fn(move |cx| {
            let mut table = table.lock().expect("nobody panics");
            if table.turn >= TURNS {
                return Poll::Ready(());
            }
            if table.turn % 2 == me {
                table.turn += 1;
                if let Some(waker) = table.wakers[1 - me].take() {
                    waker.wake();
                }
                if table.turn >= TURNS {
                    return Poll::Ready(());
                }
            }
            table.wakers[me] = Some(cx.waker().clone());
            Poll::Pending
        }))
    });
    runtime.block_on(async {
        for player in players {
            player.await.expect("it ends");
        }
    });
}

pub(crate) fn workers_have_names_and_hooks(kind: BackendKind) {
    let started = Arc::new(Mutex::new(Vec::new()));
    let stopped = Arc::new(AtomicUsize::new(0));
    let (starts, stops) = (Arc::clone(&started), Arc::clone(&stopped));
    let runtime = Runtime::builder()
        .backend(kind)
        .workers(3)
        .thread_name("gateway")
        .on_thread_start(move |number| {
            let name = std::thread::current().name().map(str::to_owned);
            starts.lock().expect("nobody panics").push((number, name));
        })
        .on_thread_stop(move |_| {
            stops.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("a runtime");
    let name =
        runtime.block_on(runtime.spawn(async { std::thread::current().name().map(str::to_owned) }));
    assert!(name.expect("it ends").expect("a name").starts_with("gateway-"));
    drop(runtime);
    let mut started = started.lock().expect("nobody panics").clone();
    started.sort();
    let expected = |number: usize| (number, Some(format!("gateway-{number}")));
    assert_eq!(started, [expected(0), expected(1), expected(2)]);
    assert_eq!(stopped.load(Ordering::SeqCst), 3);
}

pub(crate) fn what_is_counted_adds_up(kind: BackendKind) {
    let builder = Runtime::builder().backend(kind).workers(2).poll_times(true);
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(async {
        for _ in 0..10 {
            let task = rt::spawn(async {
                rt::yield_now().await;
                rt::yield_now().await;
            });
            task.await.expect("it ends");
        }
    });
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.workers, metrics.tasks_spawned, metrics.tasks_alive), (2, 10, 0));
    assert_eq!(metrics.polls, 30);
    wait_until("every poll is timed", || {
        runtime.handle().metrics().poll_times.iter().sum::<u64>() == 30
    });
}

pub(crate) fn the_buffers_that_tasks_hold_are_counted(kind: BackendKind) {
    const BYTES_MAX: usize = 1 << 20;
    let builder = Runtime::builder().backend(kind).workers(2).concurrency(1);
    let runtime = builder.pool(PoolOptions::new().bytes_max(BYTES_MAX)).build();
    let runtime = runtime.expect("a runtime");
    let metrics = || runtime.handle().metrics();
    assert_eq!((metrics().pool_bytes_held, metrics().pool_bytes_max), (0, BYTES_MAX));
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        peer.write_all(b"held").expect("the peer sends");
        let held = stream.recv().await.expect("it arrives");
        let counted = metrics();
        assert!(counted.pool_bytes_taken >= held.capacity(), "{counted:?}");
        assert!(counted.pool_bytes_held >= counted.pool_bytes_taken, "{counted:?}");
        assert!(counted.pool_bytes_held <= BYTES_MAX, "{counted:?}");
    });
}

pub(crate) fn blocking_calls_have_threads_of_their_own(kind: BackendKind) {
    const CALLS: usize = 20;
    let runtime = single(kind);
    runtime.block_on(async {
        // Each waits for all others, so none has the thread of another.
        let meeting = Arc::new(std::sync::Barrier::new(CALLS));
        let calls: Vec<_> = (0..CALLS)
            .map(|i| {
                let meeting = Arc::clone(&meeting);
                rt::spawn_blocking(move || {
                    meeting.wait();
                    i
                })
            })
            .collect();
        for (i, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.expect("it ends"), i);
        }
        let error = rt::spawn_blocking(|| panic!("too bad")).await.expect_err("it panics");
        assert!(error.is_panic());
    });
    assert_eq!(runtime.handle().metrics().blocking_threads, CALLS);
}
