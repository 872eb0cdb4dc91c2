//! What nodes say of themselves, as branches taken.

use serde_json::Value;

use super::run::Run;
use crate::base::{LogletId, Offset};

fn offset(value: &Value) -> Option<Offset> {
    value.as_u64().map(Offset)
}

fn loglets(report: &Value) -> impl Iterator<Item = (LogletId, &Value)> {
    let loglets = report["loglets"].as_array().into_iter().flatten();
    loglets.map(|loglet| (serde_json::from_value(loglet["id"].clone()).expect("it has an id"), loglet))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

impl Run {
    /// Looks at every node that has recovered since the last look: what it makes of a disk that has lost nothing.
    pub(super) fn look_at_recovered(&mut self) {
        for node in 0..self.cluster.nodes() {
            let life = self.cluster.life(node);
            if self.looked_at[node] == life || !self.cluster.is_ready(node) {
                continue;
            }
            self.looked_at[node] = life;
            if !self.plan.is_lossy(node) {
                let report = self.cluster.report(node);
                self.judge_recovered(node, &report);
            }
        }
    }

    fn judge_recovered(&mut self, node: usize, report: &Value) {
        let damage = report["journal"]["damage"].as_array().expect("damage is listed");
        // What cannot be read for once is damage on any disk.
        let false_damage = damage.iter().filter(|damage| damage["cause"] != "Unreadable");
        self.history.false_damage.extend(false_damage.map(|damage| format!("node {node} found {damage}")));
        self.known_tails(report);
        self.was_damaged[node] |= !damage.is_empty();
        if self.was_damaged[node] {
            return;
        }
        for (id, loglet) in loglets(report) {
            if loglet["catching_up"] == true {
                self.history.false_damage.push(format!("node {node} has records of {id}, and lost its cell"));
            }
            if let Some(missing_below) = offset(&loglet["missing_below"]) {
                self.observer.borrow_mut().recovered(node, id, missing_below);
            }
        }
    }

    fn known_tails(&self, report: &Value) {
        for (id, loglet) in loglets(report) {
            let known_tail = offset(&loglet["known_tail"]).expect("it has a known tail");
            self.observer.borrow_mut().reported(id, known_tail);
        }
    }

    /// Asks a node about itself, if it is up.
    pub(super) fn take_report(&mut self, node: usize) {
        if !self.cluster.is_up(node) {
            return;
        }
        if let Some(failure) = self.cluster.shard(node).failure() {
            let opened = self.cluster.is_ready(node);
            let failure = failure.to_string();
            self.took(if opened { "journal poisoned by a write" } else { "journal cannot be opened" });
            self.note(format_args!("node {node} had failed: {failure}"));
        }
        let report = self.cluster.report(node);
        let counters = &report["journal"]["counters"];
        let by_counter = [
            ("index_blocks", "journal rolls a segment"),
            ("segments_recycled", "journal recycles a segment"),
            ("claims", "journal claims when idle"),
            ("prepare_failures", "journal cannot prepare a segment"),
            ("ran_out_of_prepared", "journal runs out of segments"),
            ("read_bytes", "journal reads from disk"),
            ("reads_damaged", "journal meets damage in a read"),
        ];
        for (counter, branch) in by_counter {
            if number(&counters[counter]) > 0 {
                self.took(branch);
            }
        }
        for damage in report["journal"]["damage"].as_array().into_iter().flatten() {
            self.note(format_args!("node {node} found damage: {damage}"));
            self.took(match damage["cause"].as_str() {
                Some("Unit") => "recovery finds a damaged unit",
                Some("Unreadable") => "recovery cannot read",
                _ => "recovery misses a segment or the anchor",
            });
            if damage["table_survived"] == false || damage["cells_lost"].as_array().is_some_and(|lost| !lost.is_empty())
            {
                self.took("recovery loses an entry table or cell");
            }
            if damage["holes"].as_array().is_some_and(|holes| !holes.is_empty()) {
                self.took("recovery finds holes");
            }
        }
        self.known_tails(&report);
        for loglet in report["loglets"].as_array().into_iter().flatten() {
            if loglet["catching_up"] == true {
                self.took("server copies before it tells a tail");
            }
            if number(&loglet["missing"]) > 0 {
                self.took("server has gaps");
            }
        }
        for sequencer in report["sequencers"].as_array().into_iter().flatten() {
            match sequencer["state"].as_str() {
                Some("running") => self.took("sequencer running"),
                Some("sealed" | "sealing") => self.took("sequencer sealed"),
                Some("lost") => self.took("sequencer lost"),
                _ => {}
            }
            if sequencer["queue_full"] == true {
                self.took("sequencer has a full queue");
            }
        }
    }
}
