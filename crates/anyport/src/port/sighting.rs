//! What is seen of one thread's handler over several looks: does it go on, run, or block?
//!
//! The clerk looks by the clock. A handler is found blocked when its thread is asleep and has hardly run
//! since an earlier look, in the same handler. Where one was found blocked lately two looks that are
//! close to each other will do: a thread whose CPU clock stands still while it is read twice is off its
//! core, and if it is asleep and has not run at all a moment later, it blocks.

use super::member::{Member, is_in_handler};
use crate::sys::ThreadWatch;
use std::time::{Duration, Instant};

/// How long a thread is watched before it may be found blocked: to give its place away costs more
/// than a short wait.
const BLOCKED_MIN: Duration = Duration::from_micros(200);

/// The same where a handler was found blocked lately, of a thread that has not run at all meanwhile.
const BLOCKED_MIN_WATCHFUL: Duration = Duration::from_micros(40);

/// After which time to look again at a thread that is off its core. Shorter, and every wait for a lock
/// or a page is taken for a handler that blocks.
pub(super) const RECHECK: Duration = Duration::from_micros(50);

/// A thread is blocked when it used less than this part of the time it was watched.
const BLOCKED_CPU_SHARE: u32 = 8;

/// A thread in a handler, as it was at a look.
#[derive(Clone, Copy)]
pub(super) struct Sighting {
    member: u32,
    beat: u64,
    /// When it was first seen in this handler.
    began: Instant,
    /// When its CPU time was taken; where a handler was found blocked lately, not moved on while that
    /// stands still.
    since: Instant,
    /// Its CPU time then, where the system tells.
    cpu: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// It has come back, or is somebody else, since the last look.
    Moves,
    /// As `Moves`, but it is off its core by now: it waits for one, or blocks. A look after
    /// [`RECHECK`] tells.
    IsOffCore,
    /// It is in the same handler, and runs or could run.
    Still { time: Duration },
    /// It is in the same handler and asleep, at this beat.
    Blocked { beat: u64 },
}

/// How close a look is.
#[derive(Clone, Copy)]
pub(super) struct Attention {
    /// A handler was found blocked lately.
    pub(super) is_watchful: bool,
    /// The watcher will come back after [`RECHECK`] for a thread that is off its core.
    pub(super) rechecks: bool,
}

