//! `timers`: what a program that ends by itself says.

use crate::program::Program;
use anyport::BackendKind;

pub(crate) fn what_it_says_is_in_order(kind: BackendKind) {
    let Some(mut program) = Program::start("timers", kind, &[]) else { return };
    for expected in [
        "sleep: over, and not before its 20 ms: true",
        "timeout: the time was over before the future was ready",
        "timeout: 42 came in time",
        "timeout: no time is left: true",
        "interval: tick 1, in step: true",
        "interval: tick 2, in step: true",
        "interval: tick 3, in step: true",
        "interval: tick 4, in step: true",
        "deadline: the task drops what it holds",
        "deadline: the task was cancelled: it was aborted, or its runtime was shut down",
    ] {
        assert_eq!(program.line().as_deref(), Some(expected));
    }
    assert_eq!(program.line(), None);
    let (status, errors) = program.ended();
    assert!(status.success(), "{status}: {errors}");
}
