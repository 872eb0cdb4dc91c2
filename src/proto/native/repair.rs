use super::link::Shared;
use super::round::{server_name, why_silent};
use super::step::Context;
use crate::base::Offset;
use crate::wire::Message;

/// What is being done for one lower LogServer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    /// The next records are being read from `source`.
    Reading {
        source: usize,
        request: u64,
    },
    /// They are being stored there.
    Storing {
        request: u64,
    },
    /// The records in between are trimmed elsewhere, so they are being trimmed there (P3).
    Trimming {
        request: u64,
    },
}

#[derive(Clone, Debug)]
struct Task {
    stage: Stage,
    /// Sources that do not have the record at the tail.
    tried: Vec<bool>,
}

/// Brings sealed LogServers up to the largest tail among them: in order, chunk by chunk, from whichever responder has each
/// record. Racing repairs write the same records, so each takes over what the other has done.
#[derive(Clone, Debug)]
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
                Stage::Storing { request: asked } | Stage::Trimming { request: asked }
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
                    if tails[lower] <= before {
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
                Stage::Storing { request }
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
                Stage::Trimming { request }
            }
            _ => Stage::Idle,
        }
    }
}
