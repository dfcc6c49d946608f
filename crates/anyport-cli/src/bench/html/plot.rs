//! Plots as inline SVG: lines and bars, linear and logarithmic axes.
//!
//! Colours are classes (`s0`, `s1`, …), so that the style sheet decides them for light and dark.
//! Every point says its value when pointed at. No I/O. Called by the report.

use super::escaped;

/// The drawing, in units of the view box.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;

/// Font size of labels in the style sheet on a narrow screen, the larger one: labels that are apart
/// at it are apart at the other.
const FONT: f64 = 14.0;

/// Least distance between two labels.
const GAP: f64 = 4.0;

/// Above this many points of a line, single ones are not marked.
const MARKS_MAX: usize = 90;

/// How a value becomes a place, and a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From zero up.
    Linear,
    Log,
}

/// One axis.
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) scale: Scale,
    pub(super) format: fn(f64) -> String,
}

/// One line.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// The values that an axis shows.
#[derive(Clone, Copy)]
struct Range {
    from: f64,
    to: f64,
    scale: Scale,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>, scale: Scale) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (mut from, mut to) =
            finite.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        match scale {
            Scale::Linear => {
                from = from.min(0.0);
                to = if to > from { to + (to - from) * 0.05 } else { from + 1.0 };
            }
            Scale::Log => {
                from = 10f64.powf(from.max(1e-3).log10().floor());
                to = 10f64.powf(to.max(1e-3).log10().ceil()).max(from * 10.0);
            }
        }
        Self { from, to, scale }
    }

    /// From 0 to 1.
    fn part(self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => {
                (value.max(self.from).log10() - self.from.log10())
                    / (self.to.log10() - self.from.log10())
            }
        }
    }

    fn ticks(self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = (self.to - self.from) / 7.0;
                let power = 10f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0];
                let step = steps.iter().map(|s| s * power).find(|s| *s >= rough).unwrap_or(rough);
                let first = (self.from / step).ceil() as i64;
                let last = (self.to / step).floor() as i64;
                (first..=last).map(|number| number as f64 * step).collect()
            }
            Scale::Log => {
                let decades = self.from.log10().round() as i32..=self.to.log10().round() as i32;
                decades.map(|decade| 10f64.powi(decade)).collect()
            }
        }
    }
}

/// Lines over a common axis.
pub(super) fn lines(x: &Axis, y: &Axis, series: &[Series]) -> String {
    let all = || series.iter().flat_map(|line| &line.points);
    let across = Range::of(all().map(|point| point.0), x.scale);
    let up = Range::of(all().map(|point| point.1), y.scale);
    let mut svg = frame(x, across, y, up);
    for (number, line) in series.iter().enumerate() {
        let places: Vec<(f64, f64)> =
            line.points.iter().map(|&(h, v)| (place_x(across, h), place_y(up, v))).collect();
        let path: Vec<String> = places.iter().map(|(h, v)| format!("{h:.1},{v:.1}")).collect();
        svg += &format!("<polyline class=\"line s{number}\" points=\"{}\"/>\n", path.join(" "));
        if places.len() <= MARKS_MAX {
            for (&(h, v), &(at, value)) in places.iter().zip(&line.points) {
                svg += &format!(
                    "<circle class=\"mark s{number}\" cx=\"{h:.1}\" cy=\"{v:.1}\" r=\"2.5\">\
                     <title>{}: {} at {}</title></circle>\n",
                    escaped(&line.name),
                    (y.format)(value),
                    (x.format)(at),
                );
            }
        }
    }
    svg += "</svg>\n";
    let names: Vec<&str> = series.iter().map(|line| line.name.as_str()).collect();
    if names.len() > 1 { legend(&names) + &svg } else { svg }
}

