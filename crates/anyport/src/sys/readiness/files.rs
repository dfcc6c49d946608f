//! Reads and writes at offsets, on a few threads: files are always "ready", and their calls wait.
//!
//! Guarantees one event for each job, that at most four threads run, that they end when there was
//! nothing to do for a while (an idle port makes no system call), and that none touches a job's
//! memory after `FileThreads` is gone. Called by `Readiness`.

use super::super::{Event, Message, Outcome, Region, Request, Token};
use super::attempt::{TRANSFER_MAX, code_of, uninterrupted};
use super::ready::{Ready, locked};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

#[cfg(not(target_os = "linux"))]
use libc::{off_t, pread, preadv, pwrite, pwritev};
#[cfg(target_os = "linux")]
use libc::{
    off64_t as off_t, pread64 as pread, preadv64 as preadv, pwrite64 as pwrite,
    pwritev64 as pwritev,
};

/// The threads and their queue. Dropping it waits for the jobs that run.
pub(super) struct FileThreads {
    shared: Arc<Shared>,
}

impl FileThreads {
    /// No thread yet. Events go to `ready`.
    pub(super) fn new(ready: Arc<Ready>) -> Self {
        let shared =
            Shared { ready, state: Mutex::default(), work: Condvar::new(), ended: Condvar::new() };
        FileThreads { shared: Arc::new(shared) }
    }

    /// Queues a request.
    ///
    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn start(&self, fd: RawFd, request: Request, token: Token) {
        let mut state = locked(&self.shared.state);
        state.jobs.push_back(Job { fd, request, token });
        let is_covered = state.jobs.len() <= state.idle;
        let free = state.is_running.iter().position(|&is_running| !is_running);
        let Some(slot) = free.filter(|_| !is_covered) else {
            drop(state);
            self.shared.work.notify_one();
            return;
        };
        state.is_running[slot] = true;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(format!("anyport-file-{slot}"));
        if let Err(e) = thread.spawn(move || shared.run(slot)) {
            self.do_without(slot, &e);
        }
    }

    /// Takes the request out if no thread has begun it.
    pub(super) fn cancel(&self, token: Token) -> bool {
        let mut state = locked(&self.shared.state);
        let position = state.jobs.iter().position(|job| job.token == token);
        position.and_then(|at| state.jobs.remove(at)).is_some()
    }

    /// No thread could be had. Others that run will come to the job; without any, the caller does
    /// the queued jobs here and now: late is better than never.
    fn do_without(&self, slot: usize, error: &io::Error) {
        log::warn!("cannot start a thread for file operations: {error}");
        let mut state = locked(&self.shared.state);
        state.is_running[slot] = false;
        while !state.is_any_running() {
            let Some(job) = state.jobs.pop_front() else {
                return;
            };
            drop(state);
            self.shared.finish(job);
            state = locked(&self.shared.state);
        }
    }
}

impl Drop for FileThreads {
    fn drop(&mut self) {
        let mut state = locked(&self.shared.state);
        state.is_closed = true;
        state.jobs.clear();
        self.shared.work.notify_all();
        let running = |state: &mut State| state.is_any_running();
        drop(self.shared.ended.wait_while(state, running).unwrap_or_else(PoisonError::into_inner));
    }
}

/// More would not make one disk faster, and a port has few file operations under way at a time.
const THREADS_MAX: usize = 4;

/// After this time without a job a thread ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

struct Shared {
    ready: Arc<Ready>,
    state: Mutex<State>,
    work: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job. One that was notified counts until it has the lock again, and
    /// so does its job: a job is covered while there are no more jobs than idle threads.
    idle: usize,
    is_running: [bool; THREADS_MAX],
    is_closed: bool,
}

impl State {
    fn is_any_running(&self) -> bool {
        self.is_running.contains(&true)
    }
}

struct Job {
    fd: RawFd,
    request: Request,
    token: Token,
}

impl Shared {
    /// The life of one thread.
    fn run(&self, slot: usize) {
        block_signals();
        let mut state = locked(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                self.finish(job);
                state = locked(&self.state);
                continue;
            }
            if !state.is_closed {
                state.idle += 1;
                let nothing = |state: &mut State| state.jobs.is_empty() && !state.is_closed;
                state = self
                    .work
                    .wait_timeout_while(state, IDLE_MAX, nothing)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                state.idle -= 1;
            }
            if state.jobs.is_empty() {
                state.is_running[slot] = false;
                self.ended.notify_all();
                return;
            }
        }
    }

    fn finish(&self, job: Job) {
        // SAFETY: the job is under way until its event, which is not pushed yet; by the promise
        // given to `start` its memory is valid and its descriptor open until then.
        let outcome = match unsafe { transfer(job.fd, job.request) } {
            Ok(bytes) => Outcome::Bytes(bytes),
            Err(e) => Outcome::Failed(code_of(&e)),
        };
        self.ready.push(Event::last(job.token, outcome));
    }
}

