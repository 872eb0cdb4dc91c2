use std::collections::BTreeMap;

use super::Disk;
use super::cell::{FloorCell, floor_key, loglet_key};
use super::fill::plausible;
use super::loglet::Loglet;
use super::server::LogServer;
use super::shared::{Shared, What};
use super::waiters::{FAILED, Until, WAITERS_MAX};
use crate::base::mutants::{self, Mutant};
use crate::base::{LogletId, Offset};
use crate::proto::peer::PeerId;
use crate::wire::{LogletConfig, Message, RejectCode};

/// Up to which chain version loglets of a log have been deleted here: none at or below it is created any more, but those that this
/// version names (P5).
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Floor {
    version: u64,
    live: Vec<LogletId>,
    dirty: bool,
    writes_in_flight: u32,
    /// Loglets whose cells are to be removed once the floor is on its way.
    removing: Vec<LogletId>,
    /// Answers held until the floor is durable.
    waiting: Vec<(PeerId, u64, LogletId)>,
}

const TOO_MANY: &str = "this shard has as many loglets as it may have (loglets_max), or as its journal has room for; trims of logs remove them";

impl Floor {
    pub(super) fn recovered(cell: FloorCell) -> Self {
        let FloorCell { version, live } = cell;
        Self { version, live, ..Self::default() }
    }

    /// Whether this loglet, if it is not here, has been deleted or was given up before it came here.
    pub(super) fn covers(&self, loglet: LogletId) -> bool {
        loglet.version <= self.version && !self.live.contains(&loglet)
    }

    fn is_durable(&self) -> bool {
        !self.dirty && self.writes_in_flight == 0
    }

    fn flush(&mut self, log: u64, shared: &mut Shared, disk: &mut impl Disk) {
        let key = floor_key(log);
        if self.dirty {
            let json = serde_json::to_vec(&FloorCell { version: self.version, live: self.live.clone() })
                .expect("a cell is always serialisable");
            match disk.write_cell(key, &json) {
                Ok(write) => {
                    self.dirty = false;
                    self.writes_in_flight += 1;
                    shared.taken(write, key.loglet, What::Floor);
                }
                Err(refused) => return shared.refused(key.loglet, refused),
            }
        }
        // Behind the floor in the journal's order, so that no deletion is durable without it.
        while let Some(&loglet) = self.removing.last() {
            assert!(loglet.version <= self.version, "a floor covers what is deleted");
            match disk.remove_cell(loglet_key(loglet)) {
                Ok(write) => {
                    shared.taken(write, loglet, What::Removal);
                    self.removing.pop();
                }
                Err(refused) => return shared.refused(key.loglet, refused),
            }
        }
    }

    /// Answers `Gone`, when that is durable.
    fn answer(&mut self, peer: PeerId, request: u64, loglet: LogletId, shared: &mut Shared) {
        if self.is_durable() {
            shared.send(peer, Message::Gone { request, loglet });
        } else if self.waiting.len() < WAITERS_MAX {
            self.waiting.push((peer, request, loglet));
        } else {
            shared.reject(peer, request, RejectCode::Limit, "too many answers are held for this log");
        }
    }

    fn release(&mut self, shared: &mut Shared) {
        if self.is_durable() {
            for (peer, request, loglet) in self.waiting.drain(..) {
                shared.send(peer, Message::Gone { request, loglet });
            }
        }
    }

    pub(super) fn disk_failed(&mut self, shared: &mut Shared) {
        for (peer, request, loglet) in self.waiting.drain(..) {
            shared.unavailable(peer, request, loglet, FAILED);
        }
    }
}

impl Loglet {
    /// From here on neither success nor open nor sealed is said, until it is gone.
    fn begin_deletion(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        self.deleting = true;
        self.settle(shared, disk);
    }
}

/// The floors of all logs.
pub(super) type Floors = BTreeMap<u64, Floor>;

impl LogServer {
    /// Whether a loglet that is not here has been deleted, as far as can be told; then that is the answer.
    pub(super) fn answered_gone(&mut self, peer: PeerId, request: u64, loglet: LogletId) -> bool {
        match self.floors.get_mut(&loglet.log) {
            Some(floor) if floor.covers(loglet) && !mutants::is(Mutant::RecreateDeletedLoglet) => {
                floor.answer(peer, request, loglet, &mut self.shared);
                true
            }
            _ => false,
        }
    }

