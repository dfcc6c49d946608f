//! Time: to wait, to give something a limit, to tick, and what becomes of missed ticks. Ends by itself.
//!
//! `cargo run --example timers`

use anyport::rt::time::{self, MissedTickBehavior};
use anyport::rt::{self, JoinError};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[anyport::main]
async fn main() -> Result<(), JoinError> {
    let began = time::now();
    time::sleep(20 * MS).await;
    println!("sleep: over, and not before its 20 ms: {}", time::now() >= began + 20 * MS);
    timeouts().await;
    ticks().await;
    a_deadline_for_a_task().await
}

async fn timeouts() {
    match time::timeout(20 * MS, std::future::pending::<()>()).await {
        Ok(()) => println!("timeout: it came"),
        Err(elapsed) => println!("timeout: {elapsed}"),
    }
    let answer = async {
        time::sleep(MS).await;
        42
    };
    match time::timeout(Duration::from_secs(60), answer).await {
        Ok(answer) => println!("timeout: {answer} came in time"),
        Err(elapsed) => println!("timeout: {elapsed}"),
    }
    // One deadline for all steps together.
    let deadline = time::now() + 50 * MS;
    while time::timeout_at(deadline, time::sleep(20 * MS)).await.is_ok() {}
    println!("timeout: no time is left: {}", time::now() >= deadline);
}

/// The second tick finds the task busy, and the third comes late. `Skip`: the next is in step again.
async fn ticks() {
    let period = 20 * MS;
    let mut interval = time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = interval.tick().await;
    for number in 1..=4 {
        let due = interval.tick().await - start;
        let is_in_step = due.as_nanos() % period.as_nanos() == 0;
        println!("interval: tick {number}, in step: {is_in_step}");
        if number == 1 {
            time::sleep(50 * MS).await;
        }
    }
}

async fn a_deadline_for_a_task() -> Result<(), JoinError> {
    let held = Told;
    let mut task = rt::spawn(async move {
        let _held = held;
        std::future::pending::<()>().await
    });
    if time::timeout(20 * MS, &mut task).await.is_err() {
        task.abort();
    }
    match task.await {
        Err(error) if error.is_cancelled() => println!("deadline: {error}"),
        other => return other,
    }
    Ok(())
}

/// What a task holds is dropped with it.
struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        println!("deadline: the task drops what it holds");
    }
}
