//! The end of a run: everything heals, everything has to end, and the whole log is read.

use super::super::recording::Question;
use super::super::run::Run;
use super::super::workload::{PATIENCE, Workload};
use super::Loglets;
use super::client::Client;
use crate::base::Offset;
use crate::client::ReadResult;
use crate::history::Value;

/// Operations that have to be acknowledged after the healing.
const LAST_APPENDS: usize = 5;
/// How often the chain may be tried to be extended after the healing; each try is bounded by the operations' own timeouts.
const TRIES: usize = 4;

/// The run does not end as it has to: `what` is in the way.
fn stuck(run: &mut Run, what: &str) {
    let reports = run.cluster.reports();
    run.history.unfinished.push(format!("{what};{reports}"));
}

impl Loglets {
    /// Heals everything and sees that the cluster converges.
    pub(super) fn end(&mut self, run: &mut Run) {
        run.heal();
        self.start_nodes(run);
        let idle = self.wait_until(run, |log, _| log.clients.iter().all(Client::is_idle));
        if !idle {
            let pending: Vec<_> = self.clients.iter().map(Client::pending).collect();
            return stuck(run, &format!("operations of the clients are still on the way: {pending:?}"));
        }
        // The last segment is closed, so that every operation of the run is settled; the next one works.
        for client in 0..self.clients.len() {
            self.refresh(client);
        }
        if !self.extend_at_last(run) {
            return;
        }
        if !self.append_at_last(run) || !self.extend_at_last(run) {
            return;
        }
        // L5: whoever follows a segment that has ended is told.
        let last = self.chain.last();
        (0..self.clients.len()).for_each(|client| self.refresh(client));
        if !self.wait_until(run, |log, _| log.clients.iter().all(|client| client.has_read_up_to(last))) {
            return stuck(run, "a subscription of a closed segment does not end");
        }
        self.read_everything(run);
    }

    /// Appends are acknowledged again. What was refused for want of space is repeated, as a client would: a server looks for space
    /// only now and then, and a sequencer that has waited for it for long is lost.
    fn append_at_last(&mut self, run: &mut Run) -> bool {
        let end = run.now() + run.cluster.limits.operation_timeout * PATIENCE;
        // What was refused before everything was healed excuses nothing.
        self.take_want_of_space(run);
        let mut wanted_space = false;
        loop {
            let first = run.history.appends.len();
            for _ in 0..LAST_APPENDS {
                self.append(run, 0);
            }
            self.wait_until(run, |log, _| log.clients.iter().all(|client| client.pending() == 0));
            let failed = run.history.appends[first..].iter().find(|append| append.acknowledged().is_none());
            let Some(ended) = failed.map(|append| append.ended) else { return true };
            let wants_space = self.take_want_of_space(run);
            if !wants_space && !wanted_space || run.now() >= end {
                stuck(run, &format!("an append after everything was healed ended as {ended:?}"));
                return false;
            }
            if !wants_space && !self.extend_at_last(run) {
                return false;
            }
            wanted_space = wants_space;
        }
    }

    /// Whether a client or a LogServer has told of want of space since the last question.
    fn take_want_of_space(&mut self, run: &mut Run) -> bool {
        let by_server = run.observer.borrow_mut().take_want_of_space();
        self.clients[0].take_want_of_space() || by_server
    }

    /// Puts one more segment behind the last one.
    fn extend_at_last(&mut self, run: &mut Run) -> bool {
        let links = self.chain.links.len();
        for _ in 0..TRIES {
            self.extend(run, 0);
            self.wait_until(run, |log, _| log.clients[0].is_extended());
            self.clients[0].settle_down();
            if self.chain.links.len() > links {
                return true;
            }
        }
        stuck(run, &format!("segment {} cannot be closed", links - 1));
        false
    }

    /// Two clients read the whole log, segment by segment.
    fn read_everything(&mut self, run: &mut Run) {
        for client in 0..2 {
            self.refresh(client);
            let (mut from, mut contents) = (0, Vec::new());
            for segment in 0..self.chain.last() {
                if !self.read_segment(run, client, segment, &mut from, &mut contents) {
                    return;
                }
            }
            run.history.contents = Some((from, contents));
        }
    }

    fn read_segment(
        &mut self,
        run: &mut Run,
        client: usize,
        segment: usize,
        from: &mut u64,
        contents: &mut Vec<Value>,
    ) -> bool {
        let link = &self.chain.links[segment];
        let (start, stop) = (link.start, link.stop.expect("only the last segment has none"));
        let log = self.log(run, client, segment);
        let mut next = Offset::ZERO;
        while next < stop {
            let invoked = run.moment();
            let mut operation = log.start_read(next, stop, 8 << 10);
            let mut result = None;
            self.wait_until(run, |_, _| {
                result = operation.try_take();
                result.is_some()
            });
            match result {
                Some(Ok(ReadResult::Records(delivery))) => {
                    let (min, max) = (start + next.0, start + stop.0);
                    let question = Question { client, segment: Some(segment), invoked, min, max };
                    contents.extend(delivery.values().map(Value::at));
                    run.records_read(question, start + delivery.first().0, delivery.values());
                    next = delivery.end();
                }
                Some(Ok(ReadResult::Trimmed(point))) => {
                    run.took("read ends as trimmed");
                    run.trim_point_told(start + point.0);
                    contents.clear();
                    *from = start + point.0;
                    next = point;
                }
                other => {
                    stuck(
                        run,
                        &format!("offset {next} of segment {segment}, which ends at {stop}, cannot be read: {other:?}"),
                    );
                    return false;
                }
            }
        }
        true
    }
}
