//! Models of the handshake that loom runs in every order of its threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! A lost job is one that somebody waits for in vain, which loom reports as a deadlock. Time is a
//! thread of its own here, that ends one thread's sleep at any moment.

use super::{Brought, Next, Roster};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread::{self, JoinHandle};

fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    builder.check(run);
}

/// What `BlockingPool` is, without the jobs.
struct Pool {
    state: Mutex<State>,
    work: Condvar,
    ended: Condvar,
}

struct State {
    roster: Roster<u32>,
    started: Vec<JoinHandle<()>>,
    /// The time of one thread that sleeps is over.
    is_time_over: bool,
    /// Jobs that have run, failed or were refused: the bits of their numbers.
    settled: u32,
}

impl State {
    fn settle(&mut self, job: u32) {
        assert_eq!(self.settled & 1 << job, 0, "a job has one end");
        self.settled |= 1 << job;
    }
}

impl Pool {
    fn new(threads_max: usize) -> Arc<Self> {
        let state = State {
            roster: Roster::new(threads_max),
            started: Vec::new(),
            is_time_over: false,
            settled: 0,
        };
        Arc::new(Pool { state: Mutex::new(state), work: Condvar::new(), ended: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn spawn(this: &Arc<Self>, job: u32, can_start: bool) {
        let brought = this.lock().roster.bring(job);
        match brought {
            Brought::Wake => this.work.notify_one(),
            Brought::Start if can_start => {
                let pool = Arc::clone(this);
                let thread = thread::spawn(move || pool.serve());
                this.lock().started.push(thread);
            }
            Brought::Start => {
                let mut state = this.lock();
                for job in state.roster.start_failed() {
                    state.settle(job);
                }
                drop(state);
                this.work.notify_all();
            }
            Brought::Wait => {}
            Brought::Refused(job) => this.lock().settle(job),
        }
        this.ended.notify_all();
    }

    fn serve(&self) {
        let mut state = self.lock();
        let mut is_time_over = false;
        loop {
            match state.roster.next(is_time_over) {
                Next::Run(job) => {
                    drop(state);
                    thread::yield_now();
                    state = self.lock();
                    state.roster.finished(true);
                    state.settle(job);
                    is_time_over = false;
                    self.ended.notify_all();
                }
                Next::Sleep => {
                    state = self.work.wait(state).unwrap();
                    is_time_over = std::mem::take(&mut state.is_time_over);
                }
                Next::End => {
                    self.ended.notify_all();
                    return;
                }
            }
        }
    }

    fn let_time_pass(&self) {
        self.lock().is_time_over = true;
        self.work.notify_one();
    }

    /// Waits until these jobs have had an end.
    fn wait_for(&self, jobs: &[u32]) {
        let all = jobs.iter().fold(0, |all, job| all | 1 << job);
        let mut state = self.lock();
        while state.settled & all != all {
            state = self.ended.wait(state).unwrap();
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        for job in state.roster.close() {
            state.settle(job);
        }
        self.work.notify_all();
        while state.roster.threads() > 0 {
            state = self.ended.wait(state).unwrap();
        }
        let started = std::mem::take(&mut state.started);
        drop(state);
        for thread in started {
            thread.join().unwrap();
        }
    }
}

#[test]
fn loom_no_job_is_lost_to_a_thread_whose_time_is_over() {
    model(3, || {
        let pool = Pool::new(1);
        let clock = Arc::clone(&pool);
        let clock = thread::spawn(move || clock.let_time_pass());
        Pool::spawn(&pool, 1, true);
        Pool::spawn(&pool, 2, true);
        pool.wait_for(&[1, 2]);
        clock.join().unwrap();
        pool.close();
    });
}

#[test]
fn loom_no_job_is_lost_between_two_who_bring_some() {
    model(2, || {
        let pool = Pool::new(2);
        let other = Arc::clone(&pool);
        let other = thread::spawn(move || {
            Pool::spawn(&other, 1, true);
            other.let_time_pass();
        });
        Pool::spawn(&pool, 2, true);
        pool.wait_for(&[1, 2]);
        other.join().unwrap();
        pool.close();
    });
}

#[test]
fn loom_no_job_waits_for_a_thread_that_could_not_be_started() {
    model(2, || {
        let pool = Pool::new(2);
        let other = Arc::clone(&pool);
        let other = thread::spawn(move || Pool::spawn(&other, 1, false));
        Pool::spawn(&pool, 2, true);
        pool.wait_for(&[1, 2]);
        other.join().unwrap();
        pool.close();
    });
}

#[test]
fn loom_every_job_has_an_end_when_the_pool_closes() {
    model(2, || {
        let pool = Pool::new(1);
        Pool::spawn(&pool, 1, true);
        let other = Arc::clone(&pool);
        let other = thread::spawn(move || Pool::spawn(&other, 2, true));
        pool.close();
        other.join().unwrap();
        pool.wait_for(&[1, 2]);
        // What was started after the last look ends by itself.
        pool.close();
    });
}
