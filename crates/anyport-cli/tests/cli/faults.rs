//! `bench` against servers that stall, corrupt and drop: what it must not miss.
//!
//! The bounds are on what is reported about a stall whose length the server itself measured.

use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::bench_addr;
use super::faulty::{echo, serve};
use super::server::{Server, kinds};
use super::{anyport, text};

/// Loads a server that stalls once for `stall`, before it answers byte number `at` of its only
/// connection; gives back the result and the stall as it really was, in microseconds.
fn with_stall(stall: Duration, at: usize, load: &[&str]) -> (Output, Value, f64) {
    let measured = Arc::new(Mutex::new(Duration::ZERO));
    let addr = serve({
        let measured = Arc::clone(&measured);
        move |stream| {
            let mut seen = 0;
            echo(stream, |bytes| {
                let has_come = seen <= at && at < seen + bytes.len();
                seen += bytes.len();
                if has_come {
                    let start = Instant::now();
                    thread::sleep(stall);
                    *measured.lock().expect("no panic") = start.elapsed();
                }
                true
            });
        }
    });
    let arguments = [&["bench", &addr, "--conns", "1", "--warmup", "0", "--json", "-"], load];
    let output = anyport(&arguments.concat());
    let row = serde_json::from_slice(&output.stdout).expect("a row");
    let measured = measured.lock().expect("no panic").as_secs_f64() * 1e6;
    assert!(measured > 0.0, "no stall in {row}");
    (output, row, measured)
}

fn us(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} in {row}"))
}

/// Up to twice what a stall must show: on a machine that others use, what waits for it waits for a core
/// as well.
const SHOWN: std::ops::Range<f64> = 0.95..2.0;

#[test]
fn a_stall_is_not_hidden_at_a_constant_rate() {
    // 1,000 messages a second, one second of which is stalled: the messages due in it wait from
    // the whole of it down to nothing, so of 4,000 the fourth slowest waits all but 4 ms.
    let load = ["--rate", "1000", "--duration", "4s", "--size", "64"];
    let (output, row, stall) = with_stall(Duration::from_secs(1), 64 * 1000, &load);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (field, expected) in [("max_us", 1.0), ("p999_us", 0.997), ("p99_us", 0.96)] {
        let ratio = us(&row, field) / (stall * expected);
        assert!(SHOWN.contains(&ratio), "{field} is {ratio} of the stall: {row}");
    }
    assert!(us(&row, "p50_us") < stall / 4.0, "three quarters did not wait: {row}");
    assert!(us(&row, "msgs_per_s") > 950.0, "the rate was kept: {row}");
}

#[test]
fn a_stall_at_the_end_of_the_window_is_not_hidden_either() {
    let load = ["--rate", "1000", "--duration", "1s", "--size", "64"];
    let (_, row, stall) = with_stall(Duration::from_secs(2), 64 * 500, &load);
    let ratio = us(&row, "max_us") / stall;
    assert!(SHOWN.contains(&ratio), "max is {ratio} of the stall: {row}");
    assert!(us(&row, "msgs_per_s") < 600.0, "half came back in time: {row}");
}

#[test]
fn the_time_line_shows_when_the_stall_was() {
    let load = ["--rate", "1000", "--duration", "3s", "--size", "64"];
    let (_, row, stall) = with_stall(Duration::from_millis(1200), 64 * 1000, &load);
    let points = row["timeline"].as_array().expect("a list");
    assert_eq!(points.len(), 3, "{row}");
    assert!(us(&points[2], "max_us") > stall * 0.95, "{row}");
    assert!(us(&points[0], "max_us") < stall * 0.5, "{row}");
}

#[test]
fn what_a_server_has_no_room_for_is_a_latency_and_no_error() {
    // 64 KiB in 20 ms at the most, of ten times as much that is due.
    let addr = serve(|stream| {
        echo(stream, |_| {
            thread::sleep(Duration::from_millis(20));
            true
        });
    });
    for load in [&["--size", "16k", "--conns", "1"][..], &["--churn", "--conns", "2"]] {
        let rate = ["--rate", "2000", "--duration", "1s", "--warmup", "0", "--json", "-"];
        let output = anyport(&[&["bench", &addr][..], load, &rate].concat());
        let row: Value = serde_json::from_slice(&output.stdout).expect("a row");
        assert!(output.status.success(), "{}: {row}", text(&output.stderr));
        assert!(row["unsent"].as_u64() > Some(0), "{row}");
        assert!(us(&row, "p50_us") > 300_000.0, "half of them had waited: {row}");
        assert!(us(&row, "msgs_per_s") < 1000.0, "{row}");
    }
}

