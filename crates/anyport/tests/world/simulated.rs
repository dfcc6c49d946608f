//! Tests in a simulated world whose clock is the real one, and whose threads go side by side: what is
//! written for the system's backends holds there as well.

use super::net::run_in_world;
use anyport::BackendKind;
use anyport::sim::{Link, World};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs a test in a world of its own, unless it is in this list, with why not.
#[allow(dead_code, reason = "some suites have the system's backends only")]
pub(crate) fn run_simulated(not_simulated: &[(&str, &str)], name: &str, test: fn(BackendKind)) {
    static WORLDS: AtomicU32 = AtomicU32::new(1);
    if let Some((_, why)) = not_simulated.iter().find(|(not, _)| *not == name) {
        println!("not run: {why}");
        return;
    }
    let number = WORLDS.fetch_add(1, Ordering::Relaxed);
    let world = World::new(number.into());
    // As over loopback: datagrams, too, come in the order in which they were sent.
    let latency = Duration::from_micros(20);
    world.set_links(Link::new().latency(latency..=latency));
    run_in_world(&world, number, || test(BackendKind::Simulated));
}
