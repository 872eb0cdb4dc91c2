//! A picture of where the time of an append goes: one file, without anything from elsewhere.

use std::fmt::Write;

use super::explain::micros;
use super::stages::{Slow, StageReport};
use crate::base::Stage;

const WIDTH: f64 = 1120.0;
const MARGIN: f64 = 20.0;
/// Where the bars begin and end.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 780.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
/// Of the stages in their order: two hues for the ways, the client's own dark, the servers' in between.
const COLOURS: [&str; 9] =
    ["#4a5568", "#63a4d8", "#8d6cc2", "#e0a03c", "#c96f3b", "#c0392b", "#3d9970", "#7fb069", "#2b6ca3"];

/// The colour of a stage.
pub fn colour(stage: Stage) -> &'static str {
    COLOURS[stage as usize]
}

/// A drawing under construction, from the top down.
struct Drawing {
    body: String,
    y: f64,
}

impl Drawing {
    fn text(&mut self, x: f64, class: &str, text: &str) {
        let y = self.y + BAR - 3.0;
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escaped(text));
    }

    fn bar(&mut self, from: f64, to: f64, stage: Stage, title: &str) {
        // What takes no time that could be seen is seen all the same.
        let (x, width) = (LEFT + from * (RIGHT - LEFT), ((to - from) * (RIGHT - LEFT)).max(0.5));
        let (y, colour, title) = (self.y, colour(stage), escaped(title));
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"><title>{title}</title></rect>"#
        );
    }

    fn next(&mut self) {
        self.y += ROW;
    }

    fn heading(&mut self, text: &str) {
        self.y += ROW / 2.0;
        self.text(MARGIN, "heading", text);
        self.y += 1.25 * ROW;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The means of the stages as a waterfall, each beginning where the one before ends, and the slowest appends, each as one bar.
pub fn svg(report: &StageReport, title: &str) -> String {
    let mut drawing = Drawing { body: String::new(), y: MARGIN };
    drawing.text(MARGIN, "title", title);
    drawing.next();
    means(&mut drawing, report);
    slowest(&mut drawing, report);
    let height = drawing.y + MARGIN;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>text {{ font: 12px sans-serif; fill: #222 }} .title {{ font-size: 15px; font-weight: bold }} .heading {{ font-weight: bold }}
.number {{ fill: #555 }}</style>
<rect width="{WIDTH}" height="{height}" fill="white"/>
{}</svg>
"#,
        drawing.body
    )
}

fn means(drawing: &mut Drawing, report: &StageReport) {
    drawing.heading(&format!(
        "mean of the oldest record of each of {} batches: {}",
        report.batches,
        micros(report.whole.mean)
    ));
    let whole: f64 = report.stages.iter().map(|times| times.mean).sum();
    let mut at = 0.0;
    for (stage, times) in Stage::ALL.into_iter().zip(&report.stages) {
        let end = at + if whole > 0.0 { times.mean / whole } else { 0.0 };
        let numbers = format!(
            "{}, {:.1} %, p50 {}, p99 {}",
            micros(times.mean),
            times.share * 100.0,
            micros(times.p50),
            micros(times.p99)
        );
        drawing.text(MARGIN, "name", stage.name());
        drawing.bar(at, end, stage, &format!("{}: {numbers}", stage.name()));
        drawing.text(RIGHT + 15.0, "number", &numbers);
        drawing.next();
        at = end;
    }
}

fn slowest(drawing: &mut Drawing, report: &StageReport) {
    let Some(longest) = report.slowest.first().map(|slow| slow.total_us).filter(|total| *total > 0.0) else { return };
    drawing.heading("the slowest, from the first record's coming to the answer; whose answer completed the majority");
    for slow in &report.slowest {
        drawing.text(MARGIN, "name", &format!("{} at offset {}", micros(slow.total_us), slow.first));
        let mut at = 0.0;
        for stage in Stage::ALL {
            let took = slow.stage_us(stage);
            drawing.bar(at / longest, (at + took) / longest, stage, &format!("{}: {}", stage.name(), micros(took)));
            at += took;
        }
        drawing.text(RIGHT + 15.0, "number", &last(slow));
        drawing.next();
    }
}

fn last(slow: &Slow) -> String {
    let node = slow.last_node.map_or("?".to_owned(), |node| node.to_string().chars().take(8).collect());
    format!("mostly {}, last answer of node {node}", slow.longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::AppendProfile;

    /// The attribute of every bar, in order.
    fn bars(svg: &str, attribute: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.starts_with("<rect x="));
        let value = |line: &str| {
            let from = line.find(&format!(" {attribute}=\"")).unwrap() + attribute.len() + 3;
            line[from..].split('"').next().unwrap().parse().unwrap()
        };
        bars.map(value).collect()
    }

    #[test]
    fn each_stage_begins_where_the_one_before_ends() {
        let mut report = StageReport::new(&AppendProfile::default(), &[]);
        for (index, times) in report.stages.iter_mut().enumerate() {
            times.mean = (index + 1) as f64 * 10.0;
        }
        let svg = svg(&report, "a < b & c");
        assert!(svg.contains("a &lt; b &amp; c") && svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        let (starts, widths) = (bars(&svg, "x"), bars(&svg, "width"));
        assert_eq!(starts.len(), Stage::ALL.len());
        for index in 1..starts.len() {
            assert!((starts[index - 1] + widths[index - 1] - starts[index]).abs() < 0.2, "{index}");
        }
        let end = starts.last().unwrap() + widths.last().unwrap();
        assert!((end - RIGHT).abs() < 0.2, "all of them make up the whole width");
        assert!((widths[8] / widths[0] - 9.0).abs() < 0.1);
    }

    #[test]
    fn nothing_measured_draws_no_nonsense() {
        let svg = svg(&StageReport::new(&AppendProfile::default(), &[]), "empty");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