#[test]
fn one_wrong_byte_in_a_million_is_found() {
    let (seen, spoilt) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let addr = serve({
        let (seen, spoilt) = (Arc::clone(&seen), Arc::clone(&spoilt));
        move |stream| {
            echo(stream, |bytes| {
                let before = seen.fetch_add(bytes.len() as u64, SeqCst);
                let to_next = 1_000_000 - before % 1_000_000;
                if let Some(byte) = bytes.get_mut(to_next as usize - 1) {
                    *byte ^= 0x10;
                    spoilt.fetch_add(1, SeqCst);
                }
                true
            });
        }
    });
    let load = ["--conns", "4", "--size", "16k", "--pipeline", "4", "--max-errors", "100%"];
    let (output, row) = bench_addr(&addr, &load);
    assert!(spoilt.load(SeqCst) > 0, "enough bytes went through");
    assert_eq!(row["wrong_bytes"].as_u64(), Some(spoilt.load(SeqCst)), "{row}");
    assert_eq!(output.status.code(), Some(1), "no budget covers a wrong byte");
    assert!(text(&output.stderr).contains("wrong bytes"), "{}", text(&output.stderr));
}

/// Echoes, but ends every third connection in place of its first answer.
fn dropping() -> String {
    let accepted = Arc::new(AtomicU64::new(0));
    serve(move |stream| {
        let is_dropped = accepted.fetch_add(1, SeqCst).is_multiple_of(3);
        echo(stream, |_| !is_dropped);
    })
}

#[test]
fn dropped_connections_are_counted_and_the_budget_decides_the_exit_status() {
    for (budget, status) in [("0", 1), ("9", 1), ("10", 0), ("33%", 1), ("34%", 0)] {
        let load = ["--conns", "30", "--threads", "2", "--max-errors", budget];
        let (output, row) = bench_addr(&dropping(), &load);
        assert_eq!(row["errors"], 10, "{row}");
        assert_eq!(row["attempts"], 30, "{row}");
        let kinds = row["errors_by_kind"].as_object().expect("kinds");
        assert_eq!(kinds.values().filter_map(Value::as_u64).sum::<u64>(), 10, "{row}");
        assert_eq!(output.status.code(), Some(status), "--max-errors {budget}: {row}");
        assert!(us(&row, "msgs_per_s") > 0.0, "the others went on: {row}");
    }
}

#[test]
fn a_load_that_loses_every_connection_ends_at_once() {
    let addr = serve(|stream| echo(stream, |_| false));
    let start = Instant::now();
    let arguments = ["bench", &addr, "--conns", "5", "--duration", "1h", "--json", "-"];
    let output = anyport(&arguments);
    assert!(start.elapsed() < Duration::from_secs(600));
    let row: Value = serde_json::from_slice(&output.stdout).expect("a row");
    assert_eq!((output.status.code(), row["errors"].as_u64()), (Some(1), Some(5)), "{row}");
}

#[test]
fn churn_counts_the_exchanges_that_the_server_drops() {
    let accepted = Arc::new(AtomicU64::new(0));
    let dropped = Arc::new(AtomicU64::new(0));
    let addr = serve({
        let (accepted, dropped) = (Arc::clone(&accepted), Arc::clone(&dropped));
        move |stream| {
            let is_dropped = accepted.fetch_add(1, SeqCst) % 5 == 0;
            echo(stream, |_| {
                dropped.fetch_add(u64::from(is_dropped), SeqCst);
                !is_dropped
            });
        }
    });
    let (output, row) = bench_addr(&addr, &["--churn", "--conns", "8", "--max-errors", "25%"]);
    let errors = row["errors"].as_u64().expect("a number");
    assert_eq!(errors, dropped.load(SeqCst), "{row}");
    assert_eq!(row["attempts"].as_u64(), Some(accepted.load(SeqCst)), "{row}");
    assert!(errors > 0 && output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn churn_that_nobody_answers_is_errors_and_ends() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr();
    let (output, row) = bench_addr(&free.expect("address").to_string(), &["--churn"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(row["errors_by_kind"]["refused"].as_u64() > Some(0), "{row}");
    assert!(row["p50_us"].is_null(), "{row}");
}

#[test]
fn stalled_messages_are_told_apart_when_the_server_marks_them() {
    for kind in kinds() {
        let stall = ["--framed", "--stall-every", "50", "--stall", "20ms"];
        let server = Server::start(&kind, &stall);
        for load in [
            &["--rate", "1000", "--conns", "10"][..],
            &["--churn", "--conns", "10"],
            &["--pipeline", "20", "--conns", "3", "--size", "1:3,9k:1"],
        ] {
            let more = [load, &["--framed"]].concat();
            let (output, row) = bench_addr(&server.addr, &more);
            assert!(output.status.success(), "{kind:?} {load:?}: {}", text(&output.stderr));
            assert_eq!(row["wrong_bytes"], 0, "{kind:?} {load:?}: {row}");
            let (stalled, others) = (&row["stalled"], &row["others"]);
            assert!(stalled["messages"].as_u64() > Some(0), "{kind:?} {load:?}: {row}");
            assert!(us(stalled, "p50_us") >= 19_000.0, "{kind:?} {load:?}: {row}");
            assert!(others["messages"].as_u64() > stalled["messages"].as_u64(), "{row}");
        }
    }
}
