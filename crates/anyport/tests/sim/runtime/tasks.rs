//! Tasks that end, panic, wait for each other, spawn others and are aborted, at every moment: each
//! gives what it came to, once, and what it held is dropped.

use super::{AMPLE, Counted, give_up, runtime, unsettled, wait_until};
use crate::choices::Choices;
use anyport::rt::{self, AbortHandle, JoinError, JoinHandle, Runtime, time};
use anyport::sim::World;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Returns,
    Panics,
    PanicsWhenDropped,
    Waits,
    Spawns,
    CallsWhatBlocks,
    BlocksOnAnother,
    NeverEnds,
}

const SORTS: [Sort; 8] = [
    Sort::Returns,
    Sort::Panics,
    Sort::PanicsWhenDropped,
    Sort::Waits,
    Sort::Spawns,
    Sort::CallsWhatBlocks,
    Sort::BlocksOnAnother,
    Sort::NeverEnds,
];

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            give_up();
        }
    }
}

/// A few waits of every sort.
async fn dally(choices: &mut Choices) {
    for _ in 0..choices.below(4) {
        match choices.below(3) {
            0 => rt::yield_now().await,
            1 => time::sleep(choices.time(Duration::from_millis(5))).await,
            _ => time::sleep(Duration::ZERO).await,
        }
    }
}

/// A task that gives `number`, unless it is of a sort that does not.
async fn task(sort: Sort, number: usize, mut choices: Choices, count: Arc<AtomicUsize>) -> usize {
    let _held = Counted::new(&count);
    let _last = (sort == Sort::PanicsWhenDropped).then(|| PanicsWhenDropped);
    dally(&mut choices).await;
    let inner = Choices::new(number as u64);
    let one_more = || rt::spawn(task_of_itself(number, inner, Arc::clone(&count)));
    match sort {
        Sort::Returns | Sort::PanicsWhenDropped => {}
        Sort::Panics => give_up(),
        Sort::Waits => match one_more().await {
            Ok(result) => assert_eq!(result, number),
            Err(error) => assert!(error.is_cancelled(), "by a shutdown"),
        },
        Sort::Spawns => one_more().detach(),
        Sort::CallsWhatBlocks => {
            let held = Counted::new(&count);
            let time = choices.time(Duration::from_millis(2));
            let called = rt::spawn_blocking(move || {
                World::current().expect("its threads are in the world").sleep(time);
                drop(held);
                number
            });
            if choices.one_in(4) {
                called.abort();
            }
            match called.await {
                Ok(result) => assert_eq!(result, number),
                Err(error) => assert!(error.is_cancelled()),
            }
        }
        Sort::BlocksOnAnother => {
            let handle = rt::Handle::current().expect("a task has a runtime");
            let other = one_more();
            let result = handle.block_on(other);
            assert!(result.map_or_else(|e| e.is_cancelled(), |n| n == number));
        }
        Sort::NeverEnds => pending().await,
    }
    dally(&mut choices).await;
    number
}

/// As the simplest of the tasks above, which its future must not contain.
async fn task_of_itself(number: usize, mut choices: Choices, count: Arc<AtomicUsize>) -> usize {
    let _held = Counted::new(&count);
    dally(&mut choices).await;
    number
}

fn check_result(
    sort: Sort,
    number: usize,
    may_be_cancelled: bool,
    result: Result<usize, JoinError>,
) {
    match result {
        Ok(result) => {
            assert_eq!(result, number);
            assert!(!matches!(sort, Sort::Panics | Sort::NeverEnds | Sort::PanicsWhenDropped));
        }
        Err(error) if error.is_panic() => {
            assert!(matches!(sort, Sort::Panics | Sort::PanicsWhenDropped), "{sort:?}: {error}");
        }
        Err(error) => {
            assert!(error.is_cancelled());
            assert!(may_be_cancelled, "{sort:?} was not asked to end");
        }
    }
}

