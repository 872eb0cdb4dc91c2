use super::super::recording::Question;
use super::super::run::Run;
use super::super::workload::Workload;
use super::workload::{Party, VirtualLogs};
use crate::base::LogPos;
use crate::client::ReadResult;
use crate::history::Value;

/// Operations that have to be acknowledged after the healing, of each client.
const LAST_APPENDS: usize = 3;
/// How often the chain may be tried to be extended after the healing, each way.
const TRIES: usize = 6;

impl VirtualLogs {
    /// Heals everything and sees that the log goes on.
    pub(super) fn end(&mut self, run: &mut Run) {
        run.heal();
        self.start_nodes(run);
        if !self.wait_until(run, |log, _| log.parties.iter().all(Party::is_idle)) {
            return self.stuck(run, "operations of the clients are still on the way");
        }
        // What somebody has intended is carried out by whoever extends next; then there is room for a new intent.
        let can_go_on = self.append_at_last(run)
            && self.extend_at_last(run, false)
            && self.extend_at_last(run, true)
            && self.append_at_last(run)
            && self.extend_at_last(run, false);
        if !can_go_on {
            return;
        }
        let end = self.chain().last().start.0;
        // L5: whoever follows the log hears of what is new.
        let is_told = |party: &Party| party.streams.iter().all(|stream| stream.next() >= end);
        if !self.wait_until(run, |log, _| log.parties.iter().all(is_told)) {
            return self.stuck(run, "a subscription does not come to the end");
        }
        for client in 0..2 {
            let Some(contents) = self.read_everything(run, client, end) else { return };
            run.history.contents = Some(contents);
        }
    }

    fn stuck(&mut self, run: &mut Run, what: &str) {
        let (clients, reports) = (run.cluster.describe_clients(), run.cluster.reports());
        run.history.unfinished.push(format!("{what};\n{clients}{reports}"));
    }

    /// Everybody can append, and knows the tail.
    fn append_at_last(&mut self, run: &mut Run) -> bool {
        let first = run.history.appends.len();
        for client in 0..self.parties.len() {
            for _ in 0..LAST_APPENDS {
                self.append_record(run, client, 16);
            }
            self.check_tail(run, client);
        }
        self.wait_until(run, |log, _| log.parties.iter().all(Party::is_idle));
        let failed = run.history.appends[first..].iter().find(|append| append.acknowledged().is_none());
        if let Some(ended) = failed.map(|append| append.ended) {
            self.stuck(run, &format!("an append after everything was healed ended as {ended:?}"));
            return false;
        }
        true
    }

    /// Puts one more loglet behind the last one, as an intent says or not.
    fn extend_at_last(&mut self, run: &mut Run, is_intended: bool) -> bool {
        let last = self.chain().last().loglet.id();
        for _ in 0..TRIES {
            self.extend(run, 0, is_intended);
            let intent = self.wait_until(run, |log, _| log.parties[0].is_idle());
            let new = self.chain().last();
            if intent && new.loglet.id() != last && new.fulfils.is_some() >= is_intended {
                return true;
            }
        }
        self.stuck(run, &format!("{last} cannot be replaced, intended: {is_intended}"));
        false
    }

    /// A client reads the whole log, up to a position that is committed.
    fn read_everything(&mut self, run: &mut Run, client: usize, end: u64) -> Option<(u64, Vec<Value>)> {
        let (mut from, mut next, mut contents) = (0, 0, Vec::new());
        while next < end {
            let invoked = run.moment();
            let mut operation = self.parties[client].log.start_read(LogPos(next), LogPos(end), 8 << 10);
            let mut result = None;
            self.wait_until(run, |_, _| {
                result = operation.try_take();
                result.is_some()
            });
            match result {
                Some(Ok(ReadResult::Records(delivery))) => {
                    let question = Question { client, segment: None, invoked, min: next, max: end };
                    contents.extend(delivery.values().map(Value::at));
                    next = run.records_read(question, delivery.first().0, delivery.values());
                }
                Some(Ok(ReadResult::Trimmed(LogPos(point)))) => {
                    run.took("read ends as trimmed");
                    run.trim_point_told(point);
                    contents.clear();
                    (from, next) = (point, point);
                }
                other => {
                    self.stuck(run, &format!("{next} of [0, {end}) cannot be read: {other:?}"));
                    return None;
                }
            }
        }
        Some((from, contents))
    }
}
