//! Posted packets: none is lost, and none waits for a thread that could have it.

use anyport::sim::{System, World};
use anyport::{CompletionPort, GetError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a packet may take to a thread that sleeps: far less than it takes the clerk to find
/// work that nobody does.
const SOON: Duration = Duration::from_millis(1);

#[test]
fn a_post_wakes_a_sleeper_however_close_it_comes_to_its_sleep() {
    World::check(400, |world| {
        let seed = world.seed();
        world.set_system(System::new().hand_overs(0.3).early_wakes(0.0));
        let port: CompletionPort<Duration> = CompletionPort::<Duration>::builder()
            .concurrency(1 + (seed % 2) as usize)
            .build()
            .expect("a port");
        let handled = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..1 + seed / 2 % 3)
            .map(|_| {
                let (port, world, handled) = (port.clone(), world.clone(), Arc::clone(&handled));
                world.clone().spawn("worker", move || {
                    while let Ok(packet) = port.get(None) {
                        let took = world.now() - packet.context;
                        handled.lock().expect("no panic").push(took);
                    }
                })
            })
            .collect();
        for round in 0..30 {
            // Close to the sleep of whoever took the last one, or when even the clerk sleeps.
            let pause = [1, 3, 10, 1_000_000][(round + seed as usize) % 4];
            world.sleep(Duration::from_micros(pause));
            port.post(1, 0, world.now()).expect("there is room");
        }
        world.sleep(Duration::from_secs(1));
        let handled = std::mem::take(&mut *handled.lock().expect("no panic"));
        assert_eq!(handled.len(), 30);
        let longest = handled.into_iter().max();
        assert!(longest < Some(SOON), "a packet waited for {longest:?}");
        port.close();
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn what_was_posted_before_the_close_comes_out_once_each() {
    World::check(200, |world| {
        let port: CompletionPort<usize> = CompletionPort::new(2).expect("a port");
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let port = port.clone();
                world.spawn("worker", move || {
                    let mut taken = Vec::new();
                    loop {
                        match port.get(None) {
                            Ok(packet) => taken.push(packet.context),
                            Err(GetError::Closed) => return taken,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        let poster = {
            let port = port.clone();
            world.spawn("poster", move || {
                (0..50).take_while(|&i| port.post(0, 0, i).is_ok()).count()
            })
        };
        for _ in 0..world.seed() % 40 {
            world.yield_now();
        }
        port.close();
        let admitted = poster.join().expect("no panic");
        let mut taken: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..admitted).collect::<Vec<_>>());
    });
}
