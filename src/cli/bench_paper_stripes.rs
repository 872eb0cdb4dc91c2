//! `naxos bench paper stripes`: throughput over the number of stripes, each with nodes of its own or all on the same three.

use serde_json::{Value, json};

use super::bench_paper::{COPIES, Figure, PaperOptions, differences, listed};
use super::bench_paper_turns::{Row, Subject, measure, remarks};
use super::interrupt::Interrupt;
use super::status_table::Table;
use crate::client::Stripes;
use crate::loadgen::bars::{self, Bar, Panel};
use crate::loadgen::explain::{count, micros};

pub(super) const NAME: &str = "stripes";
/// Of logs whose sequencers rotate over three nodes.
const ROTATING: [usize; 3] = [2, 4, 8];
/// Stripes of three nodes each, and appends of 1 KB a second.
const PUBLISHED: [(usize, f64); 5] = [(1, 35e3), (10, 345e3), (20, 670e3), (30, 945e3), (40, 1015e3)];
const PUBLISHED_P99_MS_MAX: u32 = 75;
const CLAIM: &str = "a log of several loglets of three nodes each takes nearly as many times the appends of one, until something \
                     else is the bound";

/// One stripe first, with which the others are compared.
fn subjects(nodes_max: u16) -> Vec<Subject> {
    let one = Subject { name: "one".to_owned(), stripes: Stripes { count: 1, sharded: false }, nodes: COPIES };
    let sharded = (2..=nodes_max / COPIES).map(|count| Subject {
        name: format!("sharded-{count}"),
        stripes: Stripes { count: count.into(), sharded: true },
        nodes: count * COPIES,
    });
    let rotating = ROTATING.into_iter().map(|count| Subject {
        name: format!("rotating-{count}"),
        stripes: Stripes { count, sharded: false },
        nodes: COPIES,
    });
    [one].into_iter().chain(sharded).chain(rotating).collect()
}

fn published(stripes: usize) -> Option<f64> {
    PUBLISHED.iter().find(|(count, _)| *count == stripes).map(|(_, rate)| *rate)
}

/// As it was published, to the last digit.
fn thousands(rate: f64) -> String {
    format!("{:.0} k", rate / 1e3)
}

pub(super) fn run(options: &PaperOptions, interrupt: &Interrupt) -> anyhow::Result<Figure> {
    let (rows, ran) = measure(options, NAME, &subjects(options.nodes_max), interrupt)?;
    let notes = differences(
        options,
        &ran,
        &[
            "Fewer stripes: as many as the nodes of this run allow, three for each. The publication goes to 40, on 120 LogServers.",
            "Rotating rows have all stripes on the same three nodes, which the published row has not: they show what a sequencer costs, and \
             add no LogServers.",
        ],
    );
    let valid = rows.iter().all(|row| row.valid);
    let found = json!({
        "claim": CLAIM,
        "published": PUBLISHED.map(|(stripes, rate)| json!({ "stripes": stripes, "nodes": 3 * stripes, "appends_per_s": rate })),
        "published_p99_ms_max": PUBLISHED_P99_MS_MAX,
        "clients": options.clients,
        "rows": rows.iter().map(|row| object(row, &rows[0])).collect::<Result<Vec<_>, _>>()?,
        "differs": notes,
    });
    Ok(Figure {
        name: NAME,
        report: Figure::report(NAME, options, &ran, found, valid)?,
        text: text(options, &rows, &notes),
        svg: svg(options, &rows, &notes),
        valid,
    })
}

fn object(row: &Row, one: &Row) -> serde_json::Result<Value> {
    let ratio = row.ratio_to(one);
    let mut object = serde_json::to_value(row)?;
    object["ratio_to_one"] = json!(ratio.median);
    object["ratio_to_one_ci95"] = json!(ratio.ci95);
    // Published are stripes with nodes of their own, of which one is the same in both.
    object["published_appends_per_s"] = json!(published(row.stripes).filter(|_| row.layout != "rotating"));
    Ok(object)
}

