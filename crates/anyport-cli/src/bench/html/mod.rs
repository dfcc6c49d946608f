//! The report: one HTML file with its style and its plots inside, readable in light and dark, on a
//! desk and on a phone, without a network and without a script.
//!
//! `plot` draws; this file says what. Called by `bench`, `suite` and `compare`.

mod plot;

use std::fmt::Write;
use std::path::Path;

use super::compare::{AnyRow, Comparison, describe_change};
use super::report::{format_latency, short, three_digits};
use super::result::{BenchResult, Bucket, Point, Quantiles};
use crate::units::{format_count, format_rounded, format_size};
use plot::{Axis, Scale, Series, bars, lines};

const STYLE: &str = include_str!("style.css");

const SECONDS: Axis = Axis { title: "seconds", scale: Scale::Linear, format: plain };
const LATENCY: Axis = Axis { title: "latency", scale: Scale::Log, format: format_latency };
const RATE: Axis = Axis { title: "messages a second", scale: Scale::Linear, format: thousands };
const SHARE: Axis = Axis { title: "messages", scale: Scale::Linear, format: percent };
const NINES: Axis = Axis { title: "percentile", scale: Scale::Linear, format: nines };

/// More files or loads than colours are not drawn.
const SERIES_MAX: usize = 6;

/// The longest figure for which the style sheet leaves room in a tile: `9,999,999`.
const TILE_CHARS: usize = 9;

/// Writes the report of one load, or of the experiments of a suite.
pub(super) fn write(path: &Path, title: &str, results: &[BenchResult]) -> Result<(), String> {
    let mut body = String::new();
    for result in results {
        if results.len() > 1 {
            let name = result.label.as_deref().unwrap_or(&result.addr);
            let _ = writeln!(body, "<h2>{}</h2>", escaped(name));
            let _ = writeln!(body, "<p class=\"quiet\">{}</p>", escaped(&result.load));
        }
        body += &one_result(result);
    }
    let heading = match results {
        [BenchResult { label: Some(label), .. }] => label.as_str(),
        [_] => "Load test",
        _ => "Experiments",
    };
    save(path, heading, title, &body)
}

/// Writes the report of several files beside each other; `matched` holds the rows of each load.
pub(super) fn write_comparison(
    path: &Path,
    names: &[String],
    matched: &[(String, Vec<AnyRow>)],
    comparisons: &[Comparison],
) -> Result<(), String> {
    let mut body = String::new();
    for ((name, rows), comparison) in matched.iter().zip(comparisons) {
        let _ = writeln!(body, "<h2>{}</h2>", escaped(name));
        let with_names = || names.iter().zip(rows).take(SERIES_MAX);
        let series = |points: fn(&AnyRow) -> Vec<(f64, f64)>| -> Vec<Series> {
            with_names().map(|(n, row)| Series { name: n.clone(), points: points(row) }).collect()
        };
        if rows.iter().any(|row| !row.timeline.is_empty()) {
            let rates = series(|row| over_time(&row.timeline, |point| Some(point.msgs_per_s)));
            let tails = series(|row| over_time(&row.timeline, |point| point.p99_us));
            let spectra = series(|row| spectrum(&row.histogram));
            body += "<div class=\"plots\">\n";
            body += &card("Messages a second", &lines(&SECONDS, &RATE, &rates));
            body += &card("p99 over time", &lines(&SECONDS, &LATENCY, &tails));
            body += &card("Latency by percentile", &lines(&NINES, &LATENCY, &spectra));
            body += "</div>\n";
        }
        let mut headings = vec!["figure", names[0].as_str()];
        for name in &names[1..] {
            headings.extend([name.as_str(), "change"]);
        }
        body += "<div class=\"card scroll\"><table><tr>";
        headings.iter().for_each(|heading| body += &format!("<th>{}</th>", escaped(heading)));
        body += "</tr>\n";
        for figure in &comparison.figures {
            let value = |number: usize| figure.values[number].map_or("-".into(), short);
            let _ = write!(body, "<tr><td>{}</td><td>{}</td>", figure.title, value(0));
            for number in 1..names.len() {
                let change = describe_change(figure, number);
                let class = change.rsplit(' ').next().filter(|word| *word != "%").unwrap_or("");
                let _ =
                    write!(body, "<td>{}</td><td class=\"{class}\">{change}</td>", value(number));
            }
            body += "</tr>\n";
        }
        body += "</table></div>\n";
    }
    let title = format!("against {}", names[0]);
    save(path, "Comparison", &title, &body)
}

