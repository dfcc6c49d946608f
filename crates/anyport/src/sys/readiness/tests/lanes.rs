//! Waiting, waking, and who polls.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn a_wake_ends_the_current_and_else_the_next_wait_of_its_lane() {
    let backend = Arc::new(backend());
    for lane in [0, 1, backend.clerk_lane()] {
        backend.wake(lane);
        backend.wait(lane, None);
    }
    let sleepers: Vec<_> = [0, 1, backend.clerk_lane()]
        .map(|lane| {
            let backend = Arc::clone(&backend);
            (lane, std::thread::spawn(move || backend.wait(lane, None)))
        })
        .into();
    for (lane, sleeper) in sleepers {
        backend.wake(lane);
        sleeper.join().expect("wakes");
    }
}

#[test]
fn an_event_made_by_one_thread_wakes_the_lane_that_sleeps() {
    all_ways(|backend| {
        let (near, _far) = pair();
        let near = attached(&backend, near);
        std::thread::scope(|scope| {
            for _ in 0..1000 {
                let taker = scope.spawn(|| next(&backend));
                issue_from_outside(&backend, &near, Request::Writable, TOKEN);
                assert_eq!(taker.join().expect("takes").token, TOKEN);
            }
        });
        backend.detach(&near);
    });
}

#[test]
fn the_clerk_finds_what_no_lane_looks_for() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        let clerk = backend.clerk_lane();
        // Without end; and between two looks at threads of which none has polled.
        for timeout in [None, Some(NEGLECTED_AFTER)] {
            issue_from_outside(&backend, &near, Request::Readable, TOKEN);
            far.write_all(b"x").expect("writes");
            let event = loop {
                match backend.next_event(clerk, |_, _| {}) {
                    Some(event) => break event,
                    None => backend.wait(clerk, timeout),
                }
            };
            assert_eq!(event.token, TOKEN);
        }
        backend.detach(&near);
    });
}

#[test]
fn a_lane_displaces_the_clerk_that_polls_and_is_woken_for_what_comes() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        let (clerk, is_over) = (backend.clerk_lane(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let clerk = scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    backend.wait(clerk, None);
                }
            });
            for _ in 0..1000 {
                // The clerk takes nothing here: the lane must come to it.
                issue(&backend, &near, Request::Writable, TOKEN);
                assert_eq!(next(&backend).token, TOKEN);
                let mut byte = [0];
                issue(&backend, &near, Request::Receive(region(&mut byte)), TOKEN);
                far.write_all(b"x").expect("writes");
                assert_eq!(bytes(next(&backend)), 1);
            }
            is_over.store(true, Ordering::SeqCst);
            backend.wake(backend.clerk_lane());
            clerk.join().expect("ends");
        });
        backend.detach(&near);
    });
}

#[test]
fn lanes_share_the_events_of_many_sockets_and_none_is_lost() {
    const SOCKETS: u32 = 16;
    const ROUNDS: usize = 500;
    all_ways(|backend| {
        let pairs: Vec<_> = (0..SOCKETS)
            .map(|_| {
                let (near, far) = pair();
                (attached(&backend, near), far)
            })
            .collect();
        let left = AtomicUsize::new(SOCKETS as usize * ROUNDS);
        let request = Request::ReceiveStream(SizeClass::Small4K);
        for (index, (near, _)) in pairs.iter().enumerate() {
            issue(&backend, near, request, Token::new(index as u32, 1));
        }
        std::thread::scope(|scope| {
            // The clerk's lane too: it polls whenever no other does, and is displaced all the time.
            for lane in 0..=LANES {
                let (backend, pairs, left) = (&backend, &pairs, &left);
                scope.spawn(move || {
                    while left.load(Ordering::SeqCst) > 0 {
                        let Some(event) = backend.next_event(lane, |_, _| {}) else {
                            backend.wait(lane, None);
                            // What the layer above does: somebody must poll.
                            if backend.lacks_poller() {
                                (0..=LANES).for_each(|lane| backend.wake(lane));
                            }
                            continue;
                        };
                        let Outcome::Pooled(buffer) = event.outcome else { panic!("pooled") };
                        let taken = buffer.len();
                        let left_now = left.fetch_sub(taken, Ordering::SeqCst) - taken;
                        if left_now == 0 {
                            (0..=LANES).for_each(|lane| backend.wake(lane));
                        }
                        let (near, _) = &pairs[event.token.index() as usize];
                        issue(backend, near, request, event.token);
                    }
                });
            }
            for _ in 0..ROUNDS {
                pairs.iter().for_each(|(_, far)| {
                    let mut far: &TcpStream = far;
                    far.write_all(b"x").expect("writes");
                });
            }
        });
        for (index, (near, _)) in pairs.iter().enumerate() {
            backend.cancel(0, near, Token::new(index as u32, 1));
            assert!(matches!(next(&backend).outcome, Outcome::Interrupted));
            backend.detach(near);
        }
    });
}

#[test]
fn a_queue_that_never_runs_dry_does_not_hide_the_other_sockets() {
    all_ways(|backend| {
        let ((near, mut far), (busy, _peer)) = (pair(), pair());
        let (near, busy) = (attached(&backend, near), attached(&backend, busy));
        issue(&backend, &near, Request::Readable, TOKEN);
        look(&backend);
        far.write_all(b"x").expect("writes");
        issue(&backend, &busy, Request::Writable, Token::new(8, 0));
        // Always one event in the queue: nobody gets to wait.
        while let event = next(&backend)
            && event.token != TOKEN
        {
            issue(&backend, &busy, Request::Writable, Token::new(8, 0));
        }
        while backend.next_event(0, |_, _| {}).is_some() {}
        backend.detach(&near);
        backend.detach(&busy);
    });
}
