//! Where the time of a point's appends went: a waterfall of the means of its stages, and below it every run in one line.

use std::fmt::Write;

use naxos::base::Stage;
use naxos::loadgen::explain::micros;
use naxos::loadgen::sweep::summary::PointRuns;
use naxos::loadgen::waterfall::colour;

use super::plots::{group, offer};

const WIDTH: f64 = 720.0;
/// Where the bars begin and end.
const LEFT: f64 = 108.0;
const RIGHT: f64 = 560.0;
const ROW: f64 = 21.0;
const BAR: f64 = 14.0;
/// Lines of runs are closer to each other.
const RUN_ROW: f64 = 17.0;
const RUN_BAR: f64 = 10.0;
const GAP: f64 = 10.0;

/// One point.
pub(super) struct Waterfall {
    pub(super) title: String,
    /// Means over all runs, in microseconds, in the order of the stages.
    means: Stages,
    /// Of each run its number and its means.
    runs: Vec<(u32, Stages)>,
}

type Stages = [f64; Stage::ALL.len()];

/// Of every point that has valid runs whose stages are known.
pub(super) fn waterfalls(points: &[PointRuns]) -> Vec<Waterfall> {
    points.iter().filter_map(Waterfall::of).collect()
}

impl Waterfall {
    fn of(point: &PointRuns) -> Option<Self> {
        let known = point.valid().filter_map(|row| Some((row.run, row.batches?, row.stages()?)));
        let known: Vec<(u32, u64, Stages)> = known.collect();
        let batches: u64 = known.iter().map(|(_, batches, _)| batches).sum();
        if batches == 0 {
            return None;
        }
        let mean = |stage: Stage| {
            let sum: f64 = known.iter().map(|(_, batches, stages)| *batches as f64 * stages[stage as usize]).sum();
            sum / batches as f64
        };
        Some(Self {
            title: format!("{}, {}", offer(point.first()), group(point.first())),
            means: Stage::ALL.map(mean),
            runs: known.into_iter().map(|(run, _, stages)| (run, stages)).collect(),
        })
    }

    pub(super) fn svg(&self) -> String {
        let whole = |stages: &Stages| stages.iter().sum::<f64>();
        let mean = whole(&self.means);
        let longest = self.runs.iter().map(|(_, stages)| whole(stages)).fold(mean, f64::max).max(f64::MIN_POSITIVE);
        let mut drawing = Drawing { body: String::new(), y: 0.0, longest };
        let mut at = 0.0;
        for (stage, took) in Stage::ALL.into_iter().zip(self.means) {
            let share = if mean > 0.0 { took / mean * 100.0 } else { 0.0 };
            drawing.text(0.0, BAR, stage.name());
            drawing.bar(at, took, BAR, stage);
            drawing.text(RIGHT + 12.0, BAR, &format!("{}, {share:.1} %", micros(took)));
            drawing.y += ROW;
            at += took;
        }
        drawing.y += GAP;
        for (run, stages) in &self.runs {
            drawing.text(0.0, RUN_BAR, &format!("run {run}"));
            let mut at = 0.0;
            for (stage, took) in Stage::ALL.into_iter().zip(*stages) {
                drawing.bar(at, took, RUN_BAR, stage);
                at += took;
            }
            drawing.text(RIGHT + 12.0, RUN_BAR, &micros(at));
            drawing.y += RUN_ROW;
        }
        let height = drawing.y;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n{}</svg>",
            drawing.body
        )
    }
}

/// From the top down.
struct Drawing {
    body: String,
    y: f64,
    /// What takes the whole width.
    longest: f64,
}

impl Drawing {
    fn text(&mut self, x: f64, bar: f64, text: &str) {
        let y = self.y + bar / 2.0 + 4.0;
        writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>").expect("memory takes it");
    }

    fn bar(&mut self, from: f64, took: f64, height: f64, stage: Stage) {
        let place = |micros: f64| micros / self.longest * (RIGHT - LEFT);
        // What takes no time that could be seen is seen all the same.
        let (x, width, y) = (LEFT + place(from), place(took).max(0.5), self.y);
        let (colour, name, time) = (colour(stage), stage.name(), micros(took));
        writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"><title>{name}: {time}</title></rect>"
        )
        .expect("memory takes it");
    }
}

#[cfg(test)]
mod tests {
    use naxos::loadgen::sweep::row::Row;

    use super::*;

    fn run(run: u32, batches: Option<u64>, device: f64) -> Row {
        Row {
            run,
            valid: true,
            batches,
            client_queue_us: Some(10.0),
            network_in_us: Some(10.0),
            sequencing_us: Some(0.0),
            batch_wait_us: Some(0.0),
            submit_us: Some(0.0),
            device_us: Some(device),
            quorum_wait_us: Some(0.0),
            release_us: Some(0.0),
            network_out_us: Some(0.0),
            ..Row::default()
        }
    }

    fn waterfall(rows: Vec<Row>) -> Option<Waterfall> {
        Waterfall::of(&PointRuns { rows })
    }

    #[test]
    fn means_are_of_all_batches_of_the_valid_runs() {
        let invalid = Row { valid: false, ..run(3, Some(1_000), 900.0) };
        let all = waterfall(vec![run(1, Some(1), 100.0), run(2, Some(3), 20.0), invalid, run(4, None, 900.0)]).unwrap();
        assert_eq!(all.means[Stage::Device as usize], 40.0);
        assert_eq!(all.runs.iter().map(|(run, _)| *run).collect::<Vec<_>>(), [1, 2]);
        assert!(
            waterfall(vec![run(1, None, 1.0)]).is_none()
                && waterfall(vec![Row { device_us: None, ..run(1, Some(1), 1.0) }]).is_none()
        );
    }

    #[test]
    fn stages_begin_where_the_ones_before_end_on_one_scale_with_the_runs() {
        let svg = waterfall(vec![run(1, Some(1), 80.0), run(2, Some(1), 180.0)]).unwrap().svg();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let number = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let bars = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "rect")));
        let bars: Vec<_> = bars.map(|bar| (number(bar, "x"), number(bar, "width"))).collect();
        assert_eq!(bars.len(), 3 * Stage::ALL.len());
        for of_one in bars.chunks(Stage::ALL.len()) {
            assert_eq!(of_one[0].0, LEFT);
            assert!(of_one.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0 + 0.61), "{of_one:?}");
        }
        // The second run is the longest, 200 us, and takes the whole width.
        let end = |index: usize| bars[index * Stage::ALL.len() + Stage::Device as usize];
        assert!((end(2).0 + end(2).1 - RIGHT).abs() < 0.2);
        assert!((end(1).1 / (RIGHT - LEFT) - 0.4).abs() < 0.001 && (end(0).1 / (RIGHT - LEFT) - 0.65).abs() < 0.001);
    }
}
