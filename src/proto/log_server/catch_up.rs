use super::Disk;
use super::loglet::{Fate, Loglet};
use super::shared::Shared;
use crate::base::{Instant, NodeId, Offset};
use crate::wire::Message;

/// Why a server that catches up does not answer where it would have to tell a tail.
pub(super) const CATCHING_UP: &str = "this LogServer catches up after a loss of its journal";

/// A loglet whose journal lost entries that nobody can name (P10): it is sealed here, and tells no tail before it has copied up to the
/// largest tail told by a majority's number of *other* LogServers, one of whom holds whatever was acknowledged with this one's help.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct CatchUp {
    told: Vec<(NodeId, Offset)>,
    asked: Vec<u64>,
    target: Option<Offset>,
    ask_at: Instant,
    /// All is copied; the cell that says so is on its way.
    pub(super) finished: bool,
}

impl CatchUp {
    /// When the other LogServers are asked (again) for their tails.
    pub(super) fn next_ask(&self) -> Option<Instant> {
        self.target.is_none().then_some(self.ask_at)
    }
}

impl Loglet {
    pub(super) fn catch_up_target(&self) -> Option<Offset> {
        self.catch_up.as_ref().and_then(|catch_up| catch_up.target)
    }

    /// Asks those who have not told their tail, from time to time.
    pub(super) fn ask_tails(&mut self, shared: &mut Shared) {
        let others = self.others(shared).collect::<Vec<_>>();
        let Some(catch_up) = &mut self.catch_up else { return };
        if catch_up.target.is_some() || catch_up.ask_at > shared.now {
            return;
        }
        assert_ne!(self.fate, Fate::Open, "a loglet that catches up is sealed here (P10)");
        catch_up.ask_at = shared.now + shared.limits.stall;
        for request in catch_up.asked.drain(..) {
            shared.requests.remove(&request);
        }
        let (loglet, known_tail) = (self.id, self.known_tail);
        for member in others {
            if catch_up.told.iter().all(|told| told.0 != member.node) {
                let message = |request| Message::CheckTail { request, loglet, known_tail };
                catch_up.asked.push(shared.ask(member, loglet, message));
            }
        }
    }

    /// Another LogServer has told its tail, open or sealed.
    pub(super) fn tail_told(&mut self, node: NodeId, tail: Offset, shared: &Shared) {
        let Some(quorum) = self.config.as_ref().map(|config| config.quorum()) else { return };
        let Some(catch_up) = &mut self.catch_up else { return };
        if node == shared.node || catch_up.target.is_some() || !super::fill::plausible(tail) {
            return;
        }
        catch_up.told.retain(|told| told.0 != node);
        catch_up.told.push((node, tail));
        if catch_up.told.len() >= quorum {
            catch_up.target = catch_up.told.iter().map(|told| told.1).max();
            assert!(catch_up.target >= Some(tail), "the largest tail is the target");
            self.fill.next_at = Some(shared.now);
        }
    }

    /// Nothing is left to be copied: if everything up to the target is durable, the loglet may tell its tail again.
    pub(super) fn finish_catch_up(&mut self, shared: &mut Shared, disk: &mut impl Disk) {
        let Some(target) = self.catch_up_target() else { return };
        if self.stored.first_hole(self.trim_point, target).is_some() {
            return;
        }
        let Some(catch_up) = &mut self.catch_up else { return };
        if !catch_up.finished {
            catch_up.finished = true;
            self.write_cell(shared, disk);
        }
    }
}