/// Bars from one place of a logarithmic axis to another.
pub(super) fn bars(x: &Axis, y: &Axis, list: &[(f64, f64, f64)]) -> String {
    let edges = list.iter().flat_map(|bar| [bar.0, bar.1]);
    let across = Range::of(edges, x.scale);
    let up = Range::of(list.iter().map(|bar| bar.2), y.scale);
    let mut svg = frame(x, across, y, up);
    let ground = HEIGHT - BOTTOM;
    for &(from, to, value) in list {
        let (left, right, top) = (place_x(across, from), place_x(across, to), place_y(up, value));
        svg += &format!(
            "<rect class=\"bar s0\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"><title>{} to {}: {}</title></rect>\n",
            (right - left - 0.5).max(0.5),
            (ground - top).max(0.0),
            (x.format)(from),
            (x.format)(to),
            (y.format)(value),
        );
    }
    svg + "</svg>\n"
}

fn place_x(range: Range, value: f64) -> f64 {
    LEFT + range.part(value) * (WIDTH - LEFT - RIGHT)
}

fn place_y(range: Range, value: f64) -> f64 {
    HEIGHT - BOTTOM - range.part(value) * (HEIGHT - TOP - BOTTOM)
}

fn frame(x: &Axis, across: Range, y: &Axis, up: Range) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over {}\">\n",
        y.title, x.title
    );
    let (right, ground) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in up.ticks() {
        let at = place_y(up, tick);
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\n"
        );
    }
    for Label { at, text, .. } in labels_up(y, up) {
        svg += &format!(
            "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\n",
            LEFT - 6.0,
            at + 4.0,
        );
    }
    for tick in across.ticks() {
        let at = place_x(across, tick);
        svg += &format!(
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{ground}\"/>\n"
        );
    }
    for Label { at, text, .. } in labels_across(x, across) {
        svg += &format!(
            "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>\n",
            ground + 16.0,
        );
    }
    svg += &format!(
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{ground}\" x2=\"{right}\" y2=\"{ground}\"/>\n"
    );
    svg += &format!(
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        (LEFT + right) / 2.0,
        HEIGHT - 8.0,
        x.title
    );
    svg
}

/// What stands at a tick.
struct Label {
    /// Its middle, along the axis.
    at: f64,
    /// Half of its extent along the axis.
    half: f64,
    text: String,
}

fn labels_across(axis: &Axis, range: Range) -> Vec<Label> {
    let label = |tick: f64| {
        let text = (axis.format)(tick);
        let half = text_width(&text, FONT) / 2.0;
        // A label at the right end would be cut off if it stood in the middle of its line.
        Label { at: place_x(range, tick).min(WIDTH - 1.0 - half), half, text }
    };
    apart(range.ticks().into_iter().map(label).collect())
}

fn labels_up(axis: &Axis, range: Range) -> Vec<Label> {
    let label =
        |tick| Label { at: place_y(range, tick), half: FONT / 2.0, text: (axis.format)(tick) };
    apart(range.ticks().into_iter().map(label).collect())
}

/// The labels without those that would touch the next one; the last says how far the axis goes.
fn apart(labels: Vec<Label>) -> Vec<Label> {
    let mut kept: Vec<Label> = Vec::new();
    for label in labels.into_iter().rev() {
        let is_free = |next: &Label| (next.at - label.at).abs() >= next.half + label.half + GAP;
        if kept.last().is_none_or(is_free) {
            kept.push(label);
        }
    }
    kept.reverse();
    kept
}

/// An upper estimate, in wide fonts such as DejaVu Sans.
fn text_width(text: &str, font: f64) -> f64 {
    let of_font = |c: char| match c {
        '.' | ',' | ' ' => 0.32,
        '%' | 'm' | 'M' => 0.98,
        _ => 0.64,
    };
    text.chars().map(of_font).sum::<f64>() * font
}

