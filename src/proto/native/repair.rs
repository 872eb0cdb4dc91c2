use super::link::Shared;
use super::round::{server_name, why_silent};
use super::step::Context;
use crate::base::Offset;
use crate::wire::Message;

/// What is being done for one lower LogServer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    Idle,
    /// The next records are being read from `source`.
    Reading {
        source: usize,
        request: u64,
    },
    /// They are being stored there, on top of `from`.
    Storing {
        request: u64,
        from: Offset,
    },
    /// The records in between are trimmed elsewhere, so they are being trimmed there (P3).
    Trimming {
        request: u64,
        from: Offset,
    },
}

#[derive(Clone, Hash, Debug)]
struct Task {
    stage: Stage,
    /// Sources that do not have the record at the tail.
    tried: Vec<bool>,
}

/// Brings sealed LogServers up to the largest tail among them: in order, chunk by chunk, from whichever responder has each
/// record. Racing repairs write the same records, so each takes over what the other has done.
#[derive(Clone, Hash, Debug)]
pub(super) struct Repair {
    /// By lower LogServer.
    tasks: Vec<Task>,
}

impl Repair {
    pub(super) fn new(servers: usize) -> Self {
        Self { tasks: vec![Task { stage: Stage::Idle, tried: vec![false; servers] }; servers] }
    }

    /// Asks the next thing for every LogServer below `target`.
    pub(super) fn drive(&mut self, context: &mut Context<'_>, tails: &[Option<Offset>], target: Offset) {
        for (lower, task) in self.tasks.iter_mut().enumerate() {
            let Some(tail) = tails[lower].filter(|tail| *tail < target) else { continue };
            if task.stage != Stage::Idle || !context.shared.links[lower].ready() {
                continue;
            }
            let has_more = |source: &usize| tails[*source].is_some_and(|other| other > tail);
            let ready = |source: &usize| context.shared.links[*source].ready();
            let Some(source) =
                (0..tails.len()).find(|source| has_more(source) && ready(source) && !task.tried[*source])
            else {
                if (0..tails.len()).any(|source| has_more(&source) && ready(&source)) {
                    // Nobody at hand has it: they are all asked again after a pause.
                    task.tried.fill(false);
                    context.shared.pause(lower, context.now);
                }
                continue;
            };
            let (loglet, bytes_max) = (context.shared.loglet(), context.shared.limits.batch_bytes_max);
            // The limit lies beyond what is known to be committed. It serves this copy among sealed servers and nothing else:
            // no known tail and no user's read ever carries it (P1).
            let request = context.shared.ask(source, context.key, |request| Message::Read {
                request,
                loglet,
                min: tail,
                max: target,
                limit: target,
                bytes_max,
            });
            task.stage = Stage::Reading { source, request };
        }
    }

