//! `#[anyport::main]` and `#[anyport::test]`, used as a program uses them.
#![cfg(feature = "macros")]

use anyport::rt;

#[anyport::main(workers = 2, concurrency = 1)]
async fn answer() -> u32 {
    rt::spawn(async { 21 * 2 }).await.expect("it does not panic")
}

#[test]
fn a_function_with_the_attribute_runs_on_a_runtime_of_its_own() {
    assert_eq!(answer(), 42);
}

#[anyport::test]
async fn a_test_may_wait() -> Result<(), Box<dyn std::error::Error>> {
    let workers = rt::Handle::current().map(|handle| handle.metrics().workers);
    assert!(workers.is_some_and(|workers| workers > 0));
    Ok(())
}

#[anyport::test(workers = 3)]
#[should_panic(expected = "it may fail")]
async fn a_test_may_fail() {
    assert_eq!(rt::Handle::current().map(|handle| handle.metrics().workers), Some(3));
    panic!("it may fail");
}
