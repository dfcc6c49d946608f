//! A process of its own for a test: this program again, with that one test.
//!
//! For tests that change what holds for a whole process and cannot be undone, and for those that
//! count what all of a process does.

use std::process::Command;

/// Set in the child.
const IN_CHILD: &str = "ANYPORT_TEST_IS_ALONE";

/// True in a process that `run_in_child` has started.
pub(crate) fn is_child() -> bool {
    std::env::var_os(IN_CHILD).is_some()
}

/// Runs the test of this full name in a child process, whose environment may be changed before.
/// Fails unless it ran and passed there; tells what the child says it has not run.
pub(crate) fn run_in_child(test: &str, change: impl FnOnce(&mut Command)) {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(IN_CHILD, "1");
    change(&mut child);
    let output = child.output().expect("this program can be run again");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{test} in a process of its own: {}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    told.lines().filter(|line| line.contains("not run")).for_each(|line| println!("{line}"));
}
