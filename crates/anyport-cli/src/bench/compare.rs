//! `anyport bench compare`: result files beside each other, the first one being the base.
//!
//! Reads what `bench`, `bench suite` and `demo` write. Better is green and worse is red, on a
//! terminal and unless `NO_COLOR` is set; the words say the same. Called by `bench`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::html;
use super::report::{print, rounded, short, table, write_json};
use super::result::{Bucket, Point};
use crate::args::CompareArgs;
use crate::ending::Ending;
use crate::units::{format_count, format_size};

/// Changes below this many per cent are not called better or worse.
const NOTEWORTHY: f64 = 2.0;

/// A figure that is compared.
struct Figure {
    field: &'static str,
    title: &'static str,
    is_more_better: bool,
    /// Whether `--fail-above` looks at it: a single outlier makes the others.
    is_judged: bool,
}

const FIGURES: [Figure; 11] = [
    Figure { field: "msgs_per_s", title: "msgs/s", is_more_better: true, is_judged: true },
    Figure { field: "mb_per_s", title: "MB/s", is_more_better: true, is_judged: true },
    Figure { field: "p50_us", title: "p50 us", is_more_better: false, is_judged: true },
    Figure { field: "p99_us", title: "p99 us", is_more_better: false, is_judged: true },
    Figure { field: "p999_us", title: "p99.9 us", is_more_better: false, is_judged: true },
    Figure { field: "p9999_us", title: "p99.99 us", is_more_better: false, is_judged: false },
    Figure { field: "max_us", title: "max us", is_more_better: false, is_judged: false },
    Figure { field: "cpu_us_per_msg", title: "cpu us/msg", is_more_better: false, is_judged: true },
    Figure { field: "rss_kib_per_conn", title: "KiB/conn", is_more_better: false, is_judged: true },
    Figure { field: "errors", title: "errors", is_more_better: false, is_judged: true },
    Figure { field: "wrong_bytes", title: "wrong bytes", is_more_better: false, is_judged: true },
];

/// A row of any of the commands; what is not there is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnyRow {
    pub(super) label: Option<String>,
    model: Option<String>,
    backend: Option<String>,
    conns: u64,
    size: usize,
    mode: Option<String>,
    pub(super) timeline: Vec<Point>,
    pub(super) histogram: Vec<Bucket>,
    /// Lowest and highest value of figures that were measured several times.
    spread: BTreeMap<String, [f64; 2]>,
    #[serde(flatten)]
    figures: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyFile {
    List(Vec<AnyRow>),
    One(Box<AnyRow>),
}

impl AnyRow {
    fn figure(&self, field: &str) -> Option<f64> {
        self.figures.get(field)?.as_f64()
    }

    /// What rows of one load have in common.
    fn name(&self, with_label: bool) -> String {
        let label = self.label.as_deref().filter(|_| with_label);
        let mut words: Vec<&str> = label.into_iter().collect();
        words.extend(self.model.as_deref());
        words.extend(self.backend.as_deref());
        words.extend(self.mode.as_deref().filter(|mode| *mode != "closed"));
        let load = format!("{} connections, {}", format_count(self.conns), format_size(self.size));
        words.push(&load);
        words.join(" ")
    }
}

/// One load in all files.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) name: String,
    pub(super) figures: Vec<Compared>,
}

/// One figure in all files.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub(super) field: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    /// Null where a file does not have it.
    pub(super) values: Vec<Option<f64>>,
    /// Of each file against the first, in per cent; null where that cannot be told.
    pub(super) change_percent: Vec<Option<f64>>,
    /// Whether the runs of a file spread over the same values as those of the first.
    pub(super) is_noise: Vec<bool>,
    /// Whether more is better.
    #[serde(skip)]
    is_more_better: bool,
    #[serde(skip)]
    is_judged: bool,
}

impl Compared {
    /// By how many per cent file `number` is worse than the first; negative: better.
    pub(super) fn worse_by(&self, number: usize) -> Option<f64> {
        let change = self.change_percent[number]?;
        Some(if self.is_more_better { -change } else { change })
    }
}

/// Compares the files of the command line.
pub(crate) fn run(args: &CompareArgs) -> Ending {
    let files: Result<Vec<_>, _> = args.files.iter().map(|path| read(path)).collect();
    let files = match files {
        Ok(files) => files,
        Err(why) => return Ending::Unjudged(why),
    };
    let names = column_names(&args.files, &files);
    let matched = matched(&files);
    if matched.is_empty() {
        return Ending::Unjudged("no load is in all of the files".into());
    }
    let comparisons: Vec<Comparison> =
        matched.iter().map(|(name, rows)| compare(name.clone(), rows)).collect();
    if args.json.as_deref() != Some(Path::new("-")) {
        let is_coloured = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        print(&text(&names, &comparisons, is_coloured));
    }
    if let Some(path) = &args.json
        && let Err(why) = write_json(path, &comparisons)
    {
        return Ending::Unjudged(why);
    }
    if let Some(path) = &args.html
        && let Err(why) = html::write_comparison(path, &names, &matched, &comparisons)
    {
        return Ending::Unjudged(why);
    }
    let Some(limit) = args.fail_above else {
        return Ending::Well;
    };
    let too_bad = too_bad(&names, &comparisons, limit);
    for line in &too_bad {
        eprintln!("anyport: {line}");
    }
    if too_bad.is_empty() { Ending::Well } else { Ending::Wrong }
}

