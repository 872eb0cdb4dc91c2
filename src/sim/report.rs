//! What comes out of many runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::branches::Coverage;
use super::profile::Profile;
use super::run::Outcome;

/// A breach of an invariant, and the seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SeedViolation {
    /// The seed.
    pub seed: u64,
    /// Which invariant; `no-panic` is an assertion of the program itself.
    pub invariant: String,
    /// How.
    pub detail: String,
}

/// What many runs of one profile came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The profile.
    pub profile: Profile,
    /// How many seeds were run.
    pub runs: u64,
    /// Operations of clients.
    pub ops: u64,
    /// Appends acknowledged.
    pub acked: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<String, u64>,
    /// The branches taken.
    pub coverage: Coverage,
    /// What was violated, by seed.
    pub violations: Vec<SeedViolation>,
    /// Time in the simulated worlds.
    pub virtual_time: Duration,
}

impl Summary {
    /// Of no run yet.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            runs: 0,
            ops: 0,
            acked: 0,
            faults: BTreeMap::new(),
            coverage: Coverage::default(),
            violations: Vec::new(),
            virtual_time: Duration::ZERO,
        }
    }

    /// Adds a run.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.runs += 1;
        self.ops += outcome.ops;
        self.acked += outcome.acked;
        for (kind, count) in &outcome.faults {
            *self.faults.entry((*kind).to_owned()).or_default() += count;
        }
        self.coverage.add(&outcome.coverage);
        let violations = outcome.violations.iter();
        self.violations.extend(violations.map(|(invariant, detail)| SeedViolation {
            seed,
            invariant: (*invariant).to_owned(),
            detail: detail.clone(),
        }));
        self.virtual_time += outcome.virtual_time;
    }

    /// Adds what others have run.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.ops += other.ops;
        self.acked += other.acked;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.coverage.add(&other.coverage);
        self.violations.extend(other.violations);
        self.violations.sort_by_key(|violation| violation.seed);
        self.virtual_time += other.virtual_time;
    }

    /// One JSON object; `elapsed` is real time.
    pub fn to_json(&self, elapsed: Duration) -> Value {
        let missing = self.coverage.missing();
        let total = Coverage::total();
        json!({
            "schema": 1,
            "profile": self.profile.name(),
            "runs": self.runs,
            "ops": self.ops,
            "acked": self.acked,
            "faults": self.faults,
            "branches": { "reached": total - missing.len(), "total": total, "missing": missing },
            "violations": self.violations,
            "seconds": elapsed.as_secs_f64(),
            "virtual_seconds": self.virtual_time.as_secs_f64(),
        })
    }
}
