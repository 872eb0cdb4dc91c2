//! Plots as SVG, whose axes and words have the page's colours.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::scale::Scale;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 420;
/// Colours that can be told apart on white and on black.
pub(super) const COLOURS: [RGBColor; 8] = [
    RGBColor(0x3b, 0x82, 0xc4),
    RGBColor(0xe0, 0x7b, 0x39),
    RGBColor(0x2f, 0xa3, 0x7c),
    RGBColor(0xb5, 0x65, 0xc9),
    RGBColor(0xc9, 0xa2, 0x27),
    RGBColor(0xd1, 0x49, 0x5b),
    RGBColor(0x5f, 0xa8, 0xa8),
    RGBColor(0x8a, 0x8f, 0x98),
];

/// A number of a mark, in as few digits as it has.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", digits(scaled))
}

/// Microseconds of a mark.
pub(super) fn time(micros: f64) -> String {
    match micros.abs() {
        size if size >= 1e6 => format!("{} s", digits(micros / 1e6)),
        size if size >= 1e3 => format!("{} ms", digits(micros / 1e3)),
        _ => format!("{} us", digits(micros)),
    }
}

/// Without the dust of binary fractions.
fn digits(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// One axis.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) logarithmic: bool,
    pub(super) format: fn(f64) -> String,
}

/// One value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dot {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Least and most of the runs whose median is `y`.
    pub(super) range: Option<(f64, f64)>,
    /// Beside it.
    pub(super) label: String,
}

/// What has one colour and one entry of the legend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// Each is joined by a line.
    pub(super) chains: Vec<Vec<Dot>>,
    /// Whether each value has a mark.
    pub(super) marks: bool,
}

/// A part of the drawing that something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Area {
    /// Of a mark.
    fn around(x: i32, y: i32) -> Self {
        Self { left: x - 5, top: y - 5, right: x + 5, bottom: y + 5 }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }
}

/// Where labels have gone, so that none lies on another, or on a mark.
struct Labels {
    taken: Vec<Area>,
}

impl Labels {
    /// Where the label of a mark goes, from there: right or left of it, above or below, where there is room; else as the first would.
    fn place(&mut self, (x, y): (i32, i32), label: &str) -> (i32, i32) {
        let width = label.chars().count() as i32 * 13 / 2;
        let places = [(7, -15), (7, 4), (-7 - width, -15), (-7 - width, 4)];
        let area =
            |(dx, dy): (i32, i32)| Area { left: x + dx, top: y + dy, right: x + dx + width, bottom: y + dy + 11 };
        let is_free = |place: &(i32, i32)| !self.taken.iter().any(|taken| taken.meets(&area(*place)));
        let place = places.into_iter().find(is_free).unwrap_or(places[0]);
        self.taken.push(area(place));
        place
    }
}

/// A plot and its legend.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

