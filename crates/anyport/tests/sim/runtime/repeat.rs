//! The same seed is the same run, with a runtime as well.

use super::{ending, files, server, streams, stuck, tasks, timers};
use anyport::sim::World;

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    type Program = (&'static str, fn(&World));
    let programs: [Program; 9] = [
        ("tasks", tasks::crowd),
        ("tasks that are ended", tasks::crowd_is_ended),
        ("stuck", stuck::stuck),
        ("timers", timers::timers),
        ("order", timers::order),
        ("streams", streams::streams),
        ("server", server::crowded),
        ("files", files::parts),
        ("ending", ending::in_the_middle),
    ];
    for (name, program) in programs {
        for seed in 0..6 {
            let trace = || {
                World::run(seed, |world| {
                    program(world);
                    (world.trace(), world.steps())
                })
            };
            let first = trace();
            assert_eq!(first, trace(), "{name}, seed {seed}");
            // Also from one process to the next, for who compares.
            println!("{name}, seed {seed}: {:016x}, {} steps", first.0, first.1);
        }
    }
}
