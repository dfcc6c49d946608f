//! The tables that `demo` prints: first the one of the comparison (connections, threads, port,
//! ratio), then every figure of every row.

use crate::bench::report::{HEADINGS, Row, table};
use crate::units::{format_count, format_rounded};

/// Connections, MB/s of both models, and how many percent of the first the second is. `backend` is
/// the one of the port's column. A model that could not run has no figure.
pub(super) fn comparison(conns: &[usize], rows: &[Row], backend: Option<&str>) -> String {
    let rate = |model: &str, backend: Option<&str>, conns: usize| {
        rows.iter()
            .find(|row| row.model == Some(model) && row.backend == backend && row.conns == conns)
            .map(|row| row.mb_per_s)
            .filter(|rate| *rate > 0.0)
    };
    let figure = |rate: Option<f64>| match rate {
        None => "-".into(),
        // The ratio is of what was measured: whole numbers would belie it here.
        Some(rate) if rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => format_rounded(rate),
    };
    let lines: Vec<Vec<String>> = conns
        .iter()
        .map(|&conns| {
            let threads = rate("threads", None, conns);
            let port = backend.and_then(|backend| rate("port", Some(backend), conns));
            let ratio = threads.zip(port).map(|(threads, port)| port / threads * 100.0);
            vec![
                format_count(conns as u64),
                figure(threads),
                figure(port),
                ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.0}%")),
            ]
        })
        .collect();
    table(&["connections", "threads MB/s", "port MB/s", "ratio"], &lines)
}

/// Every figure of every row.
pub(super) fn full(rows: &[Row]) -> String {
    table(&HEADINGS, &rows.iter().map(Row::cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &'static str, backend: Option<&'static str>, conns: usize, rate: f64) -> Row {
        Row { model: Some(model), backend, mb_per_s: rate, ..Row::empty(conns, 16_384) }
    }

    #[test]
    fn the_ratio_is_the_port_in_percent_of_the_threads() {
        let rows = [
            row("threads", None, 1000, 82.0),
            row("port", Some("readiness"), 1000, 100.0),
            row("port", Some("io_uring"), 1000, 210.0),
        ];
        assert_eq!(
            comparison(&[1000], &rows, Some("io_uring")),
            "connections  threads MB/s  port MB/s  ratio\n      \
             1,000            82        210   256%\n"
        );
    }

    #[test]
    fn a_low_rate_has_a_decimal() {
        let rows = [row("threads", None, 200, 9.64), row("port", Some("io_uring"), 200, 10.6)];
        let text = comparison(&[200], &rows, Some("io_uring"));
        let cells: Vec<&str> = text.lines().last().expect("a line").split_whitespace().collect();
        assert_eq!(cells, ["200", "9.6", "11", "110%"]);
    }

    #[test]
    fn a_model_that_could_not_run_has_no_figure_and_no_ratio() {
        let rows = [row("threads", None, 5000, 0.0), row("port", Some("io_uring"), 5000, 1200.0)];
        let text = comparison(&[5000], &rows, Some("io_uring"));
        let cells: Vec<&str> = text.lines().last().expect("a line").split_whitespace().collect();
        assert_eq!(cells, ["5,000", "-", "1,200", "-"]);
    }
}
