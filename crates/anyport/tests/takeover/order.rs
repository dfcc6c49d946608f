//! What one connection receives is handed on in order and what it sends leaves in order, whole,
//! across take-overs and returns.

use crate::traffic::{EchoServer, Receiving, Threads, run_clients};
use anyport::BackendKind;
use std::thread;
use std::time::{Duration, Instant};

/// Answers between two stalls: many take-overs in a few seconds.
const STALL_EVERY: usize = 97;

/// Far longer than a thread of the port is given before others take over.
const STALL: Duration = Duration::from_millis(5);

const MIXED: [usize; 9] = [1, 8, 64, 900, 4_096, 4_097, 16_384, 20_000, 70_001];

/// Stalls one answer in so many, without telling the port.
fn sleep_now_and_then(answer: usize) {
    if answer.is_multiple_of(STALL_EVERY) {
        thread::sleep(STALL);
    }
}

pub(crate) fn streams_stay_in_order_while_handlers_sleep(kind: BackendKind) {
    let server = EchoServer::start(kind, Receiving::Stream, |answer, _| sleep_now_and_then(answer));
    run_clients(server.address, 16, 300, &MIXED);
    server.end();
}

pub(crate) fn streams_stay_in_order_while_handlers_say_that_they_block(kind: BackendKind) {
    let server = EchoServer::start(kind, Receiving::Stream, |answer, worker| {
        if answer.is_multiple_of(STALL_EVERY) {
            worker.blocking(|| thread::sleep(STALL));
        }
    });
    run_clients(server.address, 16, 300, &MIXED);
    server.end();
}

pub(crate) fn streams_stay_in_order_while_handlers_spin(kind: BackendKind) {
    let server = EchoServer::start(kind, Receiving::Stream, |answer, _| {
        if answer.is_multiple_of(STALL_EVERY) {
            let start = Instant::now();
            while start.elapsed() < STALL {
                std::hint::spin_loop();
            }
        }
    });
    run_clients(server.address, 16, 200, &MIXED);
    server.end();
}

pub(crate) fn single_receives_stay_in_order_while_handlers_sleep(kind: BackendKind) {
    let server = EchoServer::start(kind, Receiving::Single, |answer, _| sleep_now_and_then(answer));
    run_clients(server.address, 16, 300, &MIXED);
    server.end();
}

pub(crate) fn large_answers_leave_whole_while_handlers_sleep(kind: BackendKind) {
    let server = EchoServer::start(kind, Receiving::Stream, |answer, _| sleep_now_and_then(answer));
    run_clients(server.address, 4, 6, &[1, 8 << 20, 300_000, 2 << 20]);
    server.end();
}

pub(crate) fn many_connections_are_served_beside_a_stuck_thread(kind: BackendKind) {
    // More than are taken over together: only those with something to receive are.
    let server = EchoServer::start(kind, Receiving::Stream, |answer, _| sleep_now_and_then(answer));
    run_clients(server.address, 200, 20, &[1, 64, 900]);
    server.end();
}

pub(crate) fn streams_stay_in_order_with_far_more_threads_than_may_run(kind: BackendKind) {
    // More than have a ring of their own where threads have.
    let threads = Threads { all: 7, running: 2 };
    let server = EchoServer::start_with(kind, Receiving::Stream, threads, |answer, _| {
        if answer.is_multiple_of(STALL_EVERY / 4) {
            thread::sleep(STALL);
        }
    });
    run_clients(server.address, 16, 200, &MIXED);
    server.end();
}
