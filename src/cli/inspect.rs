//! `naxos inspect`: the report of [`crate::inspect`], for people or as JSON.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::args::{Global, Inspect};
use super::{exit, output};
use crate::base::Offset;
use crate::inspect::{Explained, InspectError, JournalReport, Options, Report, Severity, Start, inspect};

/// Holes of one loglet that the table shows; JSON has all.
const HOLES_SHOWN: usize = 4;
/// Findings shown without being asked for; JSON has all.
const FINDINGS_SHOWN: usize = 50;

pub(super) fn run(global: &Global, options: &Inspect) -> anyhow::Result<()> {
    let wanted =
        Options { live: options.live, units: options.units, segment: options.segment, device: options.device.clone() };
    let report = inspect(&options.dir, &wanted).map_err(|error| match error {
        InspectError::NotADataDirectory { .. }
        | InspectError::Running(_)
        | InspectError::DeviceNotNamed { .. }
        | InspectError::Device(_) => exit::coded(exit::USAGE, error.to_string()),
        InspectError::Lock(_) | InspectError::Read { .. } => error.into(),
    })?;
    if global.json {
        output::json(&report)?;
    } else {
        for text in describe(&report, options) {
            output::text(text)?;
        }
    }
    if report.intact {
        return Ok(());
    }
    let damages = report.findings.iter().filter(|found| found.finding.severity != Severity::Notice).count();
    let findings = if damages == 1 { "finding" } else { "findings" };
    Err(exit::coded(exit::DAMAGED, format!("{} is damaged: {damages} {findings}", options.dir.display())))
}

/// Writes one part of the report.
type Section = fn(&Report) -> String;

fn describe(report: &Report, options: &Inspect) -> Vec<String> {
    let mut texts = vec![identity(report)];
    if report.live {
        texts.push("A node is RUNNING on this directory: what follows was changing while it was read.".to_owned());
    }
    texts.push(String::new());
    texts.push(journals(report));
    let sections: [(bool, &str, Section); 4] = [
        (options.segments, "Segments", segments),
        (options.units, "Units", units),
        (options.loglets, "Loglets", loglets),
        (options.cells, "Cells", cells),
    ];
    for (_, name, section) in sections.into_iter().filter(|(wanted, ..)| *wanted) {
        texts.push(format!("\n{name}"));
        texts.push(section(report));
    }
    texts.push(String::new());
    texts.extend(findings(report));
    texts
}

fn identity(report: &Report) -> String {
    match &report.node {
        Some(node) => {
            let device = node.device.map_or_else(String::new, |device| format!("\njournals on device {device}"));
            format!(
                "node {}\ncluster {}\n{} in {} (format {}){device}",
                node.node,
                node.cluster,
                plural(node.shards as u64, "shard"),
                report.directory,
                node.format
            )
        }
        None => format!("a node without a readable node.json in {}", report.directory),
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A table with these columns; those whose name ends with a colon hold text, the others numbers.
fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.map(|name| name.trim_end_matches(':')));
    table.add_rows(rows);
    for (column, name) in table.column_iter_mut().zip(columns) {
        if !name.ends_with(':') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// A name as it stands in the JSON.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        _ => "-".to_owned(),
    }
}

fn journals(report: &Report) -> String {
    let row = |journal: &JournalReport| {
        let role = |wanted: &[&str]| {
            let count =
                journal.segments.iter().filter(|segment| wanted.contains(&name(&segment.role).as_str())).count();
            count.to_string()
        };
        let loglets = report.loglets.iter().filter(|loglet| loglet.journal == journal.journal);
        let (count, records, missing) = loglets.fold((0u64, 0, 0), |(count, records, missing), loglet| {
            let holes: u64 = loglet.holes.iter().map(|(from, to)| to.since(*from)).sum();
            (count + 1, records + loglet.records, missing + holes)
        });
        let (end, next) = match &journal.start {
            Start::Accepts { end_sequence, next_life } => {
                (end_sequence.to_string(), format!("begins life {next_life}"))
            }
            Start::Refuses { .. } => ("-".to_owned(), "REFUSES".to_owned()),
            Start::Aborts => ("-".to_owned(), "FAILS".to_owned()),
        };
        [
            journal.journal.to_string(),
            role(&["live"]),
            role(&["free"]),
            role(&["reserve"]),
            journal.units.to_string(),
            end,
            count.to_string(),
            records.to_string(),
            missing.to_string(),
            next,
        ]
    };
    let columns =
        ["journal", "live", "free", "reserve", "units", "last unit", "loglets", "records", "missing", "next start:"];
    table(columns, report.journals.iter().map(row))
}