fn read(path: &Path) -> Result<Vec<AnyRow>, String> {
    let fail = |why: &dyn std::fmt::Display| {
        format!("cannot read {} as a result of anyport: {why}", path.display())
    };
    let text = std::fs::read(path).map_err(|error| fail(&error))?;
    let rows = match serde_json::from_slice(&text).map_err(|error| fail(&error))? {
        AnyFile::List(rows) => rows,
        AnyFile::One(row) => vec![*row],
    };
    if rows.is_empty() || rows.iter().any(|row| row.figure("msgs_per_s").is_none()) {
        return Err(fail(&"it has no row with `msgs_per_s`"));
    }
    Ok(rows)
}

/// The label of a file's only row, or the file's name.
fn column_names(paths: &[std::path::PathBuf], files: &[Vec<AnyRow>]) -> Vec<String> {
    let name = |(path, rows): (&std::path::PathBuf, &Vec<AnyRow>)| match &rows[..] {
        [AnyRow { label: Some(label), .. }] => label.clone(),
        _ => path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
    };
    let mut names: Vec<String> = paths.iter().zip(files).map(name).collect();
    let all_differ = (1..names.len()).all(|number| !names[..number].contains(&names[number]));
    if !all_differ {
        names = paths.iter().map(|path| path.display().to_string()).collect();
    }
    names
}

/// The loads that are in every file, with their row in each. Single rows are compared as they are.
fn matched(files: &[Vec<AnyRow>]) -> Vec<(String, Vec<AnyRow>)> {
    if files.iter().all(|rows| rows.len() == 1) {
        let rows: Vec<AnyRow> = files.iter().map(|rows| rows[0].clone()).collect();
        let mut names: Vec<String> = rows.iter().map(|row| row.name(false)).collect();
        names.dedup();
        return vec![(names.join(" against "), rows)];
    }
    let in_all = |row: &AnyRow| {
        let name = row.name(true);
        let rows: Option<Vec<AnyRow>> = files
            .iter()
            .map(|rows| rows.iter().find(|row| row.name(true) == name).cloned())
            .collect();
        Some((name, rows?))
    };
    files[0].iter().filter_map(in_all).collect()
}

fn compare(name: String, rows: &[AnyRow]) -> Comparison {
    let figures = FIGURES.iter().filter_map(|figure| {
        let values: Vec<Option<f64>> = rows.iter().map(|row| row.figure(figure.field)).collect();
        // Zero errors everywhere, and what nobody measured, say nothing.
        let is_error = matches!(figure.field, "errors" | "wrong_bytes");
        let is_silent = |value: &Option<f64>| value.is_none_or(|value| is_error && value == 0.0);
        if values.iter().all(is_silent) {
            return None;
        }
        let change = |value: &Option<f64>| match (values[0], *value) {
            (Some(0.0), Some(0.0)) => Some(0.0),
            (Some(0.0), Some(_)) if is_error => Some(f64::INFINITY),
            (Some(base), Some(value)) if base > 0.0 => Some(rounded((value / base - 1.0) * 100.0)),
            _ => None,
        };
        let is_noise = |row: &AnyRow| {
            let range = |row: &AnyRow| row.spread.get(figure.field).copied();
            let both = range(&rows[0]).zip(range(row));
            both.is_some_and(|(base, other)| base[0] <= other[1] && other[0] <= base[1])
        };
        Some(Compared {
            is_noise: rows.iter().map(is_noise).collect(),
            field: figure.field,
            title: figure.title,
            change_percent: values.iter().map(change).collect(),
            values,
            is_more_better: figure.is_more_better,
            is_judged: figure.is_judged,
        })
    });
    Comparison { figures: figures.collect(), name }
}

/// A change in words: `+12.3 % worse`.
pub(super) fn describe_change(figure: &Compared, number: usize) -> String {
    let (Some(change), Some(worse)) = (figure.change_percent[number], figure.worse_by(number))
    else {
        return "-".into();
    };
    let verdict = match worse {
        worse if worse.abs() > NOTEWORTHY && figure.is_noise[number] => " noise",
        worse if worse > NOTEWORTHY => " worse",
        worse if worse < -NOTEWORTHY => " better",
        _ => "",
    };
    match change {
        change if change.is_infinite() => format!("new{verdict}"),
        change if change.abs() >= 1000.0 => format!("{change:+.0} %{verdict}"),
        change => format!("{change:+.1} %{verdict}"),
    }
}

