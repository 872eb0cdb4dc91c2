//! The page: what was measured on what, what speaks against it, plots and tables.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use naxos::loadgen::explain::micros;
use naxos::loadgen::sweep::manifest::Manifest;
use naxos::loadgen::sweep::record::Sweep;
use naxos::loadgen::sweep::row::Row;
use naxos::loadgen::sweep::summary::{PointRuns, Summary};

use super::peers;
use super::plot::Plot;
use super::plots::plots;
use super::stages::{Waterfall, waterfalls};
use crate::table::thousands;

const STYLE: &str = include_str!("style.css");

/// Writes the page of a sweep, and returns its path. It is made of the record, so that an earlier page may be replaced.
pub(crate) fn write(directory: &Path, peers: Option<&Path>, out: Option<&Path>) -> anyhow::Result<PathBuf> {
    let sweep = Sweep::read(directory).with_context(|| format!("{} is no sweep", directory.display()))?;
    let peers = peers.map(peers::read).transpose()?;
    let page = page(&sweep, peers.as_deref())?;
    let path = out.map_or_else(|| directory.join("report.html"), Path::to_owned);
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Text that cannot be taken for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A page under construction. It is also XML, so that a program can read it.
struct Page(String);

impl Page {
    fn add(&mut self, markup: impl AsRef<str>) {
        self.0.push_str(markup.as_ref());
        self.0.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.add(format!("<h2>{}</h2>", escaped(text)));
    }

    fn code(&mut self, text: &str) {
        self.add(format!("<pre>{}</pre>", escaped(text)));
    }

    /// Cells are text; those of columns that `is_text` names are aligned like it.
    fn table(&mut self, head: &[&str], is_text: &[usize], rows: impl Iterator<Item = (Vec<String>, bool)>) {
        let cells = |tag: &str, cells: &[String]| {
            let cell = |(index, cell): (usize, &String)| {
                let class = if is_text.contains(&index) { " class=\"text\"" } else { "" };
                format!("<{tag}{class}>{}</{tag}>", escaped(cell))
            };
            cells.iter().enumerate().map(cell).collect::<String>()
        };
        let head: Vec<_> = head.iter().map(|&cell| cell.to_owned()).collect();
        self.add("<div class=\"wide\"><table>");
        self.add(format!("<tr>{}</tr>", cells("th", &head)));
        for (row, bad) in rows {
            let class = if bad { " class=\"bad\"" } else { "" };
            self.add(format!("<tr{class}>{}</tr>", cells("td", &row)));
        }
        self.add("</table></div>");
    }

    /// Begins a figure, which its caller ends.
    fn figure(&mut self, title: &str, svg: &str) {
        self.add(format!("<figure><h3>{}</h3>", escaped(title)));
        self.add(svg);
    }

    fn waterfalls(&mut self, waterfalls: &[Waterfall]) {
        self.add("<div class=\"plots\">");
        for waterfall in waterfalls {
            self.figure(&waterfall.title, &waterfall.svg());
            self.add("</figure>");
        }
        self.add("</div>");
    }

    fn plots(&mut self, plots: &[Plot]) -> anyhow::Result<()> {
        self.add("<div class=\"plots\">");
        for plot in plots {
            let Some(svg) = plot.svg()? else { continue };
            self.figure(&plot.title, &svg);
            self.add("<ul class=\"legend\">");
            for (name, colour) in plot.legend() {
                self.add(format!("<li><i style=\"background:{colour}\"></i>{}</li>", escaped(name)));
            }
            self.add("</ul></figure>");
        }
        self.add("</div>");
        Ok(())
    }
}

fn page(sweep: &Sweep, peers: Option<&[peers::Row]>) -> anyhow::Result<String> {
    let manifest = &sweep.manifest;
    let title = format!("Naxos {}: {} of {} runs", manifest.commit, manifest.runs_done, manifest.runs);
    let mut page = Page("<!DOCTYPE html>\n".to_owned());
    page.add("<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\"><head><meta charset=\"utf-8\" />");
    page.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />");
    page.add(format!("<title>{}</title>\n<style>\n{STYLE}</style></head><body>", escaped(&title)));
    page.add(format!("<h1>{}</h1>", escaped(&title)));
    page.add(format!("<p class=\"soft\">{}</p>", escaped(&facts(manifest))));
    warnings(&mut page, manifest);
    page.code(&manifest.command);
    page.heading("Plots");
    page.add("<p class=\"soft\">Medians of the valid runs; bars reach from the least to the most of them. Labels are clients × appends in \
              flight, or the rate of an open loop.</p>");
    page.plots(&plots(sweep))?;
    let waterfalls = waterfalls(&sweep.points());
    if !waterfalls.is_empty() {
        page.heading("Where the time of an append goes");
        page.add("<p class=\"soft\">Means of the stages, each of which begins where the one before ends, of the oldest record of every batch \
                  of the valid runs; below them, on the same scale, the stages of each run.</p>");
        page.waterfalls(&waterfalls);
    }
    if let Some(rows) = peers {
        page.heading("Beside other systems");
        page.plots(&[peers::plot(rows)])?;
        peers_table(&mut page, rows);
    }
    page.heading("Points");
    points_table(&mut page, &sweep.points());
    let failed: Vec<_> = sweep.rows.iter().filter(|row| !row.valid).collect();
    if !failed.is_empty() {
        page.heading("Runs that have failed or are not valid");
        let rows = failed.iter().map(|row| (vec![row.run.to_string(), row.point.clone(), row.error.clone()], true));
        page.table(&["run", "point", "why"], &[1, 2], rows);
    }
    page.heading("One run of each point");
    page.code(&manifest.points.iter().map(|point| point.command.as_str()).collect::<Vec<_>>().join("\n"));
    page.heading("The matrix");
    page.code(&manifest.matrix);
    page.heading("The machine");
    page.code(&serde_json::to_string_pretty(&serde_json::json!({
        "machine": manifest.machine, "host": manifest.host, "cores": manifest.cores, "noise": manifest.noise,
        "drift": manifest.drift
    }))?);
    page.add("</body></html>");
    Ok(page.0)
}

fn facts(manifest: &Manifest) -> String {
    let machine = &manifest.machine;
    let ended = manifest.ended.as_deref().unwrap_or("it has not ended");
    format!(
        "{}, {} cores; Linux {}; disk {} (write cache: {}); drivers: {}; durability: {}; {} build; {} to {ended}",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.disk,
        machine.write_cache,
        manifest.drivers.join(", "),
        manifest.durability,
        manifest.build,
        manifest.started
    )
}

fn warnings(page: &mut Page, manifest: &Manifest) {
    let incomplete = (!manifest.complete).then(|| {
        let why = manifest.ended_by.as_deref().unwrap_or("it goes on, or was ended by force");
        format!("this sweep is incomplete: {why}")
    });
    let all: Vec<_> = incomplete.iter().chain(&manifest.warnings).collect();
    if all.is_empty() {
        return;
    }
    page.add("<div class=\"warnings\"><ul>");
    all.iter().for_each(|warning| page.add(format!("<li>{}</li>", escaped(warning))));
    page.add("</ul></div>");
}

fn points_table(page: &mut Page, points: &[PointRuns]) {
    let head = [
        "point",
        "valid",
        "appends/s",
        "spread",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "worst",
        "floor",
        "p50 / floor",
        "disk share",
    ];
    let rows = points.iter().map(|point| {
        let (valid, all) = (point.valid().count(), point.rows.len());
        let time = |number: fn(&Row) -> Option<f64>| point.median(number).map_or_else(none, micros);
        let number =
            |number: fn(&Row) -> Option<f64>| point.median(number).map_or_else(none, |value| format!("{value:.2}"));
        let rate = point.summary(|row| row.appends_per_s);
        let worst = point.summary(|row| row.max_us).map_or_else(none, |all| micros(all.max));
        let cells = vec![
            point.first().point.clone(),
            format!("{valid} of {all}"),
            rate.map_or_else(none, |rate| thousands(rate.median)),
            rate.map_or_else(none, |rate| format!("{:.1} %", rate.spread() * 100.0)),
            time(|row| row.p50_us),
            time(|row| row.p90_us),
            time(|row| row.p99_us),
            time(|row| row.p999_us),
            worst,
            time(|row| row.floor_append_p50_us),
            number(|row| row.p50_over_floor),
            number(|row| row.disk_share),
        ];
        (cells, valid < all)
    });
    page.table(&head, &[], rows);
    let rates = points.iter().filter_map(|point| point.median(|row| row.appends_per_s));
    if let Some(Summary { max, .. }) = Summary::of(rates) {
        let mut text = String::new();
        write!(text, "<p class=\"soft\">The most: {} appends/s.</p>", thousands(max)).expect("memory takes it");
        page.add(text);
    }
}

fn none() -> String {
    "-".to_owned()
}

fn peers_table(page: &mut Page, rows: &[peers::Row]) {
    let row = |row: &peers::Row| {
        let cells = vec![
            format!("{} {}", row.system, row.version),
            row.shape.clone(),
            thousands(row.appends_per_s),
            micros(row.p50_us),
            micros(row.p99_us),
            row.durability.clone(),
            row.copies.to_string(),
        ];
        (cells, false)
    };
    page.table(&["system", "shape", "appends/s", "p50", "p99", "durability", "copies"], &[1, 5], rows.iter().map(row));
}
