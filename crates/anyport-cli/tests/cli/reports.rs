//! What `bench` leaves behind: reports, comparisons, the rows of a suite.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::faulty::{echo, serve};
use super::{anyport, text};

/// A file of this test, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("anyport-{}-{name}", std::process::id())))
    }

    fn holding(name: &str, value: &Value) -> Self {
        let scratch = Self::new(name);
        std::fs::write(&scratch.0, value.to_string()).expect("written");
        scratch
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path")
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.0).expect("a file")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Everything that would make a browser ask the network, or run something.
fn assert_stands_alone(html: &str) {
    for word in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!html.contains(word), "{word} in {html}");
    }
    for word in ["<!DOCTYPE html>", "<svg", "prefers-color-scheme: dark", "name=\"viewport\""] {
        assert!(html.contains(word), "no {word}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
}

#[test]
fn the_report_is_one_file_with_plots_and_no_references() {
    let addr = serve(|stream| echo(stream, |_| true));
    let html = Scratch::new("report.html");
    let output = anyport(&[
        "bench",
        &addr,
        "--conns",
        "4",
        "--duration",
        "300ms",
        "--interval",
        "50ms",
        "--label",
        "a <b> & \"c\"",
        "--html",
        html.path(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let html = html.read();
    assert_stands_alone(&html);
    for title in ["Percentiles over time", "Latency histogram", "Latency by percentile"] {
        assert!(html.contains(title), "{title}");
    }
    assert!(html.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !html.contains("a <b>"));
}

#[test]
fn the_report_of_a_run_without_answers_is_still_a_report() {
    let addr = serve(drop);
    let html = Scratch::new("empty.html");
    anyport(&["bench", &addr, "--conns", "2", "--duration", "100ms", "--html", html.path()]);
    assert_stands_alone(&html.read());
}

#[test]
fn a_suite_writes_a_row_for_each_experiment_that_was_asked_for() {
    let addr = serve(|stream| echo(stream, |_| true));
    let (json, html) = (Scratch::new("suite.json"), Scratch::new("suite.html"));
    let output = anyport(&[
        "bench",
        "suite",
        &addr,
        "e9",
        "E5",
        "E8",
        "--duration",
        "100ms",
        "--warmup",
        "20ms",
        "--rounds",
        "3",
        "--verify",
        "--json",
        json.path(),
        "--html",
        html.path(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: Vec<Value> = serde_json::from_str(&json.read()).expect("a list");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["label"].as_str()).collect();
    assert_eq!(names, ["E9", "E5", "E8"]);
    assert_eq!(rows[1]["pipeline"], 16);
    assert_eq!(rows[2]["mode"], "churn");
    let html = html.read();
    assert_stands_alone(&html);
    for load in ["messages of 64, pipeline 16", "churn, 64 connections at a time"] {
        assert!(html.contains(load), "{load}");
    }
    let compared = anyport(&["bench", "compare", json.path(), json.path(), "--fail-above", "0%"]);
    assert!(compared.status.success(), "{}", text(&compared.stderr));
    assert!(text(&compared.stdout).contains("+0.0 %"), "{}", text(&compared.stdout));
}

fn row(rate: f64, p99_us: f64) -> Value {
    json!({
        "model": "port", "backend": "io_uring", "conns": 1000, "size": 64, "msgs_per_s": rate,
        "mb_per_s": rate / 1e6, "p50_us": 10.0, "p99_us": p99_us, "p999_us": 100.0,
        "cpu_us_per_msg": null, "rss_kib_per_conn": null, "errors": 0, "wrong_bytes": 0,
    })
}

#[test]
fn a_comparison_says_what_is_better_and_what_is_worse() {
    let base = Scratch::holding("base.json", &row(1000.0, 50.0));
    let other = Scratch::holding("other.json", &row(1500.0, 100.0));
    let third = Scratch::holding("third.json", &row(1000.0, 50.5));
    let output = anyport(&["bench", "compare", base.path(), other.path(), third.path()]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("+50.0 % better"), "{printed}");
    assert!(printed.contains("+100.0 % worse"), "{printed}");
    assert!(printed.contains("+1.0 %") && !printed.contains("+1.0 % worse"), "{printed}");
    assert!(!printed.contains('\x1b'), "colour belongs on a terminal");
}

#[test]
fn a_comparison_fails_when_something_is_worse_than_allowed() {
    let base = Scratch::holding("allowed-base.json", &row(1000.0, 50.0));
    let other = Scratch::holding("allowed-other.json", &row(1000.0, 60.0));
    for (limit, status) in [("10%", 1), ("25%", 0)] {
        let files = [base.path(), other.path()];
        let output =
            anyport(&[&["bench", "compare"][..], &files, &["--fail-above", limit]].concat());
        assert_eq!(output.status.code(), Some(status), "{limit}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("p99 us"), status == 1);
    }
}

#[test]
fn a_comparison_writes_json_and_a_report() {
    let base = Scratch::holding("written-base.json", &json!([row(1000.0, 50.0)]));
    let other = Scratch::holding("written-other.json", &json!([row(500.0, 50.0)]));
    let html = Scratch::new("compare.html");
    let output = anyport(&[
        "bench",
        "compare",
        base.path(),
        other.path(),
        "--json",
        "-",
        "--html",
        html.path(),
    ]);
    let all: Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(all[0]["figures"][0]["field"], "msgs_per_s");
    assert_eq!(all[0]["figures"][0]["change_percent"][1], -50.0);
    assert!(html.read().contains("-50.0 % worse"));
}

#[test]
fn what_is_no_result_file_is_refused_by_name() {
    let good = Scratch::holding("good.json", &row(1.0, 1.0));
    let bad = Scratch::holding("bad.json", &json!({"conns": 1}));
    for (path, word) in [(bad.path(), "msgs_per_s"), ("/nowhere/at-all.json", "at-all.json")] {
        let output = anyport(&["bench", "compare", good.path(), path]);
        assert_eq!(output.status.code(), Some(2), "1 would say that something is worse");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(word) && stderr.contains(path), "{stderr}");
    }
}

#[test]
fn files_without_a_load_in_common_are_no_verdict() {
    let labelled = |name: &str| {
        let mut row = row(1.0, 1.0);
        row["label"] = name.into();
        row
    };
    let base = Scratch::holding("apart-base.json", &json!([labelled("E1"), labelled("E2")]));
    let other = Scratch::holding("apart-other.json", &json!([labelled("E3"), labelled("E4")]));
    let output = anyport(&["bench", "compare", base.path(), other.path(), "--fail-above", "10%"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no load is in all"), "{}", text(&output.stderr));
}

#[test]
fn a_comparison_that_cannot_be_written_is_no_verdict() {
    let base = Scratch::holding("unwritten.json", &row(1.0, 1.0));
    for flag in ["--json", "--html"] {
        let output =
            anyport(&["bench", "compare", base.path(), base.path(), flag, "/nowhere/at-all"]);
        assert_eq!(output.status.code(), Some(2), "{flag}: {}", text(&output.stderr));
    }
}