    /// Takes an answer, if it is to a question of the repair.
    pub(super) fn answer(
        &mut self,
        context: &mut Context<'_>,
        tails: &mut [Option<Offset>],
        link: usize,
        request: u64,
        message: &Message<'_>,
    ) {
        for (lower, task) in self.tasks.iter_mut().enumerate() {
            match task.stage {
                Stage::Reading { source, request: asked } if source == link && asked == request => {
                    task.stage = Stage::Idle;
                    task.stage = task.handle_read(context, tails, lower, message);
                    task.tried[source] |= task.stage == Stage::Idle;
                    return;
                }
                Stage::Storing { request: asked, from } | Stage::Trimming { request: asked, from }
                    if lower == link && asked == request =>
                {
                    task.stage = Stage::Idle;
                    let before = tails[lower];
                    match *message {
                        Message::Sealed { tail, .. } => tails[lower] = before.max(Some(tail)),
                        Message::Trimmed { trim_point, .. } => tails[lower] = before.max(Some(trim_point)),
                        // It has less than it said: what it says now counts, and the records come from there on.
                        Message::Behind { tail, .. } => tails[lower] = Some(tail),
                        _ => {}
                    }
                    task.tried.fill(false);
                    if tails[lower] <= Some(from) {
                        context.shared.pause(lower, context.now);
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    /// What was asked of this LogServer will not be answered.
    pub(super) fn lost(&mut self, link: usize) {
        for (lower, task) in self.tasks.iter_mut().enumerate() {
            if matches!(task.stage, Stage::Reading { source, .. } if source == link) {
                task.tried[link] = true;
                task.stage = Stage::Idle;
            } else if lower == link && !matches!(task.stage, Stage::Reading { .. }) {
                task.stage = Stage::Idle;
            }
        }
    }

    /// Who is not repaired, for people.
    pub(super) fn missing(&self, shared: &Shared, tails: &[Option<Offset>]) -> String {
        let mut text = Vec::new();
        for (server, tail) in tails.iter().enumerate() {
            let name = server_name(shared, server);
            text.push(match tail {
                Some(tail) => format!("{name} is at {tail}"),
                None => format!("{name} {}", why_silent(shared, server)),
            });
        }
        text.join("; ")
    }
}

impl Task {
    /// What follows from a source's answer; `Idle` when the source is of no use.
    fn handle_read(
        &self,
        context: &mut Context<'_>,
        tails: &[Option<Offset>],
        lower: usize,
        message: &Message<'_>,
    ) -> Stage {
        let tail = tails[lower].expect("only sealed servers are repaired");
        let shared = &mut *context.shared;
        // Gone meanwhile: asked again from here when it is back.
        if !shared.links[lower].ready() {
            return Stage::Idle;
        }
        match *message {
            Message::Records { first, batch, .. } if first == tail && batch.verify().is_ok() => {
                let (records_max, bytes_max) = (shared.limits.batch_records_max, shared.limits.batch_bytes_max);
                let mut bytes = Vec::new();
                let count = batch.copy_range(0, records_max.min(batch.count()), bytes_max as usize, &mut bytes);
                let request = shared.ask_repair(lower, context.key, first, count, bytes);
                Stage::Storing { request, from: tail }
            }
            Message::Trimmed { trim_point, .. } if trim_point > tail => {
                let loglet = shared.loglet();
                // A trim point is committed wherever it stands, or it would not have been taken (P3).
                let request = shared.ask(lower, context.key, |request| Message::Trim {
                    request,
                    loglet,
                    point: trim_point,
                    committed: trim_point,
                });
                Stage::Trimming { request, from: tail }
            }
            _ => Stage::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::proto::loglet::{LogletOp, LogletResult};

    fn sealed_at(tail: u64) -> LogletResult {
        LogletResult::Tail { tail: Offset(tail), sealed: true }
    }

    fn rig(mut servers: Vec<Server>) -> Rig {
        servers.iter_mut().for_each(|server| server.sealed = true);
        Rig::new(servers)
    }

    #[test]
    fn records_are_copied_in_order_and_in_chunks_of_a_batch() {
        let mut rig = rig(vec![Server { chunk: 100, ..Server::with(0..30) }, Server::with(0..1)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [sealed_at(30)]);
        assert_eq!(rig.servers[1].stored, rig.servers[0].stored);
        // 64 bytes hold three or four records of about 9 bytes with 8 bytes of table each.
        assert!(rig.count(1, "Repair") >= 9, "{}", rig.count(1, "Repair"));
    }

    /// Each record from whichever responder has it: the first source has a gap.
    #[test]
    fn a_gap_is_filled_from_another_source() {
        let mut holed = Server::with(0..8);
        (3..6).for_each(|offset| drop(holed.stored.remove(&offset)));
        let lost = Server::default;
        let mut rig = rig(vec![holed, Server::with(0..6), Server::with(0..1), lost(), lost()]);
        (3..5).for_each(|server| rig.disconnect(server));
        assert_eq!(rig.run_op(LogletOp::CheckTail), [sealed_at(8)]);
        assert!(rig.servers[..3].iter().all(|server| server.tail() == 8));
    }

    /// P3: the higher server has trimmed what the lower one lacks.
    #[test]
    fn trimmed_on_the_way_trims_the_lower_server_and_goes_on() {
        let mut high = Server::with(0..9);
        high.trim = 6;
        high.stored.retain(|offset, _| *offset >= 6);
        let mut rig = rig(vec![high, Server::with(0..2)]);
        assert_eq!(rig.run_op(LogletOp::CheckTail), [sealed_at(9)]);
        assert_eq!((rig.servers[1].trim, rig.servers[1].tail()), (6, 9));
        assert_eq!(rig.servers[1].stored.keys().copied().collect::<Vec<_>>(), [6, 7, 8]);
    }

    #[test]
    fn a_source_with_a_bad_checksum_is_not_believed() {
        let rotten = Server { rotten: true, ..Server::with(0..4) };
        let mut rig = rig(vec![rotten, Server::with(0..4), Server::with(0..1)]);
        rig.disconnect(1);
        rig.start(1, LogletOp::CheckTail);
        rig.run();
        assert_eq!(rig.results(), []);
        assert_eq!(rig.servers[2].tail(), 1, "nothing bad was copied");
        rig.connect(1);
        rig.run();
        assert_eq!(rig.results(), [sealed_at(4)]);
    }

    /// Two reconfigurers repair at once; the other one's work is taken over, and both find a tail.
    #[test]
    fn racing_repairs_meet() {
        let servers: Vec<Server> = [9, 0].map(|end| Server::with(0..end).sealed()).to_vec();
        let (mut first, mut second) = (Rig::new(servers.clone()), Rig::new(servers.clone()));
        let mut shared = servers;
        for rig in [&mut first, &mut second] {
            rig.start(1, LogletOp::CheckTail);
        }
        for turn in 0..400 {
            let rig = if turn % 3 == 0 { &mut first } else { &mut second };
            rig.servers = shared;
            rig.step(turn / 2 % 2);
            shared = std::mem::take(&mut rig.servers);
        }
        assert_eq!(first.results(), [sealed_at(9)]);
        assert_eq!(second.results(), [sealed_at(9)]);
        assert_eq!(shared[0].stored, shared[1].stored);
    }

    /// The maximum of the first majority stands, however far a sealed tail grows meanwhile.
    #[test]
    fn a_growing_sealed_tail_does_not_move_the_target() {
        let mut rig = rig(vec![Server::with(0..4), Server::with(0..1)]);
        rig.start(1, LogletOp::CheckTail);
        rig.step(0);
        rig.step(1);
        rig.servers[0].stored = Server::with(0..40).stored;
        rig.run();
        assert_eq!(rig.results(), [sealed_at(4)]);
        assert!(rig.servers[1].tail() == 4);
    }

    #[test]
    fn a_lost_connection_on_either_side_is_survived() {
        let mut rig = rig(vec![Server::with(0..20), Server::with(0..1)]);
        rig.start(1, LogletOp::CheckTail);
        for turn in 0..10 {
            rig.step(0);
            rig.step(1);
            rig.disconnect(turn % 2);
            rig.connect(turn % 2);
        }
        rig.run();
        rig.pass_time(crate::base::Limits::default().stall);
        assert_eq!(rig.results(), [sealed_at(20)]);
    }
}