/// # Safety
/// The memory that the request names is valid and nobody else accesses it; `fd` is open.
unsafe fn transfer(fd: RawFd, request: Request) -> io::Result<usize> {
    let len = |region: Region| region.len.min(TRANSFER_MAX);
    // SAFETY: as promised by the caller.
    let regions = |message: *mut Message| unsafe { (*message).regions() };
    match request {
        Request::ReadAt(region, offset) => {
            let (region, offset) = (region.region(), position(offset)?);
            // SAFETY: the region is valid for writes, by the caller's promise.
            uninterrupted(|| unsafe { pread(fd, region.ptr.cast(), len(region), offset) })
        }
        Request::WriteAt(region, offset) => {
            let (region, offset) = (region.region(), position(offset)?);
            // SAFETY: the region is valid for reads, by the caller's promise.
            uninterrupted(|| unsafe { pwrite(fd, region.ptr.cast(), len(region), offset) })
        }
        Request::ReadMessageAt(message, offset) => {
            let ((list, count), offset) = (regions(message), position(offset)?);
            // SAFETY: list and what it points to are valid for writes, by the caller's promise.
            uninterrupted(|| unsafe { preadv(fd, list, count as _, offset) })
        }
        Request::WriteMessageAt(message, offset) => {
            let ((list, count), offset) = (regions(message), position(offset)?);
            // SAFETY: list and what it points to are valid for reads, by the caller's promise.
            uninterrupted(|| unsafe { pwritev(fd, list, count as _, offset) })
        }
        _ => Err(io::Error::from_raw_os_error(libc::ENOTSOCK)),
    }
}

fn position(offset: u64) -> io::Result<off_t> {
    off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Signals of the process are for the program's own threads, and a write beyond the file size
/// limit must come out as an error, not as SIGXFSZ. Faults are left alone.
fn block_signals() {
    const FAULTS: [libc::c_int; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];
    // SAFETY: all-zero bytes are a valid signal set, and the calls get pointers to it alone.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut signals);
        for fault in FAULTS {
            libc::sigdelset(&mut signals, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::super::selector::{Events, Selector};
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    fn threads() -> FileThreads {
        FileThreads::new(Arc::new(Ready::new(Selector::new().expect("a selector"), 1)))
    }

    fn start(threads: &FileThreads, file: &File, memory: &mut [u8], token: Token) {
        let region = Region { ptr: memory.as_mut_ptr(), len: memory.len() };
        // SAFETY: the tests keep memory and file until the event, or drop the threads first.
        unsafe {
            threads.start(
                file.as_raw_fd(),
                Request::ReadAt(crate::sys::FileRegion::of(region), 0),
                token,
            )
        };
    }

    fn zeros() -> File {
        File::open("/dev/zero").expect("opens")
    }

    /// Parks until the next event.
    fn next(ready: &Ready) -> Event {
        loop {
            if let Some(event) = ready.queue.pop_event() {
                return event;
            }
            let place = ready.enter(0);
            if !ready.has_events() && ready.sleepers.begin_poll(0) {
                ready.selector.wait(&mut Events::new(), None).expect("waits");
                ready.sleepers.end_poll(0);
            }
            ready.sleepers.leave(0, place);
        }
    }

    #[test]
    fn a_queued_job_can_be_taken_back_and_its_memory_is_left_alone() {
        let (threads, file, mut memory) = (threads(), zeros(), [7u8; 4]);
        // All threads are busy, or so it seems.
        locked(&threads.shared.state).is_running = [true; THREADS_MAX];
        start(&threads, &file, &mut memory, Token::new(1, 1));
        assert!(!threads.cancel(Token::new(1, 2)), "another generation");
        assert!(threads.cancel(Token::new(1, 1)));
        assert!(!threads.cancel(Token::new(1, 1)));
        locked(&threads.shared.state).is_running = [false; THREADS_MAX];
        assert_eq!(memory, [7; 4]);
    }

    #[test]
    fn without_a_thread_the_caller_does_the_jobs() {
        let (threads, file, mut memory) = (threads(), zeros(), [7u8; 4]);
        locked(&threads.shared.state).is_running = [true; THREADS_MAX];
        start(&threads, &file, &mut memory, Token::new(1, 1));
        locked(&threads.shared.state).is_running = [false; THREADS_MAX];
        threads.do_without(0, &io::Error::from_raw_os_error(libc::EAGAIN));
        assert_eq!(threads.shared.ready.queue.pop_event().expect("done").token, Token::new(1, 1));
        assert_eq!(memory, [0; 4]);
    }

    #[test]
    fn every_job_yields_one_event_and_at_most_four_threads_run() {
        const JOBS: usize = 200;
        let (threads, file) = (threads(), zeros());
        let mut memory = vec![[7u8; 64]; JOBS];
        for (index, memory) in memory.iter_mut().enumerate() {
            start(&threads, &file, memory, Token::new(index as u32, 1));
        }
        let mut indices: Vec<_> =
            (0..JOBS).map(|_| next(&threads.shared.ready).token.index() as usize).collect();
        indices.sort_unstable();
        assert!(indices.into_iter().eq(0..JOBS));
        assert!(threads.shared.ready.queue.pop_event().is_none());
        assert!(memory.iter().all(|memory| memory == &[0; 64]));
    }

    #[test]
    fn dropping_waits_for_the_jobs_that_run() {
        let (threads, file) = (threads(), zeros());
        let mut memory = vec![7u8; 32 << 20];
        start(&threads, &file, &mut memory, Token::new(1, 1));
        let shared = Arc::clone(&threads.shared);
        drop(threads);
        assert!(!locked(&shared.state).is_any_running());
        // Begun and done as a whole, or not begun: nothing writes any more.
        assert!(memory.iter().all(|&byte| byte == memory[0]));
    }
}
