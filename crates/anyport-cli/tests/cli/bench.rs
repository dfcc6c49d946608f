//! `bench`, against every server of the program and against some that are wrong.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

use serde_json::Value;

use super::server::{Server, kinds};
use super::{anyport, text};

fn bench(server: &Server, more: &[&str]) -> (Output, Value) {
    bench_addr(&server.addr, more)
}

/// A short run against `addr` with every byte compared.
pub(crate) fn bench_addr(addr: &str, more: &[&str]) -> (Output, Value) {
    let mut arguments = vec!["bench", addr, "--verify", "--secs", "200ms", "--json", "-"];
    arguments.extend(["--warmup", "50ms"]);
    arguments.extend(more);
    let output = anyport(&arguments);
    let row = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output, row)
}

#[test]
fn bench_finds_every_byte_right_on_every_model() {
    for kind in kinds() {
        let server = Server::start(&kind, &[]);
        for load in [
            &["--conns", "50", "--size", "16k"][..],
            &["--conns", "3", "--size", "1m", "--pipeline", "2"],
            &["--conns", "20", "--size", "1", "--pipeline", "50"],
            &["--conns", "200", "--active", "5", "--size", "100"],
            &["--conns", "30", "--threads", "3", "--size", "64:90,16k:10,100k:1"],
            &["--conns", "20", "--rate", "2k", "--ramp", "100ms", "--size", "1,3000"],
            &["--conns", "20", "--rate", "2k", "--sleep", "--threads", "2"],
            &["--conns", "20", "--ramp", "100ms", "--pipeline", "3", "--interval", "50ms"],
            &["--conns", "16", "--churn", "--size", "64:9,20k:1"],
            &["--conns", "16", "--churn", "--rate", "500", "--threads", "2"],
        ] {
            let (output, row) = bench(&server, load);
            assert!(output.status.success(), "{kind:?} {load:?}: {}", text(&output.stderr));
            assert!(row["msgs_per_s"].as_f64() > Some(0.0), "{kind:?} {load:?}: {row}");
            assert_eq!(row["errors"], 0);
            assert_eq!(row["wrong_bytes"], 0);
        }
    }
}

#[test]
fn bench_and_server_agree_on_frames() {
    for kind in kinds() {
        let server = Server::start(&kind, &["--framed"]);
        for load in [
            &["--conns", "50", "--size", "16k"][..],
            &["--conns", "4", "--size", "300k", "--pipeline", "3"],
            &["--conns", "20", "--size", "1", "--pipeline", "50"],
            &["--conns", "20", "--size", "1:5,70k:1", "--pipeline", "3"],
            &["--conns", "9", "--size", "200", "--churn"],
        ] {
            let more = [load, &["--framed"]].concat();
            let (output, row) = bench(&server, &more);
            assert!(output.status.success(), "{kind:?} {load:?}: {}", text(&output.stderr));
            assert!(row["msgs_per_s"].as_f64() > Some(0.0), "{kind:?} {load:?}: {row}");
        }
    }
}

#[test]
fn stalled_handlers_keep_the_echo_right() {
    for kind in kinds() {
        for how in ["sleep", "spin"] {
            let stall = ["--stall-every", "1000", "--stall", "20ms", "--stall-kind", how];
            let server = Server::start(&kind, &stall);
            let (output, row) = bench(&server, &["--conns", "64", "--size", "64"]);
            assert!(output.status.success(), "{kind:?} {how}: {}", text(&output.stderr));
            assert_eq!(row["wrong_bytes"], 0);
        }
    }
}

#[test]
fn a_row_of_bench_has_the_fields_of_the_contract() {
    let server = Server::start(&["--model".into(), "threads".into()], &[]);
    let (_, row) = bench(&server, &["--conns", "2", "--size", "1k"]);
    for name in ["msgs_per_s", "mb_per_s", "p50_us", "p99_us", "p999_us"] {
        assert!(row[name].as_f64() > Some(0.0), "{name} in {row}");
    }
    for name in ["p90_us", "p9999_us", "max_us", "mean_us", "duration_s", "connect_s"] {
        assert!(row[name].as_f64() > Some(0.0), "{name} in {row}");
    }
    assert_eq!((row["conns"].as_u64(), row["size"].as_u64()), (Some(2), Some(1024)));
    assert!(row["generator_is_limit"].is_boolean(), "{row}");
    let timeline = row["timeline"].as_array().expect("a list");
    let seconds: f64 = timeline.iter().filter_map(|point| point["lasting_s"].as_f64()).sum();
    assert!((seconds - 0.25).abs() < 1e-6, "{row}");
    for name in ["model", "backend", "cpu_us_per_msg", "rss_kib_per_conn"] {
        assert_eq!(row.get(name), Some(&Value::Null), "{name} in {row}");
    }
}

