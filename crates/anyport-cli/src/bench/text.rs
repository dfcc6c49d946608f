//! A result for people: the row, the percentiles, the time line, what to be careful with.
//!
//! No colour, no I/O. Called by `bench`.

use super::load::Load;
use super::report::{HEADINGS, short, table};
use super::result::{BenchResult, Quantiles};
use crate::units::{format_count, format_rounded, format_size};

/// Points of a time line that are printed; the JSON and the report have all.
const POINTS_MAX: usize = 60;

/// The whole text.
pub(crate) fn render(load: &Load, result: &BenchResult) -> String {
    let mut text = format!("{}\n\n", load.describe());
    // The server's columns are printed where they are known.
    let cells = result.row.cells();
    let (headings, cells): (Vec<&str>, Vec<String>) = (0..HEADINGS.len())
        .filter(|&column| column > 1 && !([9, 10].contains(&column) && cells[column] == "-"))
        .map(|column| (HEADINGS[column], cells[column].clone()))
        .unzip();
    text += &table(&headings, &[cells]);
    text += "\n";
    text += &latencies(result);
    if result.timeline.len() > 1 {
        text += "\n";
        text += &timeline(result);
    }
    text += "\n";
    if !result.errors_by_kind.is_empty() {
        let kinds: Vec<String> = result
            .errors_by_kind
            .iter()
            .map(|(kind, count)| format!("{} {kind}", format_count(*count)))
            .collect();
        text += &format!(
            "errors: {} of {} attempts; {} are put up with\n",
            kinds.join(", "),
            format_count(result.attempts),
            format_count(result.errors_allowed)
        );
    }
    if let Some((share, cost)) = result.generator_cpu_share.zip(result.generator_cpu_us_per_msg) {
        let busiest = if result.threads > 1 { "busiest thread: " } else { "" };
        text += &format!(
            "generator: {busiest}{:.0} % of a core, {} us a message\n",
            share * 100.0,
            short(cost)
        );
    }
    for warning in result.warnings() {
        text += &format!("careful: {warning}\n");
    }
    text
}

/// The distribution, of all messages and of each kind of them.
fn latencies(result: &BenchResult) -> String {
    let Some(all) = all(result) else {
        return "no message came back\n".into();
    };
    let mut rows = vec![line("all", &all)];
    if let (Some(stalled), Some(others)) = (result.stalled, result.others) {
        rows.push(line("stalled", &stalled));
        rows.push(line("others", &others));
    }
    let sizes = result.by_size.iter();
    rows.extend(sizes.map(|part| line(&format!("size {}", format_size(part.size)), &part.latency)));
    rows.extend(result.connect.map(|connect| line("connect", &connect)));
    rows.extend(result.send_lag.map(|lag| line("sent late", &lag)));
    let headings = ["latency us", "count", "p50", "p99", "p99.9", "p99.99", "max"];
    let mut text = table(&headings, &rows);
    if let (Some(min), Some(mean), Some(p90)) = (result.min_us, result.mean_us, result.p90_us) {
        text += &format!("min {}, mean {}, p90 {}\n", short(min), short(mean), short(p90));
    }
    text
}

fn all(result: &BenchResult) -> Option<Quantiles> {
    Some(Quantiles {
        messages: result.histogram.iter().map(|bucket| bucket.count).sum(),
        p50_us: result.row.p50_us?,
        p99_us: result.row.p99_us?,
        p999_us: result.row.p999_us?,
        p9999_us: result.p9999_us?,
        max_us: result.max_us?,
    })
}

fn line(name: &str, latency: &Quantiles) -> Vec<String> {
    let Quantiles { messages, p50_us, p99_us, p999_us, p9999_us, max_us } = *latency;
    let figures = [p50_us, p99_us, p999_us, p9999_us, max_us].map(short);
    [vec![name.to_owned(), format_count(messages)], figures.to_vec()].concat()
}

fn timeline(result: &BenchResult) -> String {
    let maybe = |value: Option<f64>| value.map_or_else(|| "-".into(), short);
    let left_out = result.timeline.len().saturating_sub(POINTS_MAX);
    let rows: Vec<Vec<String>> = result.timeline[left_out..]
        .iter()
        .map(|point| {
            vec![
                format!("{:.1}", point.t_s),
                format_rounded(point.msgs_per_s),
                short(point.mb_per_s),
                maybe(point.p50_us),
                maybe(point.p99_us),
                maybe(point.p999_us),
                maybe(point.max_us),
                format_count(point.errors),
            ]
        })
        .collect();
    let headings = ["second", "msgs/s", "MB/s", "p50 us", "p99 us", "p99.9 us", "max us", "errors"];
    let text = table(&headings, &rows);
    match left_out {
        0 => text,
        _ => format!("the last {POINTS_MAX} of {} points\n{text}", result.timeline.len()),
    }
}
