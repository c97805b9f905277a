//! Curves as SVG. Colours are classes of the page's style sheet: `c0`, `c1`, ... for series.

use super::escape;
use std::fmt::Write;

/// Colours that the style sheet has; more series than that take turns.
pub const COLOURS: usize = 8;

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What it is, for the text beside the pointer.
    pub label: String,
    /// Number of its colour.
    pub colour: usize,
    /// Ascending in the first.
    pub points: Vec<(f64, f64)>,
    /// Draws a dot at each point, a larger one at this first coordinate.
    pub marked: Option<f64>,
}

/// What a vertical axis spans, rounded outwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// All points and 0.
    FromZero,
    /// All points.
    Fitted,
    /// From 0 to this, where several plots share it.
    UpTo(f64),
}

/// Curves over steps.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// The curves; those without points are left out.
    pub series: &'a [Series],
    /// What is written after a number.
    pub unit: &'a str,
    /// What the vertical axis spans.
    pub span: Span,
    /// Width and height in pixels, before the page scales it.
    pub size: (f64, f64),
}

const LEFT: f64 = 44.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 24.0;

impl Plot<'_> {
    /// The plot as an SVG element; nothing where no curve has a point.
    pub fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|s| &s.points).filter(|p| p.1.is_finite());
        let Some(&(mut first, start)) = all().next() else { return String::new() };
        let (mut last, mut low, mut high) = match self.span {
            Span::Fitted => (first, start, start),
            Span::FromZero => (first, start.min(0.0), start.max(0.0)),
            Span::UpTo(top) => (first, 0.0, top),
        };
        for &(x, y) in all() {
            (first, last, low, high) = (first.min(x), last.max(x), low.min(y), high.max(y));
        }
        first = first.min(0.0);
        let high = if high > low { high } else { low + 1.0 };
        let (width, height) = self.size;
        let step = nice((high - low) / 4.0);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        let x = |v: f64| LEFT + (v - first) / (last - first).max(1e-12) * (width - LEFT - RIGHT);
        let y = |v: f64| height - BOTTOM - (v - low) / (high - low) * (height - TOP - BOTTOM);

        let mut out = format!(
            "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\
             <text class=\"title\" x=\"0\" y=\"14\">{title}</text>",
            title = escape(self.title)
        );
        let lines = ((high - low) / step).round() as usize;
        for value in (0..=lines).map(|line| low + line as f64 * step) {
            let at = y(value);
            let class = if value.abs() < step / 2.0 { "axis" } else { "grid" };
            let _ = write!(
                out,
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                width - RIGHT,
                LEFT - 6.0,
                at + 3.5,
                short(value)
            );
        }
        let across = nice((last - first) / if width < 300.0 { 2.0 } else { 4.0 });
        let ticks = ((last - first) / across + 1e-9).floor() as usize;
        for value in (0..=ticks).map(|tick| first + tick as f64 * across) {
            let at = x(value).min(width - RIGHT);
            let anchor = if at > width - RIGHT - 12.0 { "end" } else { "middle" };
            let at = if anchor == "end" { width - 2.0 } else { at };
            let _ = write!(
                out,
                "<text class=\"tick\" text-anchor=\"{anchor}\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                height - 7.0,
                short(value)
            );
        }
        for series in self.series.iter().filter(|s| !s.points.is_empty()) {
            let colour = series.colour % COLOURS;
            let finite: Vec<(f64, f64)> = series.points.iter().copied().filter(|p| p.1.is_finite()).collect();
            let line: Vec<String> = finite.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
            let _ = write!(out, "<polyline class=\"c{colour}\" points=\"{}\"/>", line.join(" "));
            for &(step, value) in &finite {
                let (class, radius) = match series.marked {
                    Some(best) if best == step => ("best", 4.5),
                    Some(_) => ("dot", 2.5),
                    // Only there to be pointed at.
                    None => ("hover", 5.0),
                };
                let _ = write!(
                    out,
                    "<circle class=\"{class} c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}{}step {}: {}{}</title></circle>",
                    x(step),
                    y(value),
                    escape(&series.label),
                    if series.label.is_empty() { "" } else { ", " },
                    crate::table::count(step as u64),
                    exact(value),
                    self.unit
                );
            }
        }
        out + "</svg>"
    }
}

/// The next of 1, 2, 2.5, 5, 10, ... from `raw` on.
fn nice(raw: f64) -> f64 {
    if !raw.is_finite() || raw <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(raw.log10().floor());
    let times = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|times| times * power >= raw * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

/// A number at an axis, in a few characters.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e15 => return format!("{value:.0e}"),
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        v if v > 0.0 && v < 1e-3 => return format!("{value:.0e}"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

/// A number to read off.
fn exact(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => crate::table::count(value.round().max(0.0) as u64),
        v if v > 0.0 && v < 0.01 => format!("{value:.3e}"),
        v if v < 10.0 => format!("{value:.4}"),
        _ => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> String {
        let series = [Series { label: "<a>".into(), points, marked: Some(20.0), ..Series::default() }];
        Plot { title: "a & b", series: &series, unit: " %", span: Span::FromZero, size: (360.0, 220.0) }.svg()
    }

    #[test]
    fn a_curve_is_drawn_between_round_numbers_and_its_best_point_is_marked() {
        let svg = plot(vec![(10.0, 1.0), (20.0, 3.7), (30.0, 2.0)]);
        for part in [">0<", ">4<", ">10<", ">30<", "a &amp; b", "&lt;a&gt;, step 20: 3.7000 %"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!((svg.matches("class=\"best").count(), svg.matches("class=\"dot").count()), (1, 2));
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert_eq!(plot(vec![]), "");
        assert_eq!(plot(vec![(1.0, f64::NAN)]), "");
        for points in
            [vec![(0.0, 0.0)], vec![(1.0, f64::NAN), (2.0, -3.0)], vec![(0.0, 1e300), (1.0, -1e300)]]
        {
            let svg = plot(points);
            assert!(svg.starts_with("<svg") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!([0.13, 0.2, 2.1, 49.0, 0.0].map(nice), [0.2, 0.2, 2.5, 50.0, 1.0]);
        assert_eq!(
            [0.0, -0.0, 0.25, 25_000.0, 1.5e6, 1e-4].map(short),
            ["0", "0", "0.25", "25k", "1.5M", "1e-4"]
        );
    }
}