/// Tasks of all sorts under way, and what they are to come to.
struct Crowd {
    tasks: Vec<(Sort, usize, JoinHandle<usize>)>,
    count: Arc<AtomicUsize>,
}

fn start_all(runtime: &Runtime, choices: &mut Choices) -> Crowd {
    let count = Arc::new(AtomicUsize::new(0));
    let mut has_blocking = false;
    let tasks = (0..1 + choices.below(16)).map(|number| {
        let mut sort = SORTS[choices.below(SORTS.len())];
        // Two would take the last workers from those for which they wait.
        if sort == Sort::BlocksOnAnother && std::mem::replace(&mut has_blocking, true) {
            sort = Sort::Waits;
        }
        let future = task(sort, number, choices.split(), Arc::clone(&count));
        (sort, number, runtime.spawn(future))
    });
    Crowd { tasks: tasks.collect(), count }
}

/// Aborts some of them, from within and from without.
fn abort_some(world: &World, runtime: &Runtime, choices: &mut Choices, crowd: &Crowd) -> Vec<bool> {
    let mut is_aborted = vec![false; crowd.tasks.len()];
    let mut handles: Vec<AbortHandle> = Vec::new();
    for (place, (_, _, task)) in crowd.tasks.iter().enumerate() {
        match choices.below(4) {
            0 => handles.push(task.abort_handle()),
            1 => {
                world.sleep(choices.time(Duration::from_millis(1)));
                task.abort();
            }
            _ => continue,
        }
        is_aborted[place] = true;
    }
    let mut choices = choices.split();
    runtime
        .spawn(async move {
            for handle in handles {
                dally(&mut choices).await;
                handle.abort();
            }
        })
        .detach();
    is_aborted
}

pub(super) fn crowd(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    let runtime = runtime(&mut choices);
    let crowd = start_all(&runtime, &mut choices);
    let is_aborted = abort_some(world, &runtime, &mut choices, &crowd);
    let Crowd { tasks, count } = crowd;
    let results = runtime.block_on(async move {
        let mut results = Vec::new();
        for (place, (sort, number, task)) in tasks.into_iter().enumerate() {
            if sort == Sort::NeverEnds && !is_aborted[place] {
                task.abort();
            }
            let may_be_cancelled = is_aborted[place] || sort == Sort::NeverEnds;
            results.push((sort, number, may_be_cancelled, task.await));
        }
        results
    });
    for (sort, number, may_be_cancelled, result) in results {
        check_result(sort, number, may_be_cancelled, result);
    }
    wait_until(world, "all tasks end", || runtime.handle().metrics().tasks_alive == 0);
    wait_until(world, "what they held is dropped", || count.load(Ordering::SeqCst) == 0);
}

#[test]
fn every_task_gives_what_it_came_to() {
    World::check(600, crowd);
}

pub(super) fn crowd_is_ended(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    let runtime = runtime(&mut choices);
    let crowd = start_all(&runtime, &mut choices);
    if choices.one_in(2) {
        abort_some(world, &runtime, &mut choices, &crowd);
    }
    world.sleep(choices.time(Duration::from_millis(6)));
    let handle = runtime.handle().clone();
    let report = runtime.shut_down(AMPLE);
    assert_eq!((report.tasks_left, report.blocking_left, report.operations_left), (0, 0, 0));
    assert_eq!(handle.metrics().tasks_alive, 0);
    assert_eq!(crowd.count.load(Ordering::SeqCst), 0, "what they held is dropped");
    for (sort, number, task) in crowd.tasks {
        assert!(task.is_finished());
        let result = handle.block_on(task);
        check_result(sort, number, true, result);
    }
    let late = handle.block_on(handle.spawn(async { 1 }));
    assert!(late.is_err_and(|error| error.is_cancelled()), "nothing is spawned any more");
}

#[test]
fn a_shutdown_drops_every_task_whatever_it_is_at() {
    World::check(600, crowd_is_ended);
}