fn text(names: &[String], comparisons: &[Comparison], is_coloured: bool) -> String {
    let mut text = String::new();
    for comparison in comparisons {
        let mut headings: Vec<&str> = vec!["figure", &names[0]];
        for name in &names[1..] {
            headings.extend([name.as_str(), "change"]);
        }
        let value = |figure: &Compared, number: usize| {
            figure.values[number].map_or_else(|| "-".into(), short)
        };
        let rows: Vec<Vec<String>> = comparison
            .figures
            .iter()
            .map(|figure| {
                let mut cells = vec![figure.title.to_owned(), value(figure, 0)];
                for number in 1..names.len() {
                    cells.extend([value(figure, number), describe_change(figure, number)]);
                }
                cells
            })
            .collect();
        text += &format!("{}\n{}\n", comparison.name, table(&headings, &rows));
    }
    if is_coloured {
        // The words are spaced out already, so that the codes move nothing.
        text = text.replace(" worse", " \x1b[31mworse\x1b[0m");
        text = text.replace(" better", " \x1b[32mbetter\x1b[0m");
    }
    text
}

fn too_bad(names: &[String], comparisons: &[Comparison], limit: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for comparison in comparisons {
        for figure in comparison.figures.iter().filter(|figure| figure.is_judged) {
            for (number, name) in names.iter().enumerate().skip(1) {
                let is_worse = figure.worse_by(number).is_some_and(|worse| worse > limit);
                if is_worse && !figure.is_noise[number] {
                    let (name, of) = (name, &comparison.name);
                    let change = describe_change(figure, number);
                    lines.push(format!("{of}: {} of {name}: {change}", figure.title));
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<AnyRow> {
        match serde_json::from_str(text).expect("rows") {
            AnyFile::List(rows) => rows,
            AnyFile::One(row) => vec![*row],
        }
    }

    fn compared(base: &str, other: &str) -> Vec<Comparison> {
        let files = [rows(base), rows(other)];
        matched(&files).iter().map(|(name, rows)| compare(name.clone(), rows)).collect()
    }

    #[test]
    fn more_is_better_for_a_rate_and_worse_for_a_time() {
        let all = compared(
            r#"{"conns": 1000, "size": 64, "msgs_per_s": 100.0, "p99_us": 10.0, "errors": 0}"#,
            r#"{"conns": 1000, "size": 64, "msgs_per_s": 110.0, "p99_us": 15, "errors": 0}"#,
        );
        let words: Vec<String> = all[0].figures.iter().map(|f| describe_change(f, 1)).collect();
        assert_eq!(words, ["+10.0 % better", "+50.0 % worse"]);
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(too_bad(&names, &all, 20.0).len(), 1);
        assert!(too_bad(&names, &all, 60.0).is_empty());
        let text = text(&names, &all, false);
        assert!(text.contains("p99 us") && text.contains("1,000 connections, 64"), "{text}");
    }

    #[test]
    fn rows_of_lists_are_matched_by_what_they_measure() {
        let all = compared(
            r#"[{"label": "E1", "conns": 1, "size": 64, "msgs_per_s": 1},
                {"label": "E2", "conns": 1, "size": 64, "msgs_per_s": 2}]"#,
            r#"[{"label": "E2", "conns": 1, "size": 64, "msgs_per_s": 4},
                {"label": "E3", "conns": 1, "size": 64, "msgs_per_s": 1}]"#,
        );
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].figures[0].change_percent[1], Some(100.0));
    }

    #[test]
    fn the_first_wrong_byte_is_always_too_bad() {
        let all = compared(
            r#"{"msgs_per_s": 1, "wrong_bytes": 0}"#,
            r#"{"msgs_per_s": 1, "wrong_bytes": 1}"#,
        );
        assert_eq!(too_bad(&["a".into(), "b".into()], &all, 1e5).len(), 1);
    }

    #[test]
    fn a_change_within_the_spread_of_the_rounds_is_noise() {
        let base = r#"{"msgs_per_s": 100, "spread": {"msgs_per_s": [80, 110]}}"#;
        let other = r#"{"msgs_per_s": 70, "spread": {"msgs_per_s": [60, 85]}}"#;
        let apart = r#"{"msgs_per_s": 70, "spread": {"msgs_per_s": [60, 79]}}"#;
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(describe_change(&compared(base, other)[0].figures[0], 1), "-30.0 % noise");
        assert!(too_bad(&names, &compared(base, other), 10.0).is_empty());
        assert_eq!(describe_change(&compared(base, apart)[0].figures[0], 1), "-30.0 % worse");
        assert_eq!(too_bad(&names, &compared(base, apart), 10.0).len(), 1);
    }

    #[test]
    fn colours_are_added_only_where_they_are_wanted() {
        let all = compared(r#"{"msgs_per_s": 1}"#, r#"{"msgs_per_s": 9}"#);
        let names = ["a".to_owned(), "b".to_owned()];
        assert!(!text(&names, &all, false).contains('\x1b'));
        assert!(text(&names, &all, true).contains("\x1b[32mbetter"));
    }
}
