//! A picture of where the time of an append goes: one file, without anything from elsewhere.

use super::drawing::{Drawing, MARGIN};
use super::explain::micros;
use super::stages::{Slow, StageReport};
use crate::base::Stage;

/// Where the bars begin and end.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 780.0;
/// Of the stages in their order: two hues for the ways, the client's own dark, the servers' in between.
const COLOURS: [&str; 9] =
    ["#4a5568", "#63a4d8", "#8d6cc2", "#e0a03c", "#c96f3b", "#c0392b", "#3d9970", "#7fb069", "#2b6ca3"];

/// The colour of a stage.
pub fn colour(stage: Stage) -> &'static str {
    COLOURS[stage as usize]
}

/// A bar from one share of the whole width to another.
fn bar(drawing: &mut Drawing, from: f64, to: f64, stage: Stage, title: &str) {
    let x = |share: f64| LEFT + share * (RIGHT - LEFT);
    drawing.bar(x(from), x(to), colour(stage), title);
}

/// The means of the stages as a waterfall, each beginning where the one before ends, and the slowest appends, each as one bar.
pub fn svg(report: &StageReport, title: &str) -> String {
    let mut drawing = Drawing::new(title);
    means(&mut drawing, report);
    slowest(&mut drawing, report);
    drawing.finish()
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
        bar(drawing, at, end, stage, &format!("{}: {numbers}", stage.name()));
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
            bar(drawing, at / longest, (at + took) / longest, stage, &format!("{}: {}", stage.name(), micros(took)));
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