fn text(options: &PaperOptions, rows: &[Row], notes: &[String]) -> String {
    let heading =
        ["LOG", "STRIPES", "NODES", "APPENDS/S", "LEAST", "MOST", "RATIO", "p50", "p99", "FILLERS", "PUBLISHED"];
    let mut table = Table::new(&heading, rows.len());
    for row in rows {
        let [least, most] = row.spread();
        table.row(vec![
            row.layout.to_owned(),
            row.stripes.to_string(),
            row.nodes.to_string(),
            count(row.appends_per_s),
            count(least),
            count(most),
            format!("{:.2}", row.ratio_to(&rows[0]).median),
            micros(row.latency_us.p50),
            micros(row.latency_us.p99),
            row.filler_share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
            published(row.stripes).filter(|_| row.layout != "rotating").map_or("-".to_owned(), thousands),
        ]);
    }
    let published: Vec<String> = PUBLISHED
        .iter()
        .map(|(stripes, rate)| format!("{} on {stripes} (x {:.1})", thousands(*rate), rate / PUBLISHED[0].1))
        .collect();
    format!(
        "stripes: {} B records, {} clients, medians of {} rounds\n\n{table}\n\npublished: {} stripes of three nodes, p99 below {} ms\n{}\n{}",
        options.record_bytes,
        options.clients,
        options.rounds,
        published.join(", "),
        PUBLISHED_P99_MS_MAX,
        listed(notes),
        remarks(rows)
    )
}

fn svg(options: &PaperOptions, rows: &[Row], notes: &[String]) -> String {
    let colour = |row: &Row| match row.layout {
        "one" => "#4a5568",
        "sharded" => "#2b6ca3",
        _ => "#c96f3b",
    };
    let measured = rows.iter().map(|row| {
        let fillers = row.filler_share.map_or(String::new(), |share| format!(", fillers {:.2} %", share * 100.0));
        Bar {
            label: match row.layout {
                "one" => format!("1 stripe, {} nodes", row.nodes),
                layout => format!("{} stripes, {layout}, {} nodes", row.stripes, row.nodes),
            },
            value: row.appends_per_s,
            spread: Some(row.spread()),
            number: format!(
                "{}/s, x {:.2}, p50 {}, p99 {}{fillers}",
                count(row.appends_per_s),
                row.ratio_to(&rows[0]).median,
                micros(row.latency_us.p50),
                micros(row.latency_us.p99)
            ),
            colour: colour(row),
        }
    });
    let published = PUBLISHED.iter().map(|(stripes, rate)| Bar {
        label: format!("{stripes} {}, {} nodes", if *stripes == 1 { "stripe" } else { "stripes" }, 3 * stripes),
        value: *rate,
        spread: None,
        number: format!("{}/s, x {:.1}", thousands(*rate), rate / PUBLISHED[0].1),
        colour: "#a0a8b0",
    });
    let panels = [
        Panel {
            heading: format!("here: appends/s, medians of {} rounds, and the least and the most", options.rounds),
            bars: measured.collect(),
        },
        Panel {
            heading: format!("published (OSDI'20): appends/s at p99 below {PUBLISHED_P99_MS_MAX} ms; another scale"),
            bars: published.collect(),
        },
    ];
    let title = format!("Throughput over stripes: {} B records, {} clients", options.record_bytes, options.clients);
    bars::svg(&title, &panels, notes)
}

#[cfg(test)]
mod tests {
    use super::super::stripes;
    use super::*;

    #[test]
    fn there_are_as_many_sharded_stripes_as_the_nodes_allow() {
        let names = |nodes_max| subjects(nodes_max).into_iter().map(|subject| subject.name).collect::<Vec<_>>();
        assert_eq!(names(3), ["one", "rotating-2", "rotating-4", "rotating-8"]);
        assert_eq!(names(11)[..3], ["one", "sharded-2", "sharded-3"]);
        assert_eq!(names(11).len(), 6);
        for subject in subjects(15) {
            assert!(stripes::check(subject.stripes, subject.nodes.into(), false).is_ok(), "{subject:?}");
            assert_eq!(stripes::copies(subject.stripes, subject.nodes.into()), usize::from(COPIES));
        }
    }
}