fn one_result(result: &BenchResult) -> String {
    let mut body = tiles(result);
    for warning in result.warnings() {
        let _ = writeln!(body, "<p class=\"careful\">{}</p>", escaped(&warning));
    }
    let quantile = |name: &str, of: fn(&Point) -> Option<f64>| Series {
        name: name.into(),
        points: over_time(&result.timeline, of),
    };
    let percentiles = [
        quantile("p50", |point| point.p50_us),
        quantile("p99", |point| point.p99_us),
        quantile("p99.9", |point| point.p999_us),
        quantile("max", |point| point.max_us),
    ];
    let rate = [quantile("messages", |point| Some(point.msgs_per_s))];
    let spectrum = [Series { name: "latency".into(), points: spectrum(&result.histogram) }];
    let all: u64 = result.histogram.iter().map(|bar| bar.count).sum();
    let share =
        |bar: &Bucket| (bar.from_us, bar.to_us, bar.count as f64 / all.max(1) as f64 * 100.0);
    let histogram: Vec<(f64, f64, f64)> = result.histogram.iter().map(share).collect();
    body += "<div class=\"plots\">\n";
    body += &card("Percentiles over time", &lines(&SECONDS, &LATENCY, &percentiles));
    body += &card("Messages a second", &lines(&SECONDS, &RATE, &rate));
    body += &card("Latency histogram", &bars(&LATENCY, &SHARE, &histogram));
    body += &card("Latency by percentile", &lines(&NINES, &LATENCY, &spectrum));
    body += "</div>\n";
    body += &distributions(result);
    body += &timeline_table(&result.timeline);
    body
}

fn tiles(result: &BenchResult) -> String {
    let row = &result.row;
    let maybe = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format_latency);
    let mut tiles = vec![
        ("messages/s", format_rounded(row.msgs_per_s), false),
        ("MB/s", short(row.mb_per_s), false),
        ("p50", maybe(row.p50_us), false),
        ("p99", maybe(row.p99_us), false),
        ("p99.9", maybe(row.p999_us), false),
        ("p99.99", maybe(result.p9999_us), false),
        ("max", maybe(result.max_us), false),
        ("errors", format_count(row.errors), row.errors > result.errors_allowed),
        ("wrong bytes", format_count(row.wrong_bytes), row.wrong_bytes > 0),
    ];
    if let Some(share) = result.generator_cpu_share {
        let is_limit = result.generator_is_limit == Some(true);
        tiles.push(("generator", format!("{:.0} %", share * 100.0), is_limit));
    }
    if let Some(cost) = row.cpu_us_per_msg {
        tiles.push(("server CPU", format!("{} us", short(cost)), false));
    }
    let mut html = String::from("<div class=\"tiles\">\n");
    for (name, value, is_bad) in tiles {
        let class = if is_bad { "tile bad" } else { "tile" };
        let figure = match abbreviated(&value) {
            None => format!("<b>{value}</b>"),
            Some(short) => format!("<b title=\"{value}\">{short}</b>"),
        };
        let _ = writeln!(html, "<div class=\"{class}\">{figure}<span>{name}</span></div>");
    }
    html + "</div>\n"
}

/// A count that would run out of its tile, in three digits; none where it fits.
fn abbreviated(figure: &str) -> Option<String> {
    if figure.len() <= TILE_CHARS {
        return None;
    }
    let value: f64 = figure.replace(',', "").parse().ok()?;
    let (unit, name) = match value {
        value if value >= 1e12 => (1e12, "T"),
        value if value >= 1e9 => (1e9, "G"),
        _ => (1e6, "M"),
    };
    Some(three_digits(value / unit) + name)
}

/// The distributions of all messages and of each kind of them.
fn distributions(result: &BenchResult) -> String {
    let mut rows: Vec<(String, Quantiles)> = Vec::new();
    rows.extend(result.stalled.map(|latency| ("stalled".into(), latency)));
    rows.extend(result.others.map(|latency| ("others".into(), latency)));
    let sizes = result.by_size.iter();
    rows.extend(sizes.map(|part| (format!("size {}", format_size(part.size)), part.latency)));
    rows.extend(result.connect.map(|latency| ("connect".into(), latency)));
    rows.extend(result.send_lag.map(|latency| ("sent late".into(), latency)));
    if rows.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<div class=\"card scroll\"><table><tr><th>latency of</th><th>count</th><th>p50</th>\
         <th>p99</th><th>p99.9</th><th>p99.99</th><th>max</th></tr>\n",
    );
    for (name, Quantiles { messages, p50_us, p99_us, p999_us, p9999_us, max_us }) in rows {
        let _ = write!(html, "<tr><td>{name}</td><td>{}</td>", format_count(messages));
        for value in [p50_us, p99_us, p999_us, p9999_us, max_us] {
            let _ = write!(html, "<td>{}</td>", format_latency(value));
        }
        html += "</tr>\n";
    }
    html + "</table></div>\n"
}