fn legend(names: &[&str]) -> String {
    let entry = |(number, name): (usize, &&str)| {
        format!("<span><i class=\"key s{number}\"></i>{}</span>", escaped(name))
    };
    let entries: Vec<String> = names.iter().enumerate().map(entry).collect();
    format!("<p class=\"legend\">{}</p>\n", entries.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Font size of labels on a wide screen.
    const FONT_WIDE: f64 = 12.5;

    fn axis(scale: Scale) -> Axis {
        Axis { title: "t", scale, format: |value| value.to_string() }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let range = Range::of([3.0, 97.0].into_iter(), Scale::Linear);
        assert_eq!(range.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let range = Range::of([0.3, 900.0].into_iter(), Scale::Log);
        assert_eq!(range.ticks(), [0.1, 1.0, 10.0, 100.0, 1000.0]);
    }

    #[test]
    fn every_point_is_inside_the_drawing() {
        for scale in [Scale::Linear, Scale::Log] {
            let range = Range::of([0.0, 5.0, 1e6].into_iter(), scale);
            for value in [0.0, 5.0, 1e6] {
                assert!((0.0..=1.0).contains(&range.part(value)), "{value}");
            }
        }
    }

    #[test]
    fn no_two_labels_of_an_axis_overlap() {
        use super::super::{LATENCY, NINES, RATE, SECONDS, SHARE};

        let highest = [0.5, 1.0, 2.5, 4.4, 5.76, 7.0, 8.3, 12.0, 99.0, 1234.0, 98_765.0, 3.3e7];
        for axis in [SECONDS, LATENCY, RATE, SHARE, NINES] {
            // A trillion messages have twelve nines.
            for to in highest.into_iter().filter(|to| axis.title != NINES.title || *to <= 12.0) {
                let range = Range::of([to / 1e6, to].into_iter(), axis.scale);
                let across = labels_across(&axis, range);
                for font in [FONT_WIDE, FONT] {
                    let edges =
                        |l: &Label| [-0.5, 0.5].map(|p| l.at + p * text_width(&l.text, font));
                    for pair in across.windows(2) {
                        let (left, right) = (&pair[0], &pair[1]);
                        let texts = (&left.text, &right.text);
                        assert!(edges(left)[1] < edges(right)[0], "{}: {texts:?}", axis.title);
                    }
                    let is_inside = |l: &Label| edges(l)[0] >= 0.0 && edges(l)[1] <= WIDTH;
                    assert!(across.iter().all(is_inside), "{} to {to}", axis.title);
                }
                let up = labels_up(&axis, range);
                assert!(up.windows(2).all(|pair| pair[0].at - pair[1].at > FONT), "{}", axis.title);
                assert!(across.len() > 1 && up.len() > 1, "{} to {to}", axis.title);
            }
        }
    }

    #[test]
    fn the_last_nines_are_labelled_and_those_in_their_way_are_not() {
        let range = Range::of([5.76].into_iter(), Scale::Linear);
        let texts: Vec<String> =
            labels_across(&super::super::NINES, range).into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["0", "90", "99", "99.9", "99.99", "99.9999"]);
    }

    #[test]
    fn labels_have_the_font_sizes_of_the_style_sheet() {
        for font in [FONT_WIDE, FONT] {
            let style = super::super::STYLE;
            let mut ticks = style.lines().filter(|line| line.contains(".tick {"));
            assert!(ticks.any(|line| line.contains(&format!("font-size: {font}px"))), "{font}");
        }
    }

    #[test]
    fn nothing_to_draw_is_an_empty_frame() {
        let none = Series { name: "a".into(), points: Vec::new() };
        let svg = lines(&axis(Scale::Linear), &axis(Scale::Log), &[none]);
        assert!(svg.contains("</svg>") && !svg.contains("NaN"), "{svg}");
        assert!(bars(&axis(Scale::Log), &axis(Scale::Linear), &[]).contains("</svg>"));
    }

    #[test]
    fn names_cannot_become_markup() {
        let line = |name: &str| Series { name: name.into(), points: vec![(0.0, 1.0)] };
        let svg = lines(&axis(Scale::Linear), &axis(Scale::Linear), &[line("<b>"), line("&")]);
        assert!(!svg.contains("<b>") && svg.contains("&lt;b&gt;"), "{svg}");
    }
}
