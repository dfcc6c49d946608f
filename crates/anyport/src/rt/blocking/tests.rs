//! The pool as its users see it. The handshake by itself is tested beside `roster.rs`.

use super::*;
use crate::rt::park_on::park_on;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Wake, Waker};
use std::thread;

fn pool(threads_max: usize) -> BlockingPool {
    BlockingPool::new(BlockingOptions::new().threads_max(threads_max))
}

/// A job that says when it runs and goes on when it may.
fn gate() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let (tell, begun) = mpsc::channel();
    let (open, opened) = mpsc::channel();
    let job = move || {
        tell.send(()).expect("the test waits");
        // Also when the test has failed.
        let _ = opened.recv();
    };
    (job, begun, open)
}

/// Waits until the pool's counters are as `is_so` says.
fn wait_until(pool: &BlockingPool, is_so: impl Fn(BlockingStats) -> bool) {
    while !is_so(pool.stats()) {
        thread::yield_now();
    }
}

#[test]
fn a_task_gives_what_its_job_returns() {
    let pool = pool(4);
    assert_eq!(pool.stats(), BlockingStats::default());
    let tasks: Vec<_> = (0..100).map(|number| pool.spawn(move || number * 2)).collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(park_on(task).expect("no panic"), number * 2);
    }
    assert_eq!(pool.shut_down(None), 0);
    assert_eq!(pool.stats(), BlockingStats { done: 100, ..BlockingStats::default() });
}

#[test]
fn a_panic_is_the_tasks_result_and_the_thread_lives_on() {
    let pool = pool(1);
    let thread_of = || park_on(pool.spawn(|| thread::current().id())).expect("no panic");
    let before = thread_of();
    let error = park_on(pool.spawn(|| -> u32 { panic!("by design") })).expect_err("panics");
    assert!(error.is_panic());
    assert_eq!(error.to_string(), "the task panicked: by design");
    assert_eq!(thread_of(), before);
    assert_eq!(pool.stats().threads, 1);
}

#[test]
fn a_result_that_panics_when_nobody_takes_it_does_not_end_the_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("by design");
        }
    }
    let pool = pool(1);
    let (job, begun, open) = gate();
    let task = pool.spawn(move || {
        job();
        Bomb
    });
    begun.recv().expect("runs");
    // Before there is a result, or it would be dropped here.
    drop(task);
    open.send(()).expect("runs on");
    assert_eq!(park_on(pool.spawn(|| 5)).expect("no panic"), 5);
    assert_eq!(pool.shut_down(None), 0);
    assert_eq!(pool.stats().done, 2);
}

#[test]
fn a_job_runs_although_its_task_was_dropped() {
    let pool = pool(1);
    let (job, begun, open) = gate();
    drop(pool.spawn(job));
    let (tell, told) = mpsc::channel();
    drop(pool.spawn(move || tell.send("also the one in the queue")));
    begun.recv().expect("runs");
    open.send(()).expect("runs on");
    assert_eq!(told.recv(), Ok("also the one in the queue"));
}

#[test]
fn an_aborted_job_that_has_not_begun_never_begins_and_lets_go_at_once() {
    let pool = pool(1);
    let (job, begun, open) = gate();
    let first = pool.spawn(job);
    begun.recv().expect("runs");

    let held = Arc::new(AtomicBool::new(false));
    let has_run = Arc::clone(&held);
    let second = pool.spawn(move || has_run.store(true, Ordering::Relaxed));
    assert!(!second.is_finished());
    assert_eq!(pool.stats().queued, 1);
    second.abort();
    assert!(second.is_finished());
    assert_eq!(Arc::strong_count(&held), 1, "what the job held is dropped");
    assert!(park_on(second).expect_err("aborted").is_cancelled());

    open.send(()).expect("runs on");
    park_on(first).expect("no panic");
    pool.shut_down(None);
    assert!(!held.load(Ordering::Relaxed));
    assert_eq!(pool.stats().done, 1);
}

#[test]
fn aborting_a_job_that_runs_changes_nothing() {
    let pool = pool(1);
    let (job, begun, open) = gate();
    let task = pool.spawn(move || {
        job();
        7
    });
    begun.recv().expect("runs");
    task.abort();
    assert!(!task.is_finished());
    open.send(()).expect("runs on");
    assert_eq!(park_on(task).expect("no panic"), 7);
}

