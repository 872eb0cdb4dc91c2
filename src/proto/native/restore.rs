use super::link::Shared;
use super::read::usable;
use super::repair::Repair;
use super::round::Round;
use super::step::{Context, Step};
use crate::base::{Instant, Offset};
use crate::proto::loglet::LogletResult;
use crate::wire::Message;

/// Gives LogServers that are to become members of a closed loglet all of it, sealed, up to its stop and not beyond (P7), and reads it back
/// from them.
#[derive(Clone, Hash, Debug)]
pub(super) struct Restore {
    stop: Offset,
    seals: Round,
    tails: Vec<Option<Offset>>,
    repair: Repair,
    targets: Vec<Target>,
    /// When it last came further. Copying takes as long as it takes, but not standing still.
    progress: Instant,
}

/// One of the new LogServers.
#[derive(Clone, Hash, Debug)]
struct Target {
    server: usize,
    /// Whether it has been told the configuration, by which it knows the others.
    told: bool,
    /// Up to where it has been read back, of what it says that it has.
    verified: Offset,
    asked: Option<u64>,
}

impl Restore {
    pub(super) fn new(shared: &Shared, stop: Offset, targets: &[usize], now: Instant) -> Self {
        let servers = shared.servers();
        let target = |&server: &usize| Target { server, told: false, verified: Offset::ZERO, asked: None };
        Self {
            stop,
            seals: Round::new(servers),
            tails: vec![None; servers],
            repair: Repair::new(servers),
            targets: targets.iter().map(target).collect(),
            progress: now,
        }
    }

    fn deadline(&self, shared: &Shared) -> Instant {
        self.progress + shared.limits.operation_timeout
    }
}

impl Step for Restore {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult> {
        if context.shared.gone {
            return Some(LogletResult::Gone);
        }
        // Also where there is nothing to copy: a stripe may end before its first record.
        if self.targets.iter().all(|target| target.told && target.verified >= self.stop) {
            return Some(LogletResult::Done);
        }
        if context.now >= self.deadline(context.shared) {
            return Some(LogletResult::Unavailable { reason: self.missing(context.shared) });
        }
        let loglet = context.shared.loglet();
        self.seals.ask(context.shared, context.key, |_| true, |request| Message::Seal { request, loglet });
        self.repair.drive(context, &self.tails, self.stop);
        let (stop, bytes_max) = (self.stop, context.shared.limits.read_bytes_max);
        for target in &mut self.targets {
            let is_complete = self.tails[target.server].is_some_and(|tail| tail >= stop);
            let ready = context.shared.links[target.server].ready();
            if ready && self.tails[target.server].is_some() && !target.told {
                target.told = true;
                let config = context.shared.config.clone();
                // It is sealed, and stays so; that it may know this loglet otherwise from an earlier try changes nothing.
                context.shared.ask(target.server, context.key, |request| Message::Create { request, config });
            }
            if ready && is_complete && target.asked.is_none() && target.verified < stop {
                let min = target.verified;
                let asked = context.shared.ask(target.server, context.key, |request| Message::Read {
                    request,
                    loglet,
                    min,
                    max: stop,
                    limit: stop,
                    bytes_max,
                });
                target.asked = Some(asked);
            }
        }
        None
    }

    fn answer(&mut self, context: &mut Context<'_>, link: usize, request: u64, message: &Message<'_>) {
        if let Some(target) = self.targets.iter_mut().find(|target| target.asked == Some(request)) {
            target.asked = None;
            match *message {
                Message::Records { first, batch, .. } => match usable(first, batch, target.verified, self.stop) {
                    Some(records) => {
                        target.verified = target.verified + u64::from(records.count);
                        self.progress = context.now;
                    }
                    None => context.shared.pause(link, context.now),
                },
                Message::Trimmed { trim_point, .. } => target.verified = target.verified.max(trim_point),
                // It lacks something, and gets it from the others by itself.
                _ => context.shared.pause(link, context.now),
            }
            return;
        }
        let before = self.tails[link];
        self.repair.answer(context, &mut self.tails, link, request, message);
        if let Message::Sealed { tail, .. } = *message {
            self.seals.settle(link);
            self.tails[link] = self.tails[link].max(Some(tail));
        }
        if self.tails[link] > before {
            self.progress = context.now;
        }
    }

