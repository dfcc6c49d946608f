//! Threads of a run: one at a time, in an order that the seed gives.

use anyport::sim::{Listener, Stream, World};
use anyport::{CompletionPort, GetError, WorkerPool};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn the_seed_chooses_who_goes_first() {
    let order = |seed| {
        World::run(seed, |world| {
            let order = Arc::new(Mutex::new(Vec::new()));
            let threads: Vec<_> = (0..3)
                .map(|i| {
                    let order = Arc::clone(&order);
                    world.spawn("one of three", move || order.lock().expect("no panic").push(i))
                })
                .collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
            order.lock().expect("no panic").clone()
        })
    };
    let orders: BTreeSet<Vec<i32>> = (0..200).map(order).collect();
    assert_eq!(orders.len(), 6, "every order comes");
    assert_eq!(order(5), order(5));
}

#[test]
fn a_handler_that_blocks_has_a_stand_in() {
    World::check(100, |world| {
        let port: CompletionPort<u32> =
            CompletionPort::<u32>::builder().concurrency(1).build().expect("a port");
        let handled = Arc::new(Mutex::new(Vec::new()));
        let (log, at) = (Arc::clone(&handled), world.clone());
        let pool = WorkerPool::builder(&port)
            .threads(2)
            .start(move |packet, _| {
                if packet.context == 0 {
                    at.sleep(Duration::from_secs(10));
                }
                log.lock().expect("no panic").push((packet.context, at.now()));
            })
            .expect("threads");
        for context in 0..4 {
            port.post(1, 0, context).expect("there is room");
        }
        world.sleep(Duration::from_secs(20));
        let handled = handled.lock().expect("no panic").clone();
        assert_eq!(handled.len(), 4);
        for (context, at) in handled {
            assert_eq!(context == 0, at >= Duration::from_secs(10), "{context} at {at:?}");
        }
        port.close();
        pool.join();
    });
}

#[test]
fn a_waiter_learns_of_the_close() {
    World::check(100, |world| {
        let port: CompletionPort<()> = CompletionPort::new(2).expect("a port");
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let port = port.clone();
                world.spawn("waiter", move || port.get(None).err())
            })
            .collect();
        world.sleep(Duration::from_millis(5));
        port.close();
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), Some(GetError::Closed));
        }
    });
}

#[test]
fn blocking_streams_talk_to_each_other() {
    World::check(100, |world| {
        let listener = Listener::bind("10.0.0.1:0".parse().expect("an address")).expect("bound");
        let address = listener.local_addr().expect("bound");
        let server = world.spawn("server", move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("all of it");
            stream.write_all(text.to_uppercase().as_bytes()).expect("room");
        });
        let mut stream = Stream::connect(address).expect("connected");
        stream.write_all(b"hello").expect("room");
        stream.shutdown(std::net::Shutdown::Write).expect("connected");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("all of it");
        assert_eq!(text, "HELLO");
        server.join().expect("no panic");
    });
}

#[test]
#[should_panic(expected = "threads have panicked")]
fn a_panic_that_nobody_asks_for_fails_the_run() {
    World::run(1, |world| {
        let _ = world.spawn("unlucky", || panic!("on purpose"));
    });
}
