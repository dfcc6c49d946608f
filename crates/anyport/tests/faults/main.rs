//! Traffic that checks every byte while threads of the port are held, and overtaken, at each of the
//! engine's fault points.
//!
//! Only in a build with `--cfg anyport_fault_points`, as `ci/faults` makes it; else there is nothing
//! here. Each test runs on every backend that this machine has.

#![cfg(anyport_fault_points)]

#[path = "../takeover/alive.rs"]
mod alive;
#[path = "../takeover/gate.rs"]
mod gate;

mod chorus;
mod each_point;
mod end;
mod in_line;
mod message;
mod plan;
mod traffic;
mod world;

world::on_every_backend! {
    each_point::order_survives_a_thread_that_stays_away_at_each_point,
    each_point::order_survives_a_take_over_at_each_point,
    each_point::order_survives_faults_at_all_points_at_once,
    each_point::what_a_stuck_thread_has_started_completes_whatever_point_is_slow,
}
