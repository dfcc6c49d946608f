//! Tasks that block their worker: others go on beside them.

use super::{runtime, unsettled};
use crate::choices::Choices;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Runtime, time};
use anyport::sim::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a poll blocks.
const BLOCKED: Duration = Duration::from_secs(5);

pub(super) fn stuck(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices).early_wakes(0.0));
    let concurrency = 1 + choices.below(2);
    let stuck = 1 + choices.below(3);
    let workers = concurrency + stuck;
    let runtime =
        Runtime::builder().workers(workers).concurrency(concurrency).build().expect("a runtime");
    let is_free = Arc::new(AtomicBool::new(false));
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("10.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("bound");
        rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Ok(received) = stream.recv().await {
                    if received.is_empty() || stream.send(received).await.is_err() {
                        break;
                    }
                }
            }
        })
        .detach();
        address
    });
    let blocked: Vec<_> = (0..stuck)
        .map(|_| {
            let (world, is_free) = (world.clone(), Arc::clone(&is_free));
            let before = choices.time(Duration::from_millis(3));
            runtime.spawn(async move {
                time::sleep(before).await;
                let _woken_while_it_blocks = time::sleep(Duration::from_millis(1));
                world.sleep(BLOCKED);
                is_free.store(true, Ordering::SeqCst);
            })
        })
        .collect();
    let sum = runtime.block_on(async {
        let mut client = TcpStream::connect(address).await.expect("connected");
        let mut sum = 0;
        for round in 0..10_u8 {
            client.send(vec![round; 100]).await.expect("handed over");
            let mut came = 0;
            while came < 100 {
                let received = client.recv().await.expect("it comes back");
                assert!(!received.is_empty() && received.as_slice().iter().all(|&b| b == round));
                came += received.as_slice().len();
            }
            time::sleep(Duration::from_millis(1)).await;
            sum += rt::spawn(async move { u32::from(round) }).await.expect("it ends");
        }
        sum
    });
    assert_eq!(sum, 45);
    assert!(!is_free.load(Ordering::SeqCst), "nobody has waited for those that block");
    runtime.block_on(async {
        for task in blocked {
            task.await.expect("it ends as well");
        }
    });
}

#[test]
fn tasks_that_block_hold_up_nobody_but_themselves() {
    World::check(300, stuck);
}

#[test]
fn a_shutdown_counts_those_that_do_not_return() {
    World::check(50, |world| {
        let mut choices = Choices::new(world.seed());
        let runtime = runtime(&mut choices);
        let stuck = 1 + choices.below(2);
        for _ in 0..stuck {
            let world = world.clone();
            runtime.spawn(async move { world.sleep(BLOCKED) }).detach();
        }
        let at = world.clone();
        let call = runtime.handle().spawn_blocking(move || at.sleep(BLOCKED));
        // Both are in their calls.
        world.sleep(Duration::from_millis(100));
        let report = runtime.shut_down(Duration::from_secs(1));
        assert_eq!((report.tasks_left, report.blocking_left), (stuck, 1));
        drop(call);
    });
}
