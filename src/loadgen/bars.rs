//! Bars under each other, in panels with a scale each, as a picture: one file, without anything from elsewhere.

use super::drawing::{Drawing, MARGIN};

/// Where the bars begin and end.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 700.0;
/// Letters of a line of notes that surely fit into the width.
const LINE_LETTERS: usize = 160;

/// Bars that are measured with one scale.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What they show, with the unit.
    pub heading: String,
    /// From the top down.
    pub bars: Vec<Bar>,
}

/// One number.
#[derive(Debug, Clone)]
pub struct Bar {
    /// At the left of it.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// From where to where it was measured, if more than once.
    pub spread: Option<[f64; 2]>,
    /// At the right of it.
    pub number: String,
    /// As SVG has it.
    pub colour: &'static str,
}

/// The panels, and notes below them, each a paragraph.
pub fn svg(title: &str, panels: &[Panel], notes: &[String]) -> String {
    let mut drawing = Drawing::new(title);
    for panel in panels {
        drawing.heading(&panel.heading);
        let ends = panel.bars.iter().map(|bar| bar.spread.map_or(bar.value, |[_, most]| most.max(bar.value)));
        let longest = ends.fold(0.0, f64::max);
        let x = |value: f64| LEFT + if longest > 0.0 { value / longest } else { 0.0 } * (RIGHT - LEFT);
        for bar in &panel.bars {
            drawing.text(MARGIN, "name", &bar.label);
            drawing.bar(LEFT, x(bar.value), bar.colour, &format!("{}: {}", bar.label, bar.number));
            if let Some([least, most]) = bar.spread {
                drawing.whisker(x(least), x(most));
            }
            drawing.text(RIGHT + 15.0, "number", &bar.number);
            drawing.next();
        }
    }
    if !notes.is_empty() {
        drawing.heading("what differs from the publication");
    }
    for line in notes.iter().flat_map(|note| wrapped(note)) {
        drawing.text(MARGIN, "number", &line);
        drawing.next();
    }
    drawing.finish()
}

/// In lines that fit, divided between words; all but the first are indented.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::from("-")];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if line.chars().count() + 1 + word.chars().count() > LINE_LETTERS {
            // Spaces at the beginning would not be drawn.
            lines.push(format!("\u{a0}\u{a0}{word}"));
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64, spread: Option<[f64; 2]>) -> Bar {
        Bar { label: label.to_owned(), value, spread, number: format!("{value}"), colour: "#123456" }
    }

    fn widths(svg: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.contains("#123456"));
        let width = |line: &str| line.split(r#" width=""#).nth(1)?.split('"').next()?.parse().ok();
        bars.map(|line| width(line).expect("a bar has a width")).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_in_each_panel() {
        let one = Panel { heading: "a < b".to_owned(), bars: vec![bar("x", 50.0, None), bar("y", 100.0, None)] };
        let other = Panel { heading: "&".to_owned(), bars: vec![bar("z", 2.0, Some([1.0, 4.0]))] };
        let svg = svg("title", &[one, other], &["note".to_owned()]);
        assert!(svg.contains("a &lt; b") && svg.contains("&amp;") && svg.contains("- note"));
        let whole = RIGHT - LEFT;
        // The last one's scale has room for its largest measurement.
        assert_eq!(widths(&svg), [whole / 2.0, whole, whole / 2.0]);
        assert!(svg.contains("<path d=\"M") && !svg.contains("http://www.w3.org/1999"));
    }

    #[test]
    fn nothing_measured_draws_no_nonsense() {
        let panel = Panel { heading: "empty".to_owned(), bars: vec![bar("x", 0.0, Some([0.0, 0.0]))] };
        let svg = svg("title", &[panel], &[]);
        assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("differs"));
    }

    #[test]
    fn notes_are_divided_between_words_and_nothing_is_lost() {
        let text = "word ".repeat(100);
        let lines = wrapped(text.trim_end());
        assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= LINE_LETTERS));
        let words: usize = lines.iter().map(|line| line.matches("word").count()).sum();
        assert_eq!(words, 100);
    }
}
