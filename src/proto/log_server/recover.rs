use super::catch_up::CatchUp;
use super::cell::{CellState, FloorCell, LogletCell, floor_key};
use super::life::Floor;
use super::loglet::{Fate, Loglet};
use super::server::LogServer;
use super::shared::What;
use super::{Disk, FLOOR_CELL, LOGLET_CELL, RecoveredLoglet, TABLE_LOST_CELL};
use crate::base::mutants::{self, Mutant};
use crate::base::{CellKey, LogletId};

impl LogServer {
    /// Takes back what the journal held when the process started; to be called once, before anything else. `table_lost` says that the
    /// journal has a damaged unit whose entry table is lost as well, so that nobody can say what is missing (P10).
    pub fn recover(
        &mut self,
        cells: Vec<(CellKey, Vec<u8>)>,
        loglets: Vec<RecoveredLoglet>,
        table_lost: bool,
        disk: &mut impl Disk,
    ) {
        assert!(self.loglets.is_empty() && self.shared.pending.is_empty(), "recovery comes first");
        let mut affected = Vec::new();
        let (mut marked, mut lost) = (false, table_lost);
        for (key, value) in cells {
            match key.kind {
                FLOOR_CELL => match serde_json::from_slice::<FloorCell>(&value) {
                    Ok(cell) => {
                        self.floors.insert(key.loglet.log, Floor::recovered(cell));
                    }
                    // Deletions are forgotten, so anything may have been here.
                    Err(_) => lost = true,
                },
                LOGLET_CELL => affected.extend(self.recover_cell(key.loglet, &value)),
                TABLE_LOST_CELL => marked = true,
                // Another layer's cell.
                _ => {}
            }
        }
        self.recover_records(loglets, &mut affected, disk);
        self.shared.table_lost = lost || marked;
        if lost {
            // Perhaps the loss of an earlier start, perhaps a new one: catching up once more is always right.
            affected = self.loglets.keys().copied().collect();
        }
        if lost && !marked {
            self.mark_table_lost(disk);
        }
        for id in affected {
            let loglet = self.loglets.get_mut(&id).expect("affected loglets are known");
            loglet.catch_up = Some(CatchUp::default());
            match loglet.fate {
                Fate::Open => loglet.begin_seal(&mut self.shared, disk),
                Fate::Sealing | Fate::Sealed => loglet.write_cell(&mut self.shared, disk),
            }
        }
        for loglet in self.loglets.values_mut() {
            loglet.settle(&mut self.shared, disk);
        }
    }

    /// Returns the loglet when its cell does not say what it should.
    fn recover_cell(&mut self, id: LogletId, value: &[u8]) -> Option<LogletId> {
        let cell = serde_json::from_slice::<LogletCell>(value).ok();
        let cell = cell.filter(|cell| cell.config.as_ref().is_none_or(|config| config.id == id));
        let readable = cell.is_some();
        let cell = cell.unwrap_or_default();
        let mut loglet = Loglet::new(id, cell.config);
        loglet.cell = CellState::recovered(loglet.config.is_some());
        let sealed = cell.sealed && !mutants::is(Mutant::ForgetSealOnRestart);
        loglet.fate = if sealed { Fate::Sealed } else { Fate::Open };
        loglet.catch_up = cell.catching_up.then(CatchUp::default);
        loglet.trim_point = cell.trim_point;
        loglet.trim_wanted = cell.trim_point;
        loglet.next = cell.trim_point;
        assert!(loglet.local_tail() >= cell.trim_point, "a trim does not forget the tail (P3)");
        self.loglets.insert(id, loglet);
        (!readable).then_some(id)
    }

    fn recover_records(&mut self, loglets: Vec<RecoveredLoglet>, affected: &mut Vec<LogletId>, disk: &mut impl Disk) {
        for RecoveredLoglet { id, stored } in loglets {
            // Another layer's cell has such a name, or the loglet's own cell has said all there is.
            if stored.is_empty() {
                continue;
            }
            if !self.loglets.contains_key(&id) {
                if self.floors.get(&id.log).is_some_and(|floor| floor.covers(id)) {
                    // Its deletion was durable, and the journal has not dropped it yet.
                    disk.remove(id);
                    continue;
                }
                // A cell is durable before its loglet's records, so this one has been lost (P10).
                self.loglets.insert(id, Loglet::new(id, None));
                affected.push(id);
            }
            let loglet = self.loglets.get_mut(&id).expect("known, or just made");
            for (from, to) in stored {
                assert!(from < to, "ranges have offsets");
                let from = from.max(loglet.trim_point);
                loglet.stored.insert(from, to);
                loglet.journal.insert(from, to);
                loglet.durable_end = loglet.durable_end.max(to);
            }
            loglet.next = loglet.next.max(loglet.durable_end);
        }
    }

    /// Makes the loss durable: whatever is not known now may have been known once, also after further restarts.
    pub(super) fn mark_table_lost(&mut self, disk: &mut impl Disk) {
        let key = CellKey { kind: TABLE_LOST_CELL, ..floor_key(0) };
        match disk.write_cell(key, b"{}") {
            Ok(write) => self.shared.taken(write, key.loglet, What::Marker),
            Err(refused) => {
                self.shared.refused(key.loglet, refused);
                self.marker_owed = true;
            }
        }
    }
}
