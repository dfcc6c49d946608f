//! The clock of a run: it moves when nobody can go on.

use anyport::sim::World;
use anyport::{CompletionPort, GetError};
use std::time::{Duration, Instant};

#[test]
fn an_hour_of_waiting_takes_no_time() {
    let begin = Instant::now();
    World::run(1, |world| {
        let port: CompletionPort<()> = CompletionPort::new(1).expect("a port");
        assert_eq!(port.get(Some(Duration::from_secs(3600))).err(), Some(GetError::TimedOut));
        assert!(world.now() >= Duration::from_secs(3600));
        world.sleep(Duration::from_secs(3600));
        assert!(world.now() >= Duration::from_secs(7200));
    });
    assert!(begin.elapsed() < Duration::from_secs(3600));
}

#[test]
fn an_idle_port_does_nothing() {
    World::run(1, |world| {
        let port: CompletionPort<()> = CompletionPort::new(1).expect("a port");
        assert_eq!(port.get(Some(Duration::from_millis(100))).err(), Some(GetError::TimedOut));
        let before = world.steps();
        world.sleep(Duration::from_secs(3600));
        assert!(world.steps() - before < 100, "{} steps", world.steps() - before);
    });
}

#[test]
#[should_panic(expected = "nobody can go on")]
fn a_run_in_which_nobody_can_go_on_fails() {
    World::run(1, |_| {
        let port: CompletionPort<()> = CompletionPort::new(1).expect("a port");
        let _ = port.get(None);
    });
}
