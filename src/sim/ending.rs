//! The end of a run: everything heals, everything has to end, and the whole log is read.

use std::time::Duration;

use super::run::Run;
use crate::base::Offset;
use crate::client::ReadResult;
use crate::history::{Read, Value};

/// How often a node is started that finds its journal failed.
const STARTS: usize = 3;
/// Operations that have to be acknowledged after the healing.
const LAST_APPENDS: usize = 5;
/// How often the chain may be tried to be extended after the healing; each try is bounded by the operations' own timeouts.
const TRIES: usize = 4;
/// How long one wait may take, in multiples of what an operation may.
const PATIENCE: u32 = 12;

impl Run {
    /// Heals everything and sees that the cluster converges.
    pub(super) fn end(&mut self) {
        self.heal();
        self.start_nodes();
        let idle = self.wait_until(|run| run.clients.iter().all(super::client::Client::is_idle));
        if !idle {
            let pending: Vec<_> = self.clients.iter().map(super::client::Client::pending).collect();
            let reports = self.cluster.reports();
            self.history
                .unfinished
                .push(format!("operations of the clients are still on the way: {pending:?};{reports}"));
            return;
        }
        // The last segment is closed, so that every operation of the run is settled; the next one works.
        for client in 0..self.clients.len() {
            self.refresh(client);
        }
        if !self.extend_at_last() {
            return;
        }
        if !self.append_at_last() || !self.extend_at_last() {
            return;
        }
        // L5: whoever follows a segment that has ended is told.
        let last = self.chain.last();
        (0..self.clients.len()).for_each(|client| self.refresh(client));
        if !self.wait_until(|run| run.clients.iter().all(|client| client.has_read_up_to(last))) {
            let reports = self.cluster.reports();
            self.history.unfinished.push(format!("a subscription of a closed segment does not end;{reports}"));
            return;
        }
        self.read_everything();
    }

    /// Every node that is not lossy has to recover.
    fn start_nodes(&mut self) {
        for _ in 0..STARTS {
            self.wait_until(|run| {
                let cluster = &run.cluster;
                (0..cluster.nodes()).all(|node| cluster.is_ready(node) || cluster.shard(node).failure().is_some())
            });
            for node in 0..self.cluster.nodes() {
                if self.cluster.shard(node).failure().is_some() {
                    self.crash(node);
                    self.cluster_restart(node);
                }
            }
        }
        self.wait_until(|run| (0..run.cluster.nodes()).all(|node| run.cluster.is_ready(node)));
        for node in 0..self.cluster.nodes() {
            let failure = self.cluster.shard(node).failure().map(ToString::to_string);
            if let Some(failure) = failure.filter(|_| !self.plan.is_lossy(node)) {
                self.history.unfinished.push(format!("node {node} does not recover: {failure}"));
            }
        }
    }

    /// Appends are acknowledged again. What was refused for want of space is repeated, as a client would: a server looks for space
    /// only now and then, and a sequencer that has waited for it for long is lost.
    fn append_at_last(&mut self) -> bool {
        let end = self.now() + self.cluster.limits.operation_timeout * PATIENCE;
        // What was refused before everything was healed excuses nothing.
        self.take_want_of_space();
        let mut wanted_space = false;
        loop {
            let first = self.history.appends.len();
            for _ in 0..LAST_APPENDS {
                self.append(0);
            }
            self.wait_until(|run| run.clients.iter().all(|client| client.pending() == 0));
            let failed = self.history.appends[first..].iter().find(|append| append.acknowledged().is_none());
            let Some(ended) = failed.map(|append| append.ended) else { return true };
            let wants_space = self.take_want_of_space();
            if !wants_space && !wanted_space || self.now() >= end {
                let reports = self.cluster.reports();
                self.history
                    .unfinished
                    .push(format!("an append after everything was healed ended as {ended:?};{reports}"));
                return false;
            }
            if !wants_space && !self.extend_at_last() {
                return false;
            }
            wanted_space = wants_space;
        }
    }

    /// Whether a client or a LogServer has told of want of space since the last question.
    fn take_want_of_space(&mut self) -> bool {
        let by_server = self.observer.borrow_mut().take_want_of_space();
        self.clients[0].take_want_of_space() || by_server
    }

    /// Puts one more segment behind the last one.
    fn extend_at_last(&mut self) -> bool {
        let links = self.chain.links.len();
        for _ in 0..TRIES {
            self.extend(0);
            self.wait_until(|run| run.clients[0].is_extended());
            self.clients[0].settle_down();
            if self.chain.links.len() > links {
                return true;
            }
        }
        let reports = self.cluster.reports();
        self.history.unfinished.push(format!("segment {} cannot be closed;{reports}", links - 1));
        false
    }

    /// Lets the cluster run until `done`, or for so long that it never will be.
    fn wait_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now() + self.cluster.limits.operation_timeout * PATIENCE;
        let mut pause = Duration::from_micros(200);
        while self.now() < end {
            self.look();
            if done(self) {
                return true;
            }
            self.cluster.run_for(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        false
    }

    /// Two clients read the whole log, segment by segment.
    fn read_everything(&mut self) {
        for client in 0..2 {
            self.refresh(client);
            let (mut from, mut contents) = (0, Vec::new());
            for segment in 0..self.chain.last() {
                if !self.read_segment(client, segment, &mut from, &mut contents) {
                    return;
                }
            }
            self.history.contents = Some((from, contents));
        }
    }

    fn read_segment(&mut self, client: usize, segment: usize, from: &mut u64, contents: &mut Vec<Value>) -> bool {
        let link = &self.chain.links[segment];
        let (start, stop) = (link.start, link.stop.expect("only the last segment has none"));
        let log = self.log(client, segment);
        let mut next = Offset::ZERO;
        while next < stop {
            let invoked = self.moment();
            let mut operation = log.start_read(next, stop, 8 << 10);
            let mut result = None;
            self.wait_until(|_| {
                result = operation.try_take();
                result.is_some()
            });
            let ended = self.moment();
            match result {
                Some(Ok(ReadResult::Records(delivery))) => {
                    let values: Vec<_> = delivery.records().map(Value::of).collect();
                    contents.extend(&values);
                    let (client, segment) = (client as u32, segment as u32);
                    let (min, max, first) = (start + next.0, start + stop.0, start + delivery.first().0);
                    self.history.reads.push(Read { client, segment, invoked, ended, min, max, first, values });
                    next = delivery.end();
                }
                Some(Ok(ReadResult::Trimmed(point))) => {
                    self.took("read ends as trimmed");
                    self.history.trimmed.push((start + point.0, ended));
                    contents.clear();
                    *from = start + point.0;
                    next = point;
                }
                other => {
                    let reports = self.cluster.reports();
                    self.history.unfinished.push(format!(
                        "offset {next} of segment {segment}, which ends at {stop}, cannot be read: {other:?};{reports}"
                    ));
                    return false;
                }
            }
        }
        true
    }
}