/// Looks at `member`; `seen` is what the same watcher saw at its last look in the same place.
pub(super) fn look(
    seen: &mut Option<Sighting>,
    member: &Member,
    now: Instant,
    attention: Attention,
) -> Look {
    let Attention { is_watchful, rechecks } = attention;
    let beat = member.beat();
    if !is_in_handler(beat) {
        *seen = None;
        return Look::Moves;
    }
    let cpu_time = || ThreadWatch::cpu_time(member.clock);
    let cpu = cpu_time();
    // Numbers of members, and beats, are used again: a clock that has gone back is another thread's.
    let is_same = |s: &&mut Sighting| (s.member, s.beat) == (member.id, beat) && s.cpu <= cpu;
    let Some(sighting) = seen.as_mut().filter(is_same) else {
        *seen = Some(Sighting { member: member.id, beat, began: now, since: now, cpu });
        let is_off_core = rechecks && cpu.is_some() && cpu_time() == cpu;
        return if is_off_core { Look::IsOffCore } else { Look::Moves };
    };
    let time = now - sighting.began;
    let watched = now - sighting.since;
    let min = if is_watchful { BLOCKED_MIN_WATCHFUL } else { BLOCKED_MIN };
    if watched < min {
        return Look::Still { time };
    }
    let before = std::mem::replace(&mut sighting.cpu, cpu);
    let (Some(before), Some(cpu)) = (before, cpu) else { return Look::Still { time } };
    let has_hardly_run = match is_watchful {
        true => cpu == before,
        false => cpu - before < watched / BLOCKED_CPU_SHARE,
    };
    if !(is_watchful && has_hardly_run) {
        sighting.since = now;
    }
    match has_hardly_run && ThreadWatch::is_asleep(member.clock) {
        true => Look::Blocked { beat },
        false => Look::Still { time },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, TryRecvError, channel};
    use std::thread::{spawn, yield_now};

    const WATCHFUL: Attention = Attention { is_watchful: true, rechecks: true };
    const CALM: Attention = Attention { is_watchful: false, rechecks: false };

    /// After which a clock that has not moved will not.
    const STANDS: Duration = Duration::from_millis(1);
    /// After which a thread that does nothing else should be asleep, or nobody tells.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Lets `inspect` look at a thread in a handler that does `handle` until the sender is dropped,
    /// where the system tells something about threads.
    fn in_handler(
        handle: impl FnOnce(Receiver<()>) + Send + 'static,
        inspect: impl FnOnce(&Member),
    ) {
        let (begun, begins) = channel();
        let (end, ended) = channel();
        let thread = spawn(move || {
            let member = Arc::new(Member::new(3));
            member.enter();
            member.leave();
            begun.send(Arc::clone(&member)).expect("somebody receives");
            handle(ended);
        });
        let member = begins.recv().expect("the thread has begun");
        match ThreadWatch::cpu_time(member.clock) {
            Some(_) => inspect(&member),
            None => not_run(),
        }
        drop(end);
        thread.join().expect("no panic");
    }

    fn not_run() {
        println!("not run: the system does not tell of threads");
    }

    /// Lets `inspect` look at a handler that sleeps: a thread is said to before it has left its core.
    fn sleeping(inspect: impl FnOnce(&Member)) {
        let wait = |ended: Receiver<()>| assert!(ended.recv().is_err(), "nobody sends");
        in_handler(wait, |member| {
            let began = Instant::now();
            let (mut cpu, mut since) = (None, began);
            while cpu.is_none() || since.elapsed() < STANDS {
                if began.elapsed() > PATIENCE {
                    return not_run();
                }
                let now = ThreadWatch::cpu_time(member.clock);
                if !ThreadWatch::is_asleep(member.clock) || now != cpu {
                    (cpu, since) = (now, Instant::now());
                }
                yield_now();
            }
            inspect(member);
        });
    }

    #[test]
    fn where_others_blocked_a_sleeping_handler_is_found_at_the_second_look() {
        sleeping(|member| {
            let (mut seen, now) = (None, Instant::now());
            assert_eq!(look(&mut seen, member, now, WATCHFUL), Look::IsOffCore);
            let beat = member.beat();
            assert_eq!(look(&mut seen, member, now + RECHECK, WATCHFUL), Look::Blocked { beat });
        });
    }

    #[test]
    fn elsewhere_it_is_watched_for_longer() {
        sleeping(|member| {
            let (mut seen, now) = (None, Instant::now());
            assert_eq!(look(&mut seen, member, now, CALM), Look::Moves);
            let time = BLOCKED_MIN / 2;
            assert_eq!(look(&mut seen, member, now + time, CALM), Look::Still { time });
            let beat = member.beat();
            assert_eq!(look(&mut seen, member, now + BLOCKED_MIN, CALM), Look::Blocked { beat });
        });
    }

    #[test]
    fn a_watcher_that_turns_watchful_finds_what_it_has_seen_before() {
        sleeping(|member| {
            let (mut seen, now) = (None, Instant::now());
            assert_eq!(look(&mut seen, member, now, CALM), Look::Moves);
            let beat = member.beat();
            assert_eq!(look(&mut seen, member, now + RECHECK, WATCHFUL), Look::Blocked { beat });
        });
    }

    #[test]
    fn a_thread_that_came_back_is_looked_at_anew() {
        sleeping(|member| {
            let (mut seen, now) = (None, Instant::now());
            assert_eq!(look(&mut seen, member, now, WATCHFUL), Look::IsOffCore);
            // Not the thread itself, but this is what it would do.
            member.enter();
            assert_eq!(look(&mut seen, member, now + RECHECK, WATCHFUL), Look::Moves);
            member.leave();
            assert_eq!(look(&mut seen, member, now + 2 * RECHECK, WATCHFUL), Look::IsOffCore);
        });
    }

    #[test]
    fn another_thread_of_the_same_number_and_beat_is_looked_at_anew() {
        sleeping(|member| {
            let now = Instant::now();
            let mut seen = None;
            look(&mut seen, member, now, WATCHFUL);
            // Of one that had run for longer.
            seen.as_mut().expect("a sighting").cpu = Some(Duration::from_secs(1000));
            assert_eq!(look(&mut seen, member, now + RECHECK, WATCHFUL), Look::IsOffCore);
        });
    }

    #[test]
    fn a_handler_that_spins_never_blocks() {
        let spin = |ended: Receiver<()>| {
            while ended.try_recv() == Err(TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        };
        in_handler(spin, |member| {
            // Its first steps may wait for pages.
            let before = ThreadWatch::cpu_time(member.clock);
            while ThreadWatch::cpu_time(member.clock) < before.map(|cpu| cpu + STANDS) {
                yield_now();
            }
            let (mut seen, now) = (None, Instant::now());
            for n in 0..1000 {
                for attention in [WATCHFUL, CALM] {
                    let found = look(&mut seen, member, now + n * BLOCKED_MIN, attention);
                    assert!(!matches!(found, Look::Blocked { .. }), "{found:?}");
                }
            }
        });
    }
}
