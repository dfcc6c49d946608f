//! `demo`: rows, limits, and that nothing is left behind.

use std::process::Command;
#[cfg(target_os = "linux")]
use std::process::Stdio;

use serde_json::Value;

use super::server::kinds;
#[cfg(target_os = "linux")]
use super::server::signal;
use super::{anyport, text};

#[test]
fn demo_writes_a_row_for_every_server_and_round() {
    let file = std::env::temp_dir().join(format!("anyport-demo-{}.json", std::process::id()));
    let path = file.to_str().expect("a path");
    let output = anyport(&[
        "demo", "--conns", "20,40", "--size", "4k", "--secs", "200ms", "--warmup", "50ms",
        "--json", path,
    ]);
    let json = std::fs::read(&file).expect("a file");
    let _ = std::fs::remove_file(&file);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&json).expect("a list");
    let compared = kinds().iter().filter(|kind| !kind.iter().any(|arg| arg == "tasks")).count();
    assert_eq!(rows.len(), 2 * compared);
    for row in &rows {
        assert_eq!(
            (row["errors"].as_u64(), row["wrong_bytes"].as_u64()),
            (Some(0), Some(0)),
            "{row}"
        );
        assert_eq!(row["size"], 4096);
        assert_eq!(row["backend"].is_null(), row["model"] == "threads", "{row}");
        if cfg!(target_os = "linux") {
            assert!(row["cpu_us_per_msg"].as_f64() > Some(0.0), "{row}");
            assert!(row["rss_kib_per_conn"].is_number(), "{row}");
        }
    }
    let printed = text(&output.stdout);
    assert!(printed.contains("connections  threads MB/s  port MB/s  ratio"), "{printed}");
    assert!(!text(&output.stderr).contains('\r'), "progress belongs on a terminal");
}

#[test]
fn demo_says_so_when_the_descriptor_limit_is_too_low() {
    let program = env!("CARGO_BIN_EXE_anyport");
    let line = format!("ulimit -n 90; exec {program} demo --conns 20,1000 --secs 100ms --warmup 0");
    let output = Command::new("sh").args(["-c", &line]).output().expect("a shell");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("1,000 connections were not tried"), "{stderr}");
    assert!(text(&output.stdout).contains("threads"), "the round that fits is measured");
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_demo_leaves_no_server_behind() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_anyport"))
        .args(["demo", "--conns", "10", "--secs", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let pid = demo.id();
    let children = || {
        let mut found = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").flatten() {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(list.split_whitespace().map(|child| child.parse::<u32>().expect("a pid")));
        }
        found
    };
    let server = loop {
        if let Some(&child) = children().first() {
            break child;
        }
        std::thread::yield_now();
    };
    signal(pid, "INT");
    assert_eq!(demo.wait().expect("ended").code(), Some(130));
    assert!(!std::path::Path::new(&format!("/proc/{server}")).exists());
}
