//! The model as `stateright` searches it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};

use super::history::Rule;
use super::scenario::Scenario;
use super::state::{Action, State};
use crate::base::mutants::{self, Mutant};

/// What a search has been through, over all of its threads.
pub(super) type Reached = Arc<Mutex<BTreeSet<&'static str>>>;

pub(super) struct Cores {
    pub(super) scenario: Scenario,
    pub(super) mutant: Option<Mutant>,
    pub(super) reached: Reached,
}

impl Cores {
    fn has_reached(&self, what: &str) -> bool {
        self.reached.lock().expect("no thread panics with it").contains(what)
    }
}

impl Model for Cores {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        mutants::select(self.mutant);
        let state = State::new(&self.scenario);
        mutants::select(None);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What follows from a broken rule is of no interest.
        if state.history.broken.is_empty() && !(self.scenario.until_answered && state.is_answered(&self.scenario)) {
            actions.extend(state.actions(&self.scenario));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        let mut reached = Vec::new();
        mutants::select(self.mutant);
        let step = catch_unwind(AssertUnwindSafe(|| next.step(action, &self.scenario, &mut |what| reached.push(what))));
        mutants::select(None);
        if !reached.is_empty() {
            self.reached.lock().expect("no thread panics with it").extend(reached);
        }
        if step.is_err() {
            next = last.clone();
            next.history.broken.insert(Rule::Assertion);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($rule:ident),*) => {
                vec![$(Property::always(Rule::$rule.name(), |_: &Self, state: &State| {
                    !state.history.broken.contains(&Rule::$rule)
                })),*]
            };
        }
        let properties = always![
            AcknowledgedBelowStop,
            OpenBelowStop,
            KnownBelowStop,
            NothingAfterSeal,
            TailCovers,
            AppendsInOrder,
            OneValue,
            DurableOnMajority,
            ReadBelowLimit,
            Assertion
        ];
        assert_eq!(properties.len(), Rule::ALL.len(), "every rule is a property");
        macro_rules! sometimes {
            ($($what:literal),*) => {
                vec![$(Property::sometimes($what, |model: &Self, _: &State| model.has_reached($what))),*]
            };
        }
        let reachable = sometimes![
            "an append is acknowledged",
            "an append ends sealed, with an offset",
            "a fill is answered",
            "a fill has failed",
            "a seal is complete",
            "row: all sealed, equal",
            "row: all sealed, repaired",
            "row: mixed",
            "row: none sealed, equal",
            "row: none sealed, waited",
            "a server that is back votes",
            "a trim is done",
            "a read meets the trim point",
            "records are read",
            "a deleted loglet is gone",
            "the loglet is created or deleted",
            "the sequencer is lost"
        ];
        for expected in self.scenario.expects {
            assert!(reachable.iter().any(|property| property.name == *expected), "`{expected}` is no property");
        }
        let expected = reachable.into_iter().filter(|property| self.scenario.expects.contains(&property.name));
        properties.into_iter().chain(expected).collect()
    }
}
