//! `naxos bench paper rotating`: sequencers that rotate over the nodes of a log, against one on the same nodes, as these become more.

use serde_json::{Value, json};

use super::bench_paper::{Figure, PaperOptions, differences, listed};
use super::bench_paper_turns::{Row, Subject, measure, remarks};
use super::exit;
use super::interrupt::Interrupt;
use super::status_table::Table;
use crate::client::Stripes;
use crate::loadgen::bars::{self, Bar, Panel};
use crate::loadgen::explain::{bytes, count, micros};

pub(super) const NAME: &str = "rotating";
/// With quorums of 3, 4 and 5.
const NODES: [u16; 3] = [5, 7, 9];
const CLAIM: &str = "a rotating sequencer keeps the throughput while the failure threshold rises; no number of the publication is quoted";

pub(super) fn check(nodes_max: u16) -> anyhow::Result<()> {
    if nodes_max >= NODES[0] {
        return Ok(());
    }
    let text = format!("--nodes-max {nodes_max} leaves nothing of `{NAME}`, which begins with {} nodes", NODES[0]);
    Err(exit::coded(exit::USAGE, text))
}

/// In pairs: one sequencer, and one on each node.
fn subjects(nodes_max: u16) -> Vec<Subject> {
    let pair = |nodes: u16| {
        [("one", 1), ("rotating", nodes.into())].map(|(name, count)| Subject {
            name: format!("{name}-on-{nodes}"),
            stripes: Stripes { count, sharded: false },
            nodes,
        })
    };
    NODES.into_iter().filter(|&nodes| nodes <= nodes_max).flat_map(pair).collect()
}

pub(super) fn run(options: &PaperOptions, interrupt: &Interrupt) -> anyhow::Result<Figure> {
    let (rows, ran) = measure(options, NAME, &subjects(options.nodes_max), interrupt)?;
    let notes = differences(
        options,
        &ran,
        &[
            "The processors of all nodes are the same ones: where a sequencer's network or processor is the bound of a log on machines of its \
             own, here it is all nodes' work together, which does not become less when it is divided.",
        ],
    );
    let valid = rows.iter().all(|row| row.valid);
    let pairs: Vec<&[Row]> = rows.chunks(2).collect();
    let found = json!({
        "claim": CLAIM,
        "published": null,
        "clients": options.clients,
        "rows": pairs.iter().flat_map(|pair| pair.iter().map(|row| object(row, &pair[0], &rows))).collect::<Result<Vec<_>, _>>()?,
        "differs": notes,
    });
    Ok(Figure {
        name: NAME,
        report: Figure::report(NAME, options, &ran, found, valid)?,
        text: text(options, &pairs, &notes),
        svg: svg(options, &pairs, &notes),
        valid,
    })
}

/// The row of the same layout on the fewest nodes.
fn fewest<'a>(row: &Row, rows: &'a [Row]) -> &'a Row {
    rows.iter().find(|other| other.layout == row.layout).expect("it is one itself")
}

fn object(row: &Row, one: &Row, rows: &[Row]) -> serde_json::Result<Value> {
    let (ratio, kept) = (row.ratio_to(one), row.ratio_to(fewest(row, rows)));
    let mut object = serde_json::to_value(row)?;
    object["ratio_to_one_sequencer"] = json!(ratio.median);
    object["ratio_to_one_sequencer_ci95"] = json!(ratio.ci95);
    object["ratio_to_fewest_nodes"] = json!(kept.median);
    object["ratio_to_fewest_nodes_ci95"] = json!(kept.ci95);
    object["sent_bytes_per_append_most"] = json!(row.sent_bytes_most());
    Ok(object)
}

fn text(options: &PaperOptions, pairs: &[&[Row]], notes: &[String]) -> String {
    let heading = [
        "SEQUENCERS",
        "NODES",
        "LOSSES",
        "APPENDS/S",
        "LEAST",
        "MOST",
        "RATIO",
        "p50",
        "p99",
        "FILLERS",
        "SENT/APPEND",
    ];
    let rows: Vec<Row> = pairs.concat();
    let mut table = Table::new(&heading, rows.len());
    for (row, one) in pairs.iter().flat_map(|pair| pair.iter().map(|row| (row, &pair[0]))) {
        let [least, most] = row.spread();
        table.row(vec![
            format!("{} ({})", row.layout, row.stripes),
            row.nodes.to_string(),
            row.failure_threshold.to_string(),
            count(row.appends_per_s),
            count(least),
            count(most),
            format!("{:.2}", row.ratio_to(one).median),
            micros(row.latency_us.p50),
            micros(row.latency_us.p99),
            row.filler_share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
            bytes(row.sent_bytes_most()),
        ]);
    }
    format!(
        "rotating sequencers: {} B records, {} clients, medians of {} rounds\n\n{table}\n\n\
         RATIO is to one sequencer on the same nodes; SENT/APPEND is what the sequencer that sends most sends to other nodes\n\
         published: {CLAIM}\n{}\n{}",
        options.record_bytes,
        options.clients,
        options.rounds,
        listed(notes),
        remarks(&rows)
    )
}

fn svg(options: &PaperOptions, pairs: &[&[Row]], notes: &[String]) -> String {
    let label = |row: &Row| match row.stripes {
        1 => format!("{} nodes, one sequencer", row.nodes),
        _ => format!("{} nodes, rotating", row.nodes),
    };
    let colour = |row: &Row| if row.stripes == 1 { "#4a5568" } else { "#c96f3b" };
    let each = || pairs.iter().flat_map(|pair| pair.iter().map(|row| (row, &pair[0])));
    let rates = each().map(|(row, one)| Bar {
        label: label(row),
        value: row.appends_per_s,
        spread: Some(row.spread()),
        number: format!(
            "{}/s, x {:.2}, p99 {}, {} may be lost",
            count(row.appends_per_s),
            row.ratio_to(one).median,
            micros(row.latency_us.p99),
            row.failure_threshold
        ),
        colour: colour(row),
    });
    let sent = each().map(|(row, _)| Bar {
        label: label(row),
        value: row.sent_bytes_most(),
        spread: None,
        number: bytes(row.sent_bytes_most()),
        colour: colour(row),
    });
    let panels = [
        Panel {
            heading: format!(
                "appends/s, medians of {} rounds, and the least and the most; x: to one sequencer on the same nodes",
                options.rounds
            ),
            bars: rates.collect(),
        },
        Panel {
            heading: "sent to other nodes by the sequencer that sends most, for each append of the log".to_owned(),
            bars: sent.collect(),
        },
    ];
    let title = format!("Rotating sequencers: {} B records, {} clients", options.record_bytes, options.clients);
    bars::svg(&title, &panels, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_threshold_rises_with_the_nodes_in_pairs() {
        let all = subjects(15);
        assert_eq!(all.len(), 2 * NODES.len());
        for pair in all.chunks(2) {
            assert_eq!((pair[0].nodes, pair[0].stripes.count), (pair[1].nodes, 1));
            assert_eq!(pair[1].stripes.count, usize::from(pair[1].nodes), "a sequencer on each node");
        }
        assert_eq!(subjects(8).len(), 4);
        assert!(check(5).is_ok() && check(4).unwrap_err().to_string().contains("--nodes-max 4"));
    }
}
