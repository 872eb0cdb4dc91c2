//! What each finding means for who runs the node.

use super::report::Explained;
use crate::storage::inspect::{Class, Finding};

/// Adds the meaning.
pub(super) fn explain(finding: Finding) -> Explained {
    let meaning = meaning(&finding);
    Explained { finding, meaning }
}

fn meaning(finding: &Finding) -> String {
    let records = || match finding.records.as_slice() {
        [] => "no records".to_owned(),
        ranges => {
            let name = |range: &crate::storage::inspect::RecordRange| {
                format!("records [{}, {}) of loglet {}", range.first, range.end, range.loglet)
            };
            ranges.iter().map(name).collect::<Vec<_>>().join(", ")
        }
    };
    match finding.class {
        Class::TornTail => "normal after a crash: these writes were on their way and never acknowledged; every start leaves them \
             out, and they never come back"
            .to_owned(),
        Class::RecordsDamaged if finding.records.is_empty() => {
            "the unit held nothing that is needed: nothing is lost".to_owned()
        }
        Class::RecordsDamaged => {
            format!("{} are lost on this node and nothing else is; it fetches them from its peers when it runs", records())
        }
        Class::CellsLost => {
            let name = |key: &crate::base::CellKey| format!("kind {} of loglet {}", key.kind, key.loglet);
            let cells: Vec<_> = finding.cells.iter().map(name).collect();
            format!(
                "the newest value of {} is lost, which may have been a seal or a trim; lost records: {}. The node will seal \
                 every loglet of this journal on itself, and give no tail for it before it has copied what the other \
                 LogServers have (P10)",
                cells.join(", "),
                records()
            )
        }
        Class::TableLost => "nobody can tell what this unit held: records, seals, trims or new loglets. The node will seal every \
             loglet of this journal on itself, and give no tail for it before it has copied what the other LogServers have \
             (P10)"
            .to_owned(),
        Class::SegmentMissing => "the file is gone or its beginning is destroyed; all records that only it held are lost on this \
             node. The node will seal every loglet of this journal on itself, and give no tail for it before it has copied what \
             the other LogServers have (P10). Bring the file back if you have it"
            .to_owned(),
        Class::AnchorLost => "whether the newest segments are all there cannot be known any more. The node will seal every loglet \
             of this journal on itself, and give no tail for it before it has copied what the other LogServers have (P10)"
            .to_owned(),
        Class::ClosedUnitDamaged if finding.records.is_empty() => {
            "a closed segment is damaged in a part that holds no records: what else was there is repeated by later heads, \
             nothing is lost"
                .to_owned()
        }
        Class::ClosedUnitDamaged => format!(
            "of {} some are lost on this node; a start does not read this part and will not notice, a read will, and the node \
             then fetches them from its peers",
            records()
        ),
        Class::IndexDamaged => "nothing is lost: a start reads the whole segment instead, or an index that a later segment \
             carries, which takes longer. A power loss while the block was being written leaves one like this too"
            .to_owned(),
        Class::FreeFileDamaged => "nothing is lost, as the file is free and will be overwritten; but headers are never torn by a \
             crash, so the disk has changed bytes by itself"
            .to_owned(),
        Class::Padding => "nothing is lost: padding means nothing. A power loss during the last write leaves this in a file that \
             was used before; elsewhere the disk has changed bytes by itself"
            .to_owned(),
        Class::Unreadable => "the disk reports errors here; what was stored here, if anything, is told beside this. Replace the \
             disk: a node on a new directory is a new node, and peers have the records"
            .to_owned(),
        Class::StartRefuses => "the node will not start on this journal, and says the same; other damage of the journal is not \
             judged"
            .to_owned(),
        Class::StartAborts => "the checksums hold over contents that no journal has written, so the node would stop with a panic; \
             please report it with a copy of the files"
            .to_owned(),
        Class::JournalMissing => "the node will not start without it, because it would have forgotten what it had promised (P13). \
             Bring the directory back, or start the node anew in an empty directory"
            .to_owned(),
        Class::IdentityDamaged => "the node will not start without knowing who it is. Bring the file back; the identity shown is \
             taken from the journals"
            .to_owned(),
        Class::DeviceDamaged => "nothing is lost: the device has it twice, or the journal finds out what is in the slot; the next start \
             writes it anew. A power loss while it was being written leaves one like this too"
            .to_owned(),
        Class::Unexpected => "the node does not look at it".to_owned(),
    }
}
