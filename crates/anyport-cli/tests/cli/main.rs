//! The program as its users run it: every model and backend that this machine allows, real sockets,
//! real signals, exit statuses.
#![cfg(unix)]

mod bench;
mod demo;
mod faults;
mod faulty;
mod manual;
mod reports;
mod serve;
mod server;

use std::process::{Command, Output};

fn anyport(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyport")).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_usage_error_exits_with_2() {
    for arguments in [
        &["bench"][..],
        &["bench", "127.0.0.1:1", "--size", "none"],
        &["bench", "127.0.0.1:1", "--framed", "--size", "1g"],
        &["serve", "echo", "--model", "none"],
        &["demo", "--conns", "0"],
    ] {
        let output = anyport(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn help_of_every_command_fits_a_screen_and_has_examples() {
    for command in [
        &[][..],
        &["serve", "echo"],
        &["bench"],
        &["bench", "suite"],
        &["bench", "compare"],
        &["demo"],
    ] {
        let help = text(&anyport(&[command, &["--help"]].concat()).stdout);
        assert!(help.lines().count() <= 45, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(help.contains("Examples:"), "{help}");
    }
}
