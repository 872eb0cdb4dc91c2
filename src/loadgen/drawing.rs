//! A drawing of lines under each other, some with bars: one file, without anything from elsewhere.

use std::fmt::Write;

/// Of the whole drawing.
pub(super) const WIDTH: f64 = 1120.0;
/// Around it.
pub(super) const MARGIN: f64 = 20.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;

/// A drawing under construction, from the top down.
pub(super) struct Drawing {
    body: String,
    y: f64,
}

impl Drawing {
    /// With a title.
    pub(super) fn new(title: &str) -> Self {
        let mut drawing = Self { body: String::new(), y: MARGIN };
        drawing.text(MARGIN, "title", title);
        drawing.next();
        drawing
    }

    pub(super) fn text(&mut self, x: f64, class: &str, text: &str) {
        let y = self.y + BAR - 3.0;
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escaped(text));
    }

    /// From one x to another; what takes no room that could be seen is seen all the same.
    pub(super) fn bar(&mut self, from: f64, to: f64, colour: &str, title: &str) {
        let (y, width, title) = (self.y, (to - from).max(0.5), escaped(title));
        let _ = writeln!(
            self.body,
            r#"<rect x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"><title>{title}</title></rect>"#
        );
    }

    /// A thin line across the bar of this row, with ends.
    pub(super) fn whisker(&mut self, from: f64, to: f64) {
        let (top, middle, bottom) = (self.y + 4.0, self.y + BAR / 2.0, self.y + BAR - 4.0);
        let _ = writeln!(
            self.body,
            r##"<path d="M{from:.1} {top:.1}V{bottom:.1}M{from:.1} {middle:.1}H{to:.1}M{to:.1} {top:.1}V{bottom:.1}" stroke="#222" fill="none"/>"##
        );
    }

    /// To the next row.
    pub(super) fn next(&mut self) {
        self.y += ROW;
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.y += ROW / 2.0;
        self.text(MARGIN, "heading", text);
        self.y += 1.25 * ROW;
    }

    /// The file.
    pub(super) fn finish(self) -> String {
        let height = self.y + MARGIN;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>text {{ font: 12px sans-serif; fill: #222 }} .title {{ font-size: 15px; font-weight: bold }} .heading {{ font-weight: bold }}
.number {{ fill: #555 }}</style>
<rect width="{WIDTH}" height="{height}" fill="white"/>
{}</svg>
"#,
            self.body
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
