use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::super::run::Run;
use super::client::Pending;
use super::workload::VirtualLogs;
use crate::base::LogPos;
use crate::client::{Extended, LogAppendError, OpError, ReadResult};
use crate::history::{AppendOutcome, ChainVersion};

impl VirtualLogs {
    /// Takes in what has come of an operation, if it has ended. Says whether it has.
    pub(super) fn has_ended(&mut self, run: &mut Run, client: usize, pending: &mut Pending) -> bool {
        match pending {
            Pending::Append { index, append } => {
                let mut context = Context::from_waker(Waker::noop());
                let Poll::Ready(result) = Pin::new(append).poll(&mut context) else { return false };
                self.append_ended(run, client, *index, result);
            }
            Pending::Tail { invoked, operation } => match operation.try_take() {
                None => return false,
                Some(Ok(tail)) => {
                    run.took("checkTail open");
                    run.note(format_args!("client {client}: the tail is {tail}"));
                    self.parties[client].learn(tail.0);
                    run.tail_told(client, None, *invoked, tail.0, false);
                }
                Some(Err(_)) => run.took("checkTail unavailable"),
            },
            Pending::Read { question, operation } => match operation.try_take() {
                None => return false,
                Some(Ok(ReadResult::Records(delivery))) => {
                    run.records_read(*question, delivery.first().0, delivery.values());
                }
                Some(Ok(ReadResult::NothingYet)) => run.took("read finds nothing yet"),
                Some(Ok(ReadResult::Trimmed(point))) => {
                    run.took("read ends as trimmed");
                    run.trim_point_told(point.0);
                }
                Some(Err(_)) => run.took("read unavailable"),
            },
            Pending::Trim { operation } => match operation.try_take() {
                None => return false,
                Some(Ok(point)) => {
                    run.took("trim done");
                    run.trim_point_told(point.0);
                }
                Some(Err(_)) => run.took("trim unavailable"),
            },
            Pending::Extend { operation } => {
                let Some(result) = operation.try_take() else { return false };
                self.extend_ended(run, client, result);
            }
            Pending::Seal { operation } => match operation.try_take() {
                None => return false,
                Some(result) => run.took(if result.is_ok() { "log sealed" } else { "seal of a log unavailable" }),
            },
            Pending::Modify { operation } => match operation.try_take() {
                None => return false,
                Some(Ok(chain)) => {
                    run.took("segment modified");
                    self.chain_told(run, chain);
                }
                Some(Err(error)) => {
                    run.took("segment not modified");
                    run.note(format_args!("client {client} could not modify a segment: {error}"));
                }
            },
            Pending::Chain { operation } => match operation.try_take() {
                None => return false,
                Some(Ok(chain)) => {
                    run.took("chain read");
                    self.chain_told(run, chain);
                }
                Some(Err(_)) => run.took("chain unavailable"),
            },
        }
        true
    }

    fn append_ended(&mut self, run: &mut Run, client: usize, index: usize, result: Result<LogPos, LogAppendError>) {
        let outcome = match result {
            Ok(position) => {
                self.parties[client].learn(position.0 + 1);
                AppendOutcome::Acknowledged(position.0)
            }
            Err(LogAppendError::NoSpace { record_at: Some(position) }) => AppendOutcome::Settled(position.0),
            Err(LogAppendError::NoSpace { record_at: None }) => AppendOutcome::NotStored,
            Err(LogAppendError::Unavailable { maybe_stored: false }) => {
                run.took("no loglet takes an append in time, not stored");
                AppendOutcome::NotStored
            }
            Err(LogAppendError::Unavailable { maybe_stored: true }) => {
                run.took("no loglet takes an append in time, outcome unknown");
                AppendOutcome::Unknown
            }
            Err(LogAppendError::TooLarge { .. } | LogAppendError::Deleted { .. } | LogAppendError::Closed) => {
                AppendOutcome::Unknown
            }
        };
        run.append_ends(client, index, outcome);
    }

    fn extend_ended(&mut self, run: &mut Run, client: usize, result: Result<Extended, OpError>) {
        match result {
            Ok(Extended::Done(chain)) => {
                run.took("extend done");
                run.note(format_args!("client {client} has extended the chain: version {}", chain.version));
                self.chain_told(run, chain);
            }
            Ok(Extended::Overtaken(chain)) => {
                run.took("extend overtaken");
                self.chain_told(run, chain);
            }
            Ok(Extended::Pending(_)) => run.took("extend meets another intent"),
            Err(error) => {
                run.took("extend unavailable");
                run.note(format_args!("client {client} could not extend the chain: {error}"));
            }
        }
    }

    /// What shows only in the whole history.
    pub(super) fn tell_branches(&self, run: &mut Run) {
        let beyond = |segment: &crate::history::Segment| {
            let last = segment.given.last_key_value().map(|(position, _)| *position);
            segment.stop.is_some_and(|(stop, _)| last >= Some(stop))
        };
        if run.history.segments.iter().any(beyond) {
            run.took("loglet is given records at or beyond its stop");
        }
        let ids = |chain: &ChainVersion| chain.parts.iter().map(|part| part.loglet).collect::<Vec<_>>();
        let branches = run.history.chains.windows(2).filter_map(|pair| {
            let (before, after) = (&pair[0], &pair[1]);
            let is_extended = before.last().loglet != after.last().loglet;
            Some(match (&before.intent, &after.intent) {
                (Some(_), _) if is_extended => "intent carried out",
                (Some(_), None) => "intent given up",
                _ if is_extended && before.last().start == after.last().start => "empty segment replaced",
                _ if is_extended => "chain extended",
                _ if ids(before) != ids(after) => "chain truncated",
                _ => return None,
            })
        });
        let branches: Vec<_> = branches.collect();
        branches.into_iter().for_each(|branch| run.took(branch));
    }
}