fn segments(report: &Report) -> String {
    let rows = report.journals.iter().flat_map(|journal| {
        journal.segments.iter().map(|segment| {
            let units = match (segment.first_sequence, segment.last_sequence) {
                (Some(first), Some(last)) => format!("{first}..={last}"),
                _ => "-".to_owned(),
            };
            [
                journal.journal.to_string(),
                segment.file.clone(),
                name(&segment.role),
                number(segment.segment),
                number(segment.life),
                segment.generation.clone().unwrap_or_else(|| "-".to_owned()),
                segment.units.to_string(),
                units,
                segment.used_bytes.to_string(),
                segment.bytes.to_string(),
                name(&segment.head),
                name(&segment.index),
            ]
        })
    });
    let columns = [
        "journal",
        "file:",
        "role:",
        "segment",
        "life",
        "generation:",
        "units",
        "sequences:",
        "used",
        "bytes",
        "head:",
        "index block:",
    ];
    table(columns, rows)
}

fn units(report: &Report) -> String {
    let segments =
        || report.journals.iter().flat_map(|journal| journal.segments.iter().map(|segment| (journal.journal, segment)));
    let check = |holds: bool, text: &str| if holds { text.to_owned() } else { format!("{text} BAD") };
    let rows = segments().flat_map(|(journal, segment)| {
        segment.unit_rows.iter().map(move |unit| {
            let checks = [(unit.table_holds, "table"), (unit.payload_holds, "payload"), (unit.linked, "link")];
            let checks = checks.map(|(holds, text)| check(holds, text)).join(", ");
            [
                journal.to_string(),
                number(segment.segment),
                unit.sequence.to_string(),
                unit.life.to_string(),
                unit.position.to_string(),
                unit.bytes.to_string(),
                unit.claim.to_string(),
                unit.entries.to_string(),
                unit.records.to_string(),
                unit.cells.to_string(),
                checks,
                name(&unit.state),
            ]
        })
    });
    let columns = [
        "journal", "segment", "sequence", "life", "offset", "bytes", "claim", "entries", "records", "cells", "checks:",
        "state:",
    ];
    let mut text = table(columns, rows);
    let omitted: u64 = segments().map(|(_, segment)| segment.unit_rows_omitted).sum();
    if omitted > 0 {
        text.push_str(&format!("\n{omitted} more are not shown; ask for one segment with --segment"));
    }
    text
}

fn range((from, to): &(Offset, Offset)) -> String {
    format!("[{from}, {to})")
}

fn loglets(report: &Report) -> String {
    let rows = report.loglets.iter().map(|loglet| {
        let mut state = if loglet.sealed { "sealed" } else { "open" }.to_owned();
        if loglet.catching_up {
            state.push_str(", copies from others first");
        }
        let mut holes: Vec<_> = loglet.holes.iter().take(HOLES_SHOWN).map(range).collect();
        if loglet.holes.len() > HOLES_SHOWN {
            holes.push(format!("and {} more", loglet.holes.len() - HOLES_SHOWN));
        }
        [
            loglet.journal.to_string(),
            loglet.id.to_string(),
            state,
            loglet.trim_point.to_string(),
            loglet.local_tail.to_string(),
            loglet.records.to_string(),
            if holes.is_empty() { "none".to_owned() } else { holes.join(" ") },
            loglet.config.as_ref().map_or(0, |config| config.log_servers.len()).to_string(),
        ]
    });
    table(["journal", "loglet:", "state:", "trim point", "local tail", "records", "holes:", "LogServers"], rows)
}

fn cells(report: &Report) -> String {
    let rows = report.cells.iter().map(|cell| {
        let value = cell.value.clone().unwrap_or_else(|| "not text".to_owned());
        let name = cell.name.replace('_', " ");
        [cell.journal.to_string(), cell.loglet.to_string(), name, cell.bytes.to_string(), value]
    });
    table(["journal", "loglet:", "kind:", "bytes", "value:"], rows)
}

fn findings(report: &Report) -> Vec<String> {
    if report.findings.is_empty() {
        return vec!["Intact: nothing is damaged.".to_owned()];
    }
    let mut texts: Vec<_> = report.findings.iter().take(FINDINGS_SHOWN).map(finding).collect();
    if report.findings.len() > FINDINGS_SHOWN {
        texts.push(format!("{} more findings; --json gives all", report.findings.len() - FINDINGS_SHOWN));
    }
    if report.intact {
        texts.push("Intact: nothing is damaged.".to_owned());
    }
    texts
}

fn finding(found: &Explained) -> String {
    let finding = &found.finding;
    let mut place = Vec::new();
    place.extend(finding.journal.map(|journal| format!("journal {journal}")));
    place.extend(finding.file.clone());
    place.extend(finding.segment.map(|segment| format!("segment {segment}")));
    place.extend(finding.position.map(|position| format!("byte {position}")));
    place.extend(finding.sequence.map(|sequence| format!("unit {sequence}")));
    let place = if place.is_empty() { String::new() } else { format!(" at {}", place.join(", ")) };
    let unseen = if finding.seen_by_start { "" } else { "\n    A start does not look at this place." };
    format!(
        "{}: {}{place}\n    {}.\n    {}.{unseen}",
        name(&finding.severity).to_uppercase(),
        name(&finding.class),
        finding.detail,
        capitalised(&found.meaning)
    )
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