    fn lost(&mut self, link: usize) {
        self.seals.lost(link);
        self.repair.lost(link);
        self.targets.iter_mut().filter(|target| target.server == link).for_each(|target| target.asked = None);
    }

    fn timeout(&self, shared: &Shared) -> Option<(Instant, &'static str)> {
        Some((self.deadline(shared), "loglet: a copy of it does not come further"))
    }

    fn missing(&self, shared: &Shared) -> String {
        format!("copies up to {} are not complete: {}", self.stop, self.repair.missing(shared, &self.tails))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::base::Limits;
    use crate::proto::loglet::OpId;

    const STOP: Offset = Offset(8);

    fn restore(rig: &mut Rig, stop: Offset) {
        rig.core.restore(OpId(1), stop, &[2], rig.now);
        rig.run();
    }

    #[test]
    fn a_new_server_gets_everything_below_the_stop_sealed_and_nothing_beyond() {
        // A zombie has grown beyond the stop.
        let mut rig = Rig::new(vec![Server::with(0..11).sealed(), Server::with(0..8).sealed(), Server::with(0..0)]);
        restore(&mut rig, STOP);
        assert_eq!(rig.results(), [LogletResult::Done]);
        assert!(rig.servers[2].sealed);
        assert_eq!(rig.servers[2].stored, Server::with(0..8).stored);
    }

    #[test]
    fn a_new_server_of_a_stripe_that_ended_empty_is_sealed() {
        let mut rig = Rig::new(vec![Server::with(0..2).sealed(), Server::with(0..0).sealed(), Server::with(0..0)]);
        restore(&mut rig, Offset::ZERO);
        assert_eq!(rig.results(), [LogletResult::Done]);
        assert!(rig.servers[2].sealed && rig.servers[2].stored.is_empty());
    }

    #[test]
    fn what_is_trimmed_is_not_copied() {
        let mut trimmed = Server::with(5..8).sealed();
        trimmed.trim = 5;
        let mut rig = Rig::new(vec![trimmed.clone(), trimmed, Server::with(0..0)]);
        restore(&mut rig, STOP);
        assert_eq!(rig.results(), [LogletResult::Done]);
        assert_eq!((rig.servers[2].trim, rig.servers[2].tail(), rig.servers[2].stored.len()), (5, 8, 3));
    }

    /// P7: a server that holds less than all of it, whatever its tail says, is no copy.
    #[test]
    fn a_copy_with_a_gap_is_not_taken_for_one() {
        let mut holed = Server::with(0..8).sealed();
        holed.stored.remove(&4);
        let mut rig = Rig::new(vec![Server::with(0..8).sealed(), Server::with(0..8).sealed(), holed]);
        restore(&mut rig, STOP);
        assert_eq!(rig.results(), []);
        rig.servers[2].stored.insert(4, payload(4));
        rig.pass_time(Limits::default().reconnect_delay);
        rig.run();
        assert_eq!(rig.results(), [LogletResult::Done]);
    }

    #[test]
    fn it_ends_when_nobody_has_the_rest_and_not_while_it_comes_further() {
        let mut rig = Rig::new(vec![Server::with(0..8).sealed(), Server::default(), Server::default()]);
        rig.disconnect(0);
        restore(&mut rig, STOP);
        assert_eq!(rig.results(), []);
        rig.pass_time(Limits::default().operation_timeout);
        rig.run();
        assert!(matches!(rig.results()[..], [LogletResult::Unavailable { .. }]));
    }

    #[test]
    fn a_server_that_has_deleted_the_loglet_takes_no_copy_of_it() {
        let gone = Server { gone: true, ..Server::default() };
        let mut rig = Rig::new(vec![Server::with(0..8).sealed(), Server::with(0..8).sealed(), gone]);
        restore(&mut rig, STOP);
        assert_eq!(rig.results(), [LogletResult::Gone]);
    }
}
