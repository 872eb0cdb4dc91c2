use crate::history::History;

/// A rule that histories obey.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Its name, in reports.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Adds a sentence for each breach.
    pub(super) check: fn(&History, &mut Vec<String>),
}

/// A breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub detail: String,
}

/// All of them.
pub const ALL: &[Invariant] = &[
    super::acknowledged_lost::INVARIANT,
    super::append_order::INVARIANT,
    super::blank_vote::INVARIANT,
    super::boundary::INVARIANT,
    super::contents::INVARIANT,
    super::convergence::INVARIANT,
    super::false_damage::INVARIANT,
    super::intent::INVARIANT,
    super::known_tail::INVARIANT,
    super::one_chain::INVARIANT,
    super::one_value::INVARIANT,
    super::open_tail::INVARIANT,
    super::order_of_appends_after_tails::INVARIANT,
    super::order_of_records::INVARIANT,
    super::read_limit::INVARIANT,
    super::seal::INVARIANT,
    super::sealed_outcome::INVARIANT,
    super::stable_values::INVARIANT,
    super::tail_covers::INVARIANT,
    super::trim::INVARIANT,
];

/// Breaches of one invariant that are told: more of them say nothing new.
const TOLD_MAX: usize = 3;

/// Everything in which a history breaks an invariant; of each, the first few breaches.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for invariant in ALL {
        let mut details = Vec::new();
        (invariant.check)(history, &mut details);
        details.truncate(TOLD_MAX);
        violations.extend(details.into_iter().map(|detail| Violation { invariant: invariant.name, detail }));
    }
    violations
}
