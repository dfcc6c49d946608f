//! Who is there to take a job: the handshake between who brings one and the threads that come and
//! go. Plain state; the pool keeps it under its lock and does what it is told.
//!
//! # No job is lost
//!
//! Call a thread *awake* when it holds no job and will come for the lock: it is being started, was
//! notified or is about to be, or its time is over. Whoever is awake asks `next` under the lock
//! before it sleeps or ends, and gets the oldest job if there is one. So a thread sleeps, and ends, only while the queue
//! is empty. In particular one whose time is over as a job comes either has the lock first and is not
//! counted any more when the job is brought, or has it second and takes the job; that the
//! notification was spent on it does not matter.
//!
//! `idle` counts the threads that hold no job, awake or asleep. As long as the lock is free at least
//! `min(jobs in the queue, idle)` of them are awake, because every job that finds as many jobs as idle
//! threads or fewer notifies one, or all of them are awake already; one for which there are too few
//! starts a thread, which is awake. So no job waits for one that runs while a thread has nothing to do
//! or another could be started. Beyond `threads_max` a job waits, and all idle threads are awake;
//! each thread asks for the next job when its own is over.

use std::collections::VecDeque;

/// The queue, and how many threads there are.
pub(super) struct Roster<J> {
    queue: VecDeque<J>,
    threads_max: usize,
    threads: usize,
    /// Threads that hold no job. One that is being started counts from the decision on, one that was
    /// notified until it has a job.
    idle: usize,
    done: u64,
    is_closed: bool,
}

/// What who brought a job has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought<J> {
    /// Notify one thread that sleeps.
    Wake,
    /// Start a thread, or say `start_failed`.
    Start,
    /// Nothing: one of the threads comes to it.
    Wait,
    /// The roster is closed: have the job back.
    Refused(J),
}

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<J> {
    /// Run this, then say `finished`.
    Run(J),
    /// Sleep until notified or the time is over, then ask again.
    Sleep,
    /// End. It is not counted any more.
    End,
}

impl<J> Roster<J> {
    /// No thread, no job.
    pub(super) fn new(threads_max: usize) -> Self {
        Roster {
            queue: VecDeque::new(),
            threads_max: threads_max.max(1),
            threads: 0,
            idle: 0,
            done: 0,
            is_closed: false,
        }
    }

    /// Queues a job.
    pub(super) fn bring(&mut self, job: J) -> Brought<J> {
        if self.is_closed {
            return Brought::Refused(job);
        }
        self.queue.push_back(job);
        if self.queue.len() <= self.idle {
            Brought::Wake
        } else if self.threads < self.threads_max {
            self.threads += 1;
            self.idle += 1;
            Brought::Start
        } else {
            Brought::Wait
        }
    }

    /// The thread that was to be started does not come. Without any other nobody comes to the jobs
    /// that are queued: have them back. Else notify all: what it was to take is for others.
    pub(super) fn start_failed(&mut self) -> VecDeque<J> {
        self.threads -= 1;
        self.idle -= 1;
        if self.threads == 0 { std::mem::take(&mut self.queue) } else { VecDeque::new() }
    }

    /// Asked by a thread that holds no job; `is_time_over` when it has slept for as long as a thread
    /// without a job may.
    pub(super) fn next(&mut self, is_time_over: bool) -> Next<J> {
        if let Some(job) = self.queue.pop_front() {
            self.idle -= 1;
            Next::Run(job)
        } else if self.is_closed || is_time_over {
            self.idle -= 1;
            self.threads -= 1;
            Next::End
        } else {
            Next::Sleep
        }
    }

    /// A thread is through with its job; `has_run` unless the job had been taken back.
    pub(super) fn finished(&mut self, has_run: bool) {
        self.idle += 1;
        self.done += u64::from(has_run);
    }

    /// From now on jobs are refused and threads end. Those that had not begun are the caller's, who
    /// notifies all.
    pub(super) fn close(&mut self) -> VecDeque<J> {
        self.is_closed = true;
        std::mem::take(&mut self.queue)
    }

    /// Threads that have not ended, and those being started.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Threads without a job.
    pub(super) fn idle(&self) -> usize {
        self.idle
    }

    /// Threads with a job.
    pub(super) fn running(&self) -> usize {
        self.threads - self.idle
    }

    /// Jobs that wait for a thread.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Jobs that have run.
    pub(super) fn done(&self) -> u64 {
        self.done
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_started_only_when_those_that_are_free_are_too_few() {
        let mut roster = Roster::new(2);
        assert_eq!(roster.bring(1), Brought::Start);
        // The first is still on its way, and will take one job.
        assert_eq!(roster.bring(2), Brought::Start);
        assert_eq!(roster.bring(3), Brought::Wait);
        assert_eq!(roster.next(false), Next::Run(1));
        assert_eq!(roster.next(false), Next::Run(2));
        roster.finished(true);
        assert_eq!(roster.next(false), Next::Run(3));
        roster.finished(true);
        assert_eq!(roster.next(false), Next::Sleep);
        assert_eq!(roster.bring(4), Brought::Wake);
        assert_eq!((roster.threads(), roster.idle(), roster.running()), (2, 1, 1));
        assert_eq!((roster.queued(), roster.done()), (1, 2));
    }

    #[test]
    fn a_thread_whose_time_is_over_takes_the_job_that_came_meanwhile() {
        let mut roster = Roster::new(1);
        assert_eq!(roster.bring(1), Brought::Start);
        assert_eq!(roster.next(true), Next::Run(1));
        roster.finished(true);
        assert_eq!(roster.next(true), Next::End);
        assert_eq!(roster.threads(), 0);
        assert_eq!(roster.bring(2), Brought::Start);
    }

    #[test]
    fn jobs_come_back_when_the_only_thread_cannot_be_started() {
        let mut roster = Roster::new(4);
        assert_eq!(roster.bring(1), Brought::Start);
        assert_eq!(roster.bring(2), Brought::Start);
        assert!(roster.start_failed().is_empty(), "the other may come");
        assert_eq!(roster.start_failed(), [1, 2]);
        assert_eq!((roster.threads(), roster.idle()), (0, 0));
    }

    #[test]
    fn closing_gives_back_what_has_not_begun_and_ends_the_threads() {
        let mut roster = Roster::new(1);
        assert_eq!(roster.bring(1), Brought::Start);
        assert_eq!(roster.next(false), Next::Run(1));
        assert_eq!(roster.bring(2), Brought::Wait);
        assert_eq!(roster.close(), [2]);
        assert_eq!(roster.bring(3), Brought::Refused(3));
        roster.finished(true);
        assert_eq!(roster.next(false), Next::End);
        assert_eq!(roster.threads(), 0);
    }
}

#[cfg(all(test, loom))]
#[path = "roster_loom.rs"]
mod loom_models;