impl Plot {
    /// As SVG; none when there is nothing to show.
    pub(super) fn svg(&self) -> anyhow::Result<Option<String>> {
        let dots = || self.series.iter().flat_map(|series| series.chains.iter().flatten());
        let ys = dots().flat_map(|dot| {
            let (least, most) = dot.range.unwrap_or((dot.y, dot.y));
            [least, dot.y, most]
        });
        let x = Scale::around(dots().map(|dot| dot.x), self.x.logarithmic);
        let (Some(x), Some(y)) = (x, Scale::around(ys, self.y.logarithmic)) else { return Ok(None) };
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        self.draw(&area, x, y).map_err(|error| anyhow!("{}: {error}", self.title))?;
        drop(area);
        Ok(Some(text))
    }

    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, x: Scale, y: Scale) -> Result<(), String> {
        let failed = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
        let holds = |dot: &&Dot| x.holds(dot.x) && y.holds(dot.y);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(40)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .max_light_lines(0)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .x_label_formatter(&|value| (self.x.format)(*value))
            .y_label_formatter(&|value| (self.y.format)(*value))
            .draw()
            .map_err(failed)?;
        let marked = self.series.iter().filter(|series| series.marks).flat_map(|series| series.chains.iter().flatten());
        let dots = marked.filter(holds).map(|dot| chart.backend_coord(&(dot.x, dot.y)));
        let mut labels = Labels { taken: dots.map(|(x, y)| Area::around(x, y)).collect() };
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            for chain in &series.chains {
                let line = chain.iter().filter(holds).map(|dot| (dot.x, dot.y));
                chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).map_err(failed)?;
                for dot in chain.iter().filter(holds).filter(|_| series.marks) {
                    if let Some((least, most)) = dot.range.filter(|(least, _)| y.holds(*least)) {
                        let bar = PathElement::new(vec![(dot.x, least), (dot.x, most)], colour.stroke_width(1));
                        chart.draw_series([bar]).map_err(failed)?;
                    }
                    chart.draw_series([Circle::new((dot.x, dot.y), 4, colour.filled())]).map_err(failed)?;
                    let place = labels.place(chart.backend_coord(&(dot.x, dot.y)), &dot.label);
                    let label = EmptyElement::at((dot.x, dot.y))
                        + Text::new(dot.label.clone(), place, ("sans-serif", 12).into_font());
                    chart.draw_series([label]).map_err(failed)?;
                }
            }
        }
        area.present().map_err(|error| error.to_string())
    }

    /// Name and colour of each series.
    pub(super) fn legend(&self) -> impl Iterator<Item = (&str, String)> {
        let colours =
            COLOURS.iter().cycle().map(|RGBColor(red, green, blue)| format!("#{red:02x}{green:02x}{blue:02x}"));
        self.series.iter().map(|series| series.name.as_str()).zip(colours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(logarithmic: bool) -> Axis {
        Axis { label: "x & y", logarithmic, format: |value| format!("<{value:.0}>") }
    }

    #[test]
    fn labels_of_marks_at_one_place_lie_beside_each_other() {
        let mut labels = Labels { taken: vec![Area::around(100, 100)] };
        let places: Vec<_> = (0..4).map(|_| labels.place((100, 100), "single")).collect();
        let areas = &labels.taken;
        assert_eq!(places[0], (7, -15));
        for (index, area) in areas.iter().enumerate() {
            assert!(!areas[..index].iter().any(|other| other.meets(area)), "{areas:?}");
        }
        assert_eq!(labels.place((100, 100), "single"), (7, -15), "there is no room any more");
    }

    fn dot(x: f64, y: f64) -> Dot {
        Dot { x, y, range: Some((y / 2.0, y * 2.0)), label: "4 < 5".to_owned() }
    }

    #[test]
    fn every_kind_of_axis_gives_a_document_with_all_dots() {
        for (x, y) in [(true, true), (true, false), (false, true), (false, false)] {
            let chains = vec![vec![dot(1.0, 10.0), dot(1000.0, 20.0)], vec![dot(5.0, 5.0)]];
            let series = Series { name: "a".to_owned(), chains, marks: true };
            let plot = Plot { title: "t".to_owned(), x: axis(x), y: axis(y), series: vec![series] };
            let svg = plot.svg().unwrap().unwrap();
            let document = roxmltree::Document::parse(&svg).unwrap();
            let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
            assert_eq!(count("circle"), 3, "{x} {y}");
            assert!(count("polyline") >= 2 && count("text") > 6);
            assert_eq!(plot.legend().collect::<Vec<_>>(), [("a", "#3b82c4".to_owned())]);
        }
    }

    #[test]
    fn marks_have_few_digits() {
        assert_eq!([0.0, 0.5, 64.0, 1000.0, 2500.0, 3e6].map(short), ["0", "0.5", "64", "1 k", "2.5 k", "3 M"]);
        assert_eq!([0.1 + 0.2, 200.0, 1500.0, 2e6].map(time), ["0.3 us", "200 us", "1.5 ms", "2 s"]);
    }

    #[test]
    fn nothing_is_no_plot() {
        let series = Series { name: "a".to_owned(), chains: vec![vec![dot(0.0, 1.0)]], marks: true };
        let plot = Plot { title: "t".to_owned(), x: axis(true), y: axis(true), series: vec![series] };
        assert_eq!(plot.svg().unwrap(), None, "zero has no place on a logarithmic axis");
    }
}
