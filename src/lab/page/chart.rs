//! Charts as data: what page.js needs to draw them, and their place on the page.

use serde::Serialize;

use super::html::{Html, tag, tag_with};

/// How an axis is laid out and labelled.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// 1/(1 - p), logarithmic, labelled with percentiles.
    Percentile,
    /// Logarithmic.
    Log,
    /// From zero, even.
    Linear,
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// ns, labelled in the unit that keeps them short.
    Ns,
    /// Seconds.
    Seconds,
    /// Numbers with separators.
    Plain,
}

/// An axis.
#[derive(Clone, Debug, Serialize)]
pub struct Axis {
    /// What it is.
    pub label: String,
    /// Layout.
    pub scale: Scale,
    /// Its numbers.
    pub unit: Unit,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// A line.
    #[default]
    Solid,
    /// A dashed line.
    Dashed,
    /// Points alone.
    Points,
    /// Nothing of its own: an edge of a band.
    Edge,
}

/// A line of a chart.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Number of its colour.
    pub colour: usize,
    /// How it is drawn.
    pub look: Look,
    #[serde(skip)]
    points: Vec<(f64, f64)>,
}

/// A straight line across a chart.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Where on its axis.
    pub at: f64,
    /// What it is.
    pub label: String,
}

/// A chart.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    x: Axis,
    y: Axis,
    lines: Vec<Line>,
    /// Pairs of lines, upper and lower, with the space between them filled.
    bands: Vec<(usize, usize)>,
    /// Across at a y.
    pub level: Option<Rule>,
    /// Down at an x.
    pub plumb: Option<Rule>,
    /// x, then a column for each line; null where a line has no point.
    data: Vec<Vec<Option<f64>>>,
}

/// Whether the page can draw a number: at the far ends of what a float holds its search for an axis's steps never ends.
fn drawable(number: f64) -> bool {
    number == 0.0 || (1e-100..1e100).contains(&number.abs())
}

impl Chart {
    /// An empty chart.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, lines: vec![], bands: vec![], level: None, plumb: None, data: vec![] }
    }

    /// Adds a line. Points that cannot be drawn are left out, and on a logarithmic y those at 0 stand at 1.
    pub fn line(&mut self, name: &str, colour: usize, look: Look, points: Vec<(f64, f64)>) {
        let floor = if matches!(self.y.scale, Scale::Linear) { f64::MIN } else { f64::MIN_POSITIVE };
        let lift = |(x, y): (f64, f64)| (x, if y < floor { 1.0 } else { y });
        let positive = |x: f64| matches!(self.x.scale, Scale::Linear) || x > 0.0;
        let points =
            points.into_iter().filter(|(x, y)| drawable(*x) && drawable(*y) && positive(*x)).map(lift).collect();
        self.lines.push(Line { name: name.into(), colour, look, points });
    }

    /// Adds the space between two edges.
    pub fn band(&mut self, colour: usize, upper: Vec<(f64, f64)>, lower: Vec<(f64, f64)>) {
        let at = self.lines.len() + 1; // line 0 is x in the data
        self.bands.push((at, at + 1));
        self.line("most", colour, Look::Edge, upper);
        self.line("least", colour, Look::Edge, lower);
    }

    /// Whether a line could be drawn: two points at least.
    pub fn is_empty(&self) -> bool {
        !self.lines.iter().any(|line| line.points.len() > 1 && line.look != Look::Points)
    }

    /// Puts all lines on one list of x, and leaves out rules that cannot be drawn.
    fn align(&mut self) {
        self.level = self.level.take().filter(|rule| drawable(rule.at));
        self.plumb = self.plumb.take().filter(|rule| drawable(rule.at));
        let mut xs: Vec<f64> = self.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let column = |line: &Line| {
            let mut column = vec![None; xs.len()];
            for (x, y) in &line.points {
                if let Ok(at) = xs.binary_search_by(|other| other.total_cmp(x)) {
                    column[at] = Some(*y);
                }
            }
            column
        };
        let columns = self.lines.iter().map(column);
        self.data = std::iter::once(xs.iter().map(|x| Some(*x)).collect()).chain(columns).collect();
    }
}

/// All charts of a page, in the order of their places.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Charts(Vec<Chart>);

impl Charts {
    /// Takes a chart and answers its place; one without a line is said to be so in `missing` instead.
    pub fn place(&mut self, title: &str, note: &str, mut chart: Chart, missing: &str) -> Html {
        let head = tag("h4", "", title);
        if chart.is_empty() {
            return tag("div", "chart", [head, tag("p", "missing", missing)]);
        }
        chart.align();
        let place = tag_with(
            "div",
            &[("class", "plot"), ("data-chart", &self.0.len().to_string()), ("role", "img"), ("aria-label", title)],
            Html::default(),
        );
        self.0.push(chart);
        let note = if note.is_empty() { Html::default() } else { tag("p", "note", note) };
        tag("div", "chart", [head, note, place])
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis { label: "x".into(), scale, unit: Unit::Plain }
    }

    #[test]
    fn lines_share_their_xs() {
        let mut chart = Chart::new(axis(Scale::Log), axis(Scale::Log));
        chart.line("a", 0, Look::Solid, vec![(1.0, 5.0), (3.0, 0.0), (0.0, 4.0), (f64::NAN, 1.0)]);
        chart.line("b", 1, Look::Solid, vec![(2.0, 7.0), (3.0, 8.0)]);
        let mut charts = Charts::default();
        charts.place("t", "", chart, "none");
        let columns = [[1.0, 2.0, 3.0].map(Some), [Some(5.0), None, Some(1.0)], [None, Some(7.0), Some(8.0)]];
        assert_eq!(charts.0[0].data, columns.map(Vec::from));
    }

    #[test]
    fn numbers_that_hang_the_page_are_left_out() {
        let mut chart = Chart::new(axis(Scale::Linear), axis(Scale::Linear));
        let far = [5e-324, -1e-101, 1e100, -1e300, f64::MAX, f64::INFINITY, f64::NAN];
        let points = [0.0, 1e-100, 1e99].map(|v| (v, -v)).into_iter();
        let points = points.chain(far.map(|v| (v, 1.0))).chain(far.map(|v| (1.0, v))).collect();
        chart.line("a", 0, Look::Solid, points);
        (chart.level, chart.plumb) = (Some(rule(f64::MAX)), Some(rule(1e-200)));
        chart.align();
        let columns = [[0.0, 1e-100, 1e99].map(Some), [0.0, -1e-100, -1e99].map(Some)];
        assert_eq!(chart.data, columns.map(Vec::from));
        assert!(chart.level.is_none() && chart.plumb.is_none());
        chart.level = Some(rule(5.0));
        chart.align();
        assert!(chart.level.is_some());
    }

    fn rule(at: f64) -> Rule {
        Rule { at, label: "bound".into() }
    }

    #[test]
    fn nothing_to_draw_is_said_in_words() {
        let mut charts = Charts::default();
        let html = charts.place("t", "", Chart::new(axis(Scale::Log), axis(Scale::Log)), "no signals").into_string();
        assert!(charts.count() == 0 && html.contains("no signals"), "{html}");
    }
}
