//! What the anchor says of the newest segment, and the memory of what was lost.

use std::path::{Path, PathBuf};

use super::fetch::Image;
use crate::io::op::FileId;
use crate::storage::anchor::{ANCHOR_FILE, Anchor};
use crate::storage::format::{HeaderFault, Owner, SegmentNumber};
use crate::storage::types::{Damage, DamageCause, Failure};

/// The anchor as a start finds it.
#[derive(Default)]
pub(super) struct FoundAnchor {
    pub(super) to_open: Option<PathBuf>,
    pub(super) file: Option<FileId>,
    /// Whether a slot is whole.
    pub(super) is_valid: bool,
    pub(super) says: Anchor,
}

impl FoundAnchor {
    /// Takes the newer of the slots that are whole.
    pub(super) fn read(&mut self, slots: &[Image], owner: Owner, directory: &Path) -> Result<(), Failure> {
        for slot in slots {
            let anchor = match Anchor::read(&slot.bytes) {
                Ok((of, anchor)) if of == owner => anchor,
                Ok((Owner { node, journal }, _)) => {
                    return Err(Failure::Foreign { path: directory.join(ANCHOR_FILE), node, journal });
                }
                Err(HeaderFault::Version(version)) => {
                    return Err(Failure::Version { path: directory.join(ANCHOR_FILE), version });
                }
                Err(HeaderFault::Invalid) => continue,
            };
            if !self.is_valid || self.says.count < anchor.count {
                self.says = anchor;
            }
            self.is_valid = true;
        }
        Ok(())
    }

    /// Whether there ever was a segment.
    pub(super) fn names_one(&self) -> bool {
        self.says.segment.number > SegmentNumber(0)
    }

    /// What the anchor is to remember as lost: what it does already, which is added to the damage found, or the first damage that
    /// could have been anything. Later starts may not see it: no head will name a segment that is gone, or a cell.
    pub(super) fn loss(&self, damage: &mut Vec<Damage>) -> Option<(SegmentNumber, DamageCause)> {
        let first = damage.iter().find(|damage| !damage.table_survived || !damage.cells_lost.is_empty());
        let first = first.map(|damage| (SegmentNumber(damage.segment), damage.cause));
        let Some((segment, cause)) = self.says.lost else { return first };
        let is_known = |damage: &Damage| !damage.table_survived && damage.segment == segment.0;
        if !damage.iter().any(is_known) {
            let (position, table_survived, holes, cells_lost) = Default::default();
            damage.push(Damage { segment: segment.0, position, cause, table_survived, holes, cells_lost });
        }
        self.says.lost
    }
}