#[test]
fn either_name_of_the_measured_time_is_taken() {
    let server = Server::start(&["--model".into(), "threads".into()], &[]);
    for name in ["--secs", "--duration"] {
        let output =
            anyport(&["bench", &server.addr, "--conns", "2", name, "100ms", "--warmup", "0"]);
        let printed = text(&output.stdout);
        assert!(printed.contains("2 connections, messages of 64, pipeline 1, 0.1s"), "{printed}");
    }
}

#[test]
fn a_host_name_is_an_address() {
    let listener = TcpListener::bind("localhost:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let output = anyport(&["bench", &format!("localhost:{port}")]);
    assert_eq!(output.status.code(), Some(1), "nobody listens: {}", text(&output.stderr));
}

#[cfg(target_os = "linux")]
#[test]
fn connections_come_from_every_source_address() {
    use super::faulty;
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let addr = faulty::serve({
        let seen = Arc::clone(&seen);
        move |stream| {
            let peer = stream.peer_addr().expect("an address").ip().to_string();
            seen.lock().expect("no panic").insert(peer);
            faulty::echo(stream, |_| true);
        }
    });
    let (output, row) = bench_addr(
        &addr,
        &["--conns", "9", "--source", "127.0.0.5-127.0.0.6,127.0.0.9", "--threads", "2"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(row["errors"], 0);
    let seen: Vec<String> = seen.lock().expect("no panic").iter().cloned().collect();
    assert_eq!(seen, ["127.0.0.5", "127.0.0.6", "127.0.0.9"]);
}

/// Serves one connection with `f` and gives back what bench made of it.
fn bench_against(f: impl FnOnce(TcpStream) + Send + 'static) -> (Output, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address").to_string();
    let serving = std::thread::spawn(move || f(listener.accept().expect("a connection").0));
    let arguments =
        ["bench", &addr, "--conns", "1", "--size", "100", "--secs", "100ms", "--warmup", "0"];
    let output = anyport(&[&arguments[..], &["--verify", "--json", "-"]].concat());
    serving.join().expect("served");
    let row = serde_json::from_slice(&output.stdout).expect("a row");
    (output, row)
}

#[test]
fn bench_counts_a_wrong_byte_and_exits_with_1() {
    let (output, row) = bench_against(|mut stream| {
        let mut buffer = [0; 4096];
        let mut is_first = true;
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            if std::mem::take(&mut is_first) {
                buffer[len / 2] ^= 1;
            }
            stream.write_all(&buffer[..len]).expect("sent");
        }
    });
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((row["wrong_bytes"].as_u64(), row["errors"].as_u64()), (Some(1), Some(0)));
}

#[test]
fn bench_counts_a_connection_that_the_server_closes() {
    let (output, row) = bench_against(|mut stream| {
        stream.read_exact(&mut [0; 100]).expect("a message");
    });
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(row["errors"], 1);
    assert!(text(&output.stderr).contains("connection 1"), "{}", text(&output.stderr));
}

#[test]
fn bench_counts_bytes_that_were_never_sent() {
    let (output, row) = bench_against(|mut stream| {
        let mut buffer = [0; 100];
        stream.read_exact(&mut buffer).expect("a message");
        stream.write_all(&[buffer, buffer].concat()).expect("sent");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(output.status.code(), Some(1));
    assert!(row["wrong_bytes"].as_u64() > Some(0), "{row}");
}

#[test]
fn bench_without_a_server_says_so() {
    let addr = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let output = anyport(&["bench", &addr.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot connect to"), "{}", text(&output.stderr));
}
