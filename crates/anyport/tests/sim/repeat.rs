//! The same seed is the same run.

use crate::streams::{Plan, carry};
use anyport::sim::World;

/// The hash over everything that happens in a run, and how much that is.
fn trace(seed: u64) -> (u64, u64) {
    World::run(seed, |world| {
        carry(world, &Plan::of(seed));
        (world.trace(), world.steps())
    })
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    let mut steps = 0;
    for seed in 0..20 {
        let first = trace(seed);
        assert_eq!(first, trace(seed), "seed {seed}");
        steps += first.1;
        // Also from one process to the next, for who compares.
        println!("seed {seed}: {:016x}, {} steps", first.0, first.1);
    }
    assert!(steps > 2000, "something happens: {steps} steps");
}

#[test]
fn another_seed_is_another_run() {
    let traces: std::collections::BTreeSet<_> = (0..20).map(trace).collect();
    assert_eq!(traces.len(), 20);
}