#[test]
fn who_waits_for_a_job_is_woken_when_it_is_aborted() {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let pool = pool(1);
    let (job, begun, _open) = gate();
    drop(pool.spawn(job));
    begun.recv().expect("runs");
    let mut task = pin!(pool.spawn(|| ()));
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    task.abort();
    assert!(flag.0.load(Ordering::Relaxed));
    assert!(park_on(task).expect_err("aborted").is_cancelled());
}

#[test]
fn as_many_jobs_run_at_once_as_there_may_be_threads() {
    const THREADS: usize = 8;
    let pool = pool(THREADS);
    for _ in 0..50 {
        // Nobody passes before all are there.
        let barrier = Arc::new(Barrier::new(THREADS));
        let tasks: Vec<_> = (0..THREADS)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                pool.spawn(move || barrier.wait().is_leader())
            })
            .collect();
        let leaders = tasks.into_iter().map(|task| park_on(task).expect("no panic"));
        assert_eq!(leaders.filter(|&is_leader| is_leader).count(), 1);
    }
    assert_eq!(pool.stats().threads, THREADS);
}

#[test]
fn no_more_threads_run_than_there_may_be() {
    const THREADS: usize = 3;
    let pool = pool(THREADS);
    let running = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let running = Arc::clone(&running);
            pool.spawn(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                now
            })
        })
        .collect();
    for task in tasks {
        assert!(park_on(task).expect("no panic") <= THREADS);
    }
}

#[test]
fn a_free_thread_is_used_again() {
    let pool = pool(8);
    for done in 1..=50 {
        park_on(pool.spawn(|| ())).expect("no panic");
        wait_until(&pool, |stats| stats.idle == 1);
        assert_eq!(pool.stats(), BlockingStats { threads: 1, idle: 1, queued: 0, done });
    }
}

#[test]
fn threads_that_end_at_once_lose_no_job() {
    let options = BlockingOptions::new().threads_max(2).keep_alive(Duration::ZERO);
    let pool = BlockingPool::new(options);
    for number in 0..2_000 {
        assert_eq!(park_on(pool.spawn(move || number)).expect("no panic"), number);
    }
    wait_until(&pool, |stats| stats.threads == 0);
}

#[test]
fn threads_have_the_pools_name_and_a_number() {
    let options = BlockingOptions::new().thread_name("slow\0ly");
    let pool = BlockingPool::new(options);
    let name = park_on(pool.spawn(|| thread::current().name().map(str::to_owned)));
    assert_eq!(name.expect("no panic").as_deref(), Some("slowly-0"));
}

#[test]
fn shutting_down_cancels_what_waits_and_counts_what_runs() {
    let pool = pool(1);
    let (job, begun, open) = gate();
    let first = pool.spawn(job);
    begun.recv().expect("runs");
    let second = pool.spawn(|| ());

    assert_eq!(pool.shut_down(Some(Instant::now())), 1);
    let error = park_on(second).expect_err("had not begun");
    assert!(error.is_cancelled());
    assert_eq!(error.to_string(), format!("the task was cancelled: {SHUT_DOWN}"));
    assert!(park_on(pool.spawn(|| ())).expect_err("too late").is_cancelled());

    open.send(()).expect("runs on");
    assert_eq!(pool.shut_down(None), 0);
    park_on(first).expect("what ran goes on to its end");
    assert_eq!(pool.stats(), BlockingStats { done: 1, ..BlockingStats::default() });
}

#[test]
fn a_job_that_shuts_its_own_pool_down_does_not_wait_for_itself() {
    let pool = Arc::new(pool(2));
    let own = Arc::clone(&pool);
    assert_eq!(park_on(pool.spawn(move || own.shut_down(None))).expect("no panic"), 0);
}

#[test]
fn without_any_thread_tasks_are_cancelled_and_say_why() {
    let pool = pool(4);
    let (job, task) = task::job(|| ());
    assert!(matches!(pool.shared.lock().bring(job), Brought::Start));
    pool.do_without(&io::Error::from(io::ErrorKind::WouldBlock));
    let error = park_on(task).expect_err("there is no thread");
    assert!(error.is_cancelled());
    assert!(error.to_string().contains("raise its limit"), "{error}");
    assert_eq!(pool.stats(), BlockingStats::default());
    park_on(pool.spawn(|| ())).expect("the next may have one");
}

#[test]
#[should_panic = "after it gave its result"]
fn a_task_gives_its_result_once() {
    let pool = pool(1);
    let mut task = pin!(pool.spawn(|| ()));
    park_on(task.as_mut()).expect("no panic");
    let _ = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}