fn timeline_table(timeline: &[Point]) -> String {
    let mut html = String::from(
        "<details><summary>The time line as a table</summary><div class=\"card scroll\"><table>\
         <tr><th>second</th><th>messages/s</th><th>MB/s</th><th>p50</th><th>p99</th><th>p99.9</th>\
         <th>max</th><th>errors</th></tr>\n",
    );
    for point in timeline {
        let rate = format_rounded(point.msgs_per_s);
        let _ = write!(html, "<tr><td>{}</td><td>{rate}</td>", plain(point.t_s));
        let _ = write!(html, "<td>{}</td>", short(point.mb_per_s));
        for value in [point.p50_us, point.p99_us, point.p999_us, point.max_us] {
            let _ = write!(html, "<td>{}</td>", value.map_or_else(|| "-".into(), format_latency));
        }
        let _ = writeln!(html, "<td>{}</td></tr>", format_count(point.errors));
    }
    html + "</table></div></details>\n"
}

fn over_time(timeline: &[Point], of: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
    timeline.iter().filter_map(|point| Some((point.t_s, of(point)?))).collect()
}

/// For each bar, the number of nines of the messages up to it, and its latency.
fn spectrum(histogram: &[Bucket]) -> Vec<(f64, f64)> {
    let all: u64 = histogram.iter().map(|bar| bar.count).sum();
    let mut below = 0;
    let point = |bar: &Bucket| {
        below += bar.count;
        // The slowest message has no nines: it stands where one of twice as many would.
        let above = ((all - below) as f64).max(0.5) / all as f64;
        (-above.log10(), bar.to_us)
    };
    histogram.iter().map(point).collect()
}

fn card(title: &str, plot: &str) -> String {
    format!("<section class=\"card\"><h3>{}</h3>\n{plot}</section>\n", escaped(title))
}

fn save(path: &Path, heading: &str, title: &str, body: &str) -> Result<(), String> {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0} - anyport bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{0}</h1>\n<p class=\"quiet\">{1}</p>\n{body}\
         <footer>anyport {2}. Latency is from the due time of a message where a rate was given, \
         else from its sending, to its last byte back.</footer>\n</main>\n</body>\n</html>\n",
        escaped(heading),
        escaped(title),
        env!("CARGO_PKG_VERSION"),
    );
    std::fs::write(path, html).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// `text` where markup is read.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn plain(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn percent(value: f64) -> String {
    format!("{} %", if value < 1.0 && value > 0.0 { short(value) } else { plain(value) })
}

fn thousands(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", plain(value / 1e6)),
        value if value >= 1e3 => format!("{}k", plain(value / 1e3)),
        value => plain(value),
    }
}

fn nines(value: f64) -> String {
    match value.round() as i32 {
        0 => "0".into(),
        1 => "90".into(),
        2 => "99".into(),
        nines => format!("99.{}", "9".repeat(usize::try_from(nines - 2).unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_fits_its_tile_and_a_short_one_is_exact() {
        for (figure, text) in [
            ("9,999,999", None),
            ("-", None),
            ("196 ms", None),
            ("10,000,000", Some("10M")),
            ("15,244,530", Some("15.2M")),
            ("1,234,567,890", Some("1.23G")),
        ] {
            assert_eq!(abbreviated(figure).as_deref(), text, "{figure}");
        }
        let longest = abbreviated(&format_count(u64::MAX)).expect("it is long");
        assert!(longest.len() <= TILE_CHARS, "{longest}");
    }

    #[test]
    fn the_spectrum_counts_nines_and_ends_at_the_slowest() {
        let bar = |to_us: f64, count| Bucket { from_us: to_us / 2.0, to_us, count };
        let points = spectrum(&[bar(10.0, 90), bar(100.0, 9), bar(1000.0, 1)]);
        assert!((points[0].0 - 1.0).abs() < 1e-9 && (points[1].0 - 2.0).abs() < 1e-9);
        assert!(points[2].0 > 2.0 && points[2].1 == 1000.0);
        assert!(spectrum(&[]).is_empty());
    }
}