    pub(super) fn create(&mut self, peer: PeerId, request: u64, config: LogletConfig, disk: &mut impl Disk) {
        let (id, shared) = (config.id, &mut self.shared);
        if config.log_servers.iter().all(|member| member.node != shared.node) {
            return shared.reject(peer, request, RejectCode::Config, "this node is no LogServer of the loglet");
        }
        if !self.loglets.contains_key(&id) {
            if self.answered_gone(peer, request, id) {
                return;
            }
            if self.shared.table_lost {
                // It may have been here before, with a seal or with records that nobody can name any more (P10).
                let reason = "this journal has lost entries and takes no loglet any more";
                return self.shared.unavailable(peer, request, id, reason);
            }
            if self.loglets.len() >= self.shared.limits.loglets_max as usize || !disk.has_room_for_cells() {
                return self.shared.reject(peer, request, RejectCode::Limit, TOO_MANY);
            }
            let mut loglet = Loglet::new(id, Some(config.clone()));
            loglet.write_cell(&mut self.shared, disk);
            self.loglets.insert(id, loglet);
        }
        let Some(loglet) = self.loglets.get_mut(&id) else { return };
        match &loglet.config {
            Some(known) if *known != config => {
                let detail = "the loglet is known here with another configuration";
                return self.shared.reject(peer, request, RejectCode::Config, detail);
            }
            Some(_) => {}
            None => {
                // The seal came first; the configuration tells where missing records are.
                loglet.config = Some(config);
                loglet.write_cell(&mut self.shared, disk);
            }
        }
        loglet.answer_when(peer, request, Until::Created, &mut self.shared);
        loglet.settle(&mut self.shared, disk);
    }

    /// The loglet, created sealed if it is not known (P5).
    pub(super) fn seal(&mut self, peer: PeerId, request: u64, id: LogletId, disk: &mut impl Disk) {
        if !self.loglets.contains_key(&id) {
            if self.answered_gone(peer, request, id) {
                return;
            }
            if self.loglets.len() >= self.shared.limits.loglets_max as usize || !disk.has_room_for_cells() {
                return self.shared.reject(peer, request, RejectCode::Limit, TOO_MANY);
            }
            let mut loglet = Loglet::new(id, None);
            // It may have been here before with records that nobody can name any more (P10).
            loglet.catch_up = self.shared.table_lost.then(Default::default);
            self.loglets.insert(id, loglet);
        }
        let Some(loglet) = self.loglets.get_mut(&id) else { return };
        loglet.seal(peer, request, &mut self.shared, disk);
    }

    pub(super) fn delete(
        &mut self,
        peer: PeerId,
        request: u64,
        id: LogletId,
        (chain_version, live): (u64, Vec<LogletId>),
        disk: &mut impl Disk,
    ) {
        let shared = &mut self.shared;
        if live.contains(&id) {
            return shared.reject(
                peer,
                request,
                RejectCode::Config,
                "a chain that names the loglet does not delete it",
            );
        }
        if chain_version < id.version || !plausible(Offset(chain_version)) {
            // That chain is older than the loglet: it proves nothing.
            return shared.reject(peer, request, RejectCode::Config, "the chain version is older than the loglet");
        }
        let floor = self.floors.entry(id.log).or_default();
        if chain_version > floor.version {
            // No chain names these, nor will one: what attempts have left that came to nothing, or deletions that did not reach this server.
            let is_left = |other: &LogletId, loglet: &Loglet| {
                (other.log, loglet.deleting) == (id.log, false)
                    && other.version <= chain_version
                    && *other != id
                    && !live.contains(other)
            };
            for (other, loglet) in self.loglets.iter_mut().filter(|(other, loglet)| is_left(other, loglet)) {
                loglet.begin_deletion(shared, disk);
                floor.removing.push(*other);
            }
            // What was deleted here stays so, also when the chain names it, for others have it now (P7).
            floor.live = live.into_iter().filter(|named| !floor.covers(*named)).collect();
            floor.version = chain_version;
            floor.dirty = true;
        }
        if floor.live.contains(&id) {
            floor.live.retain(|named| *named != id);
            floor.dirty = true;
        }
        match self.loglets.get_mut(&id) {
            Some(loglet) => {
                assert!(!loglet.deleting, "the dispatcher holds what comes after a deletion");
                loglet.answer_when(peer, request, Until::Deleted, shared);
                loglet.begin_deletion(shared, disk);
                floor.removing.push(id);
            }
            None => floor.answer(peer, request, id, shared),
        }
        floor.flush(id.log, shared, disk);
    }

    pub(super) fn flush_floor(&mut self, log: u64, disk: &mut impl Disk) {
        if let Some(floor) = self.floors.get_mut(&log) {
            floor.flush(log, &mut self.shared, disk);
        }
    }

    pub(super) fn floor_durable(&mut self, log: u64) {
        let floor = self.floors.get_mut(&log).expect("a floor is never dropped");
        assert!(floor.writes_in_flight > 0, "a write of the floor was in flight");
        floor.writes_in_flight -= 1;
        floor.release(&mut self.shared);
    }

    /// The floor and the removal of the loglet's cell are durable: the loglet is gone, and its memory is free.
    pub(super) fn removed(&mut self, id: LogletId, disk: &mut impl Disk) {
        let mut loglet = self.loglets.remove(&id).expect("a loglet is removed once");
        assert!(self.floors.get(&id.log).is_some_and(|floor| id.version <= floor.version), "the floor is there (P5)");
        loglet.gone(&mut self.shared);
        loglet.early.clear(&mut self.shared);
        self.shared.active.remove(&id);
        self.shared.retry.remove(&id);
        disk.remove(id);
    }
}
