//! What the LogServers will make of what a journal holds: the production state machine, on a disk that takes everything and
//! completes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::report::Loglet;
use crate::base::{CellKey, Incarnation, Limits, LogletId, NodeId, Offset, Write};
use crate::proto::log_server::{Disk, LogServer, ReadId, RecoveredLoglet, Refused};
use crate::storage::inspect::{Class, JournalReport, LogletRecords};
use crate::wire::Batch;

struct Nowhere;

impl Disk for Nowhere {
    fn write_records(&mut self, _: LogletId, _: Offset, _: Batch<'_>) -> Result<Write, Refused> {
        Err(Refused::Failed)
    }
    fn write_repair(&mut self, _: LogletId, _: Offset, _: Batch<'_>) -> Result<Write, Refused> {
        Err(Refused::Failed)
    }
    fn has_space(&mut self) -> bool {
        false
    }
    fn write_cell(&mut self, _: CellKey, _: &[u8]) -> Result<Write, Refused> {
        Ok(Write(1))
    }
    fn remove_cell(&mut self, _: CellKey) -> Result<Write, Refused> {
        Ok(Write(1))
    }
    fn trim(&mut self, _: LogletId, _: Offset) {}
    fn remove(&mut self, _: LogletId) {}
    fn read(&mut self, _: ReadId, _: LogletId, _: Offset, _: Offset, _: u32) {}
}

/// Every loglet of a journal as the node will see it; none when the LogServers would run into an assertion.
pub(super) fn of_journal(node: NodeId, report: &JournalReport) -> Option<Vec<Loglet>> {
    catch_unwind(AssertUnwindSafe(|| recover(node, report))).ok()
}

fn recover(node: NodeId, report: &JournalReport) -> Vec<Loglet> {
    let mut server = LogServer::new(node, Incarnation(0), &Limits::default());
    let lost = |class| matches!(class, Class::TableLost | Class::CellsLost | Class::SegmentMissing);
    let table_lost = report.findings.iter().any(|finding| finding.seen_by_start && lost(finding.class));
    // As the shard does it: every loglet with a record or a cell.
    let ids = report.loglets.iter().map(|loglet| loglet.id).chain(report.cells.iter().map(|(key, _)| key.loglet));
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let stored = |id: LogletId| {
        report.loglets.iter().find(|loglet| loglet.id == id).map(|loglet| loglet.stored.clone()).unwrap_or_default()
    };
    let recovered = ids.into_iter().map(|id| RecoveredLoglet { id, stored: stored(id) }).collect();
    server.recover(report.cells.clone(), recovered, table_lost, &mut Nowhere);
    let loglet = |status: crate::proto::log_server::LogletStatus<'_>| {
        let none = LogletRecords { id: status.id, stored: Vec::new() };
        let records = report.loglets.iter().find(|loglet| loglet.id == status.id).unwrap_or(&none);
        let kept = |&(first, end): &(Offset, Offset)| {
            let first = first.max(status.trim_point);
            (first < end).then_some((first, end))
        };
        let stored: Vec<_> = records.stored.iter().filter_map(kept).collect();
        Loglet {
            id: status.id,
            journal: report.journal,
            config: status.config.cloned(),
            sealed: status.sealed,
            catching_up: status.catching_up,
            trim_point: status.trim_point,
            local_tail: status.local_tail,
            first_stored: stored.first().map(|range| range.0),
            records: stored.iter().map(|(first, end)| end.since(*first)).sum(),
            holes: holes(status.trim_point, status.local_tail, &stored),
        }
    };
    server.loglets().map(loglet).collect()
}

fn holes(from: Offset, to: Offset, stored: &[(Offset, Offset)]) -> Vec<(Offset, Offset)> {
    let mut holes = Vec::new();
    let mut next = from;
    for &(first, end) in stored {
        if next < first {
            holes.push((next, first));
        }
        next = next.max(end);
    }
    if next < to {
        holes.push((next, to));
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_what_is_not_stored_between_the_trim_point_and_the_tail() {
        let range = |from, to| (Offset(from), Offset(to));
        let found = holes(Offset(2), Offset(20), &[range(4, 6), range(6, 9), range(12, 18)]);
        assert_eq!(found, [range(2, 4), range(9, 12), range(18, 20)]);
        assert_eq!(holes(Offset(0), Offset(0), &[]), []);
    }
}
