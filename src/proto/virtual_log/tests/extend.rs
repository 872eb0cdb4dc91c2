//! Attempts that race: every interleaving of their steps, with lost answers and attempts that die.

use std::collections::HashSet;

use super::{id, intent, loglet, member};
use crate::base::{Incarnation, IntentId, LogPos, NodeId, Offset};
use crate::proto::virtual_log::{
    Chain, Extend, GivenUp, Host, Intent, LogletSpec, Outcome, Step, StripeRange, Stripes, Wanted, WantedStripe, Wish,
    Written,
};

fn wanted(sequencer: u128) -> Wanted {
    Wanted::native(member(sequencer), [1, 2, 3].map(member).to_vec())
}

fn wish(sequencer: u128, with_intent: bool) -> Wish {
    wish_for(wanted(sequencer), sequencer, with_intent)
}

/// As many as are wanted now, or one more.
fn range_of(wanted: &Wanted) -> StripeRange {
    let count = wanted.stripes().len();
    StripeRange { least: Stripes { count, sharded: false }, most: count + 1 }
}

fn wish_for(wanted: Wanted, name: u128, with_intent: bool) -> Wish {
    let stripes = Some(range_of(&wanted));
    let intent = with_intent.then(|| Intent { wanted: wanted.clone(), stripes, ..intent(name, id(1, 1)) });
    Wish { replaces: id(1, 1), wanted, intent }
}

fn host(node: NodeId) -> Host {
    Host { member: member(node.0), incarnation: Incarnation(node.0 + 40) }
}

/// The register, and who attempts what. An attempt that has died is none.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    chain: Chain,
    attempts: Vec<Option<Extend>>,
    lost_answers: u8,
    deaths: u8,
    /// Loglets made, each once.
    made: Vec<crate::base::LogletId>,
}

impl World {
    fn new(wishes: Vec<Wish>) -> Self {
        let chain = Chain::begin(loglet(1, 1));
        let attempts = wishes.into_iter().enumerate();
        let attempts =
            attempts.map(|(at, wish)| Some(Extend::new(chain.clone(), wish, 100 * (at as u64 + 1)))).collect();
        Self { chain, attempts, lost_answers: 1, deaths: 1, made: Vec::new() }
    }

    /// Carries out the next step of an attempt; with `lose`, the answer to a write is lost.
    fn go_on(&mut self, at: usize, lose: bool) {
        let attempt = self.attempts[at].as_mut().expect("it lives");
        match attempt.step().expect("it is not over") {
            Step::Ask(nodes) => nodes.into_iter().for_each(|node| attempt.handle_host(host(node))),
            Step::Prepare(config) => {
                assert!(!self.made.contains(&config.id()), "a loglet is made once (P5)");
                self.made.push(config.id());
                attempt.handle_prepared();
            }
            Step::Seal(config) => {
                assert_eq!(config.id(), id(1, 1));
                attempt.handle_sealed();
            }
            // Two may find different tails of one sealed loglet.
            Step::CheckTail(_) => attempt.handle_tail(Offset(5 + at as u64)),
            Step::Fetch => attempt.handle_fetched(self.chain.clone()),
            Step::Write(chain) => {
                let fits = chain.version == self.chain.version + 1;
                if fits {
                    Self::judge(&self.chain, &chain);
                    self.chain = chain;
                }
                attempt.handle_written(match (lose, fits) {
                    (true, _) => Written::Unknown,
                    (false, true) => Written::Done,
                    (false, false) => Written::Conflict(self.chain.clone()),
                });
            }
        }
    }

    /// What a write may change.
    fn judge(before: &Chain, after: &Chain) {
        assert_eq!(Chain::from_json(&after.to_json()).unwrap(), *after, "a chain never contradicts itself");
        let closed = before.segments.len() - 1;
        assert_eq!(before.segments[..closed], after.segments[..closed], "what is decided stays");
        if after.segments.len() == before.segments.len() {
            return;
        }
        assert_eq!(after.segments.len(), before.segments.len() + 1);
        if let Some(intent) = &before.intent {
            let last = after.last();
            assert_eq!(last.fulfils, Some(intent.id), "an intent that is written down wins");
            assert_eq!(after.stripes, intent.stripes, "whoever carries it out");
            let sequencers = last.loglet.sequencers().map(|sequencer| sequencer.node);
            assert!(sequencers.eq(intent.wanted.stripes().iter().map(|stripe| stripe.sequencer.node)));
        }
    }

    fn judge_end(&self) {
        for attempt in self.attempts.iter().flatten() {
            match attempt.outcome().expect("it is over") {
                Outcome::Extended(chain) => assert!(chain.segments.len() > 1),
                Outcome::Overtaken(chain) => assert!(chain.segments.len() > 1 && attempt.left_over().count() <= 3),
                Outcome::Pending(intent) => assert_eq!(intent.replaces, id(1, 1)),
            }
        }
    }
}

/// Every execution; returns how many states there are, and all chains at the end of one.
fn explore(wishes: Vec<Wish>) -> (usize, HashSet<Chain>) {
    let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
    let mut open = vec![World::new(wishes)];
    while let Some(world) = open.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        let running = |attempt: &Option<Extend>| attempt.as_ref().is_some_and(|attempt| attempt.outcome().is_none());
        let running: Vec<_> = (0..world.attempts.len()).filter(|&at| running(&world.attempts[at])).collect();
        if running.is_empty() {
            world.judge_end();
            ends.insert(world.chain.clone());
        }
        for at in running {
            let mut next = world.clone();
            next.go_on(at, false);
            open.push(next);
            if world.lost_answers > 0
                && matches!(world.attempts[at].as_ref().and_then(Extend::step), Some(Step::Write(_)))
            {
                let mut next = world.clone();
                next.lost_answers -= 1;
                next.go_on(at, true);
                open.push(next);
            }
            if world.deaths > 0 {
                let mut next = world.clone();
                next.deaths -= 1;
                next.attempts[at] = None;
                open.push(next);
            }
        }
    }
    (seen.len(), ends)
}

#[test]
fn every_race_of_two_ends_in_one_chain() {
    let (states, ends) = explore(vec![wish(1, false), wish(2, false)]);
    assert!(states > 100, "{states}");
    // Both win somewhere, and with either tail.
    for (sequencer, tail) in [(1, 5), (2, 6)] {
        let won = |chain: &Chain| {
            chain.last().loglet.first().sequencer.node == NodeId(sequencer) && chain.last().start == LogPos(tail)
        };
        assert!(ends.iter().any(won), "{sequencer}");
    }
    assert!(ends.iter().all(|chain| chain.segments.len() <= 2), "one of them, or none where both died");
}

#[test]
fn p15_every_race_with_an_intent_ends_as_intended_once_it_is_written() {
    let (states, ends) = explore(vec![wish(1, true), wish(2, false)]);
    assert!(states > 100, "{states}");
    let carried_out_by_the_other =
        |chain: &Chain| chain.last().fulfils == Some(IntentId(1)) && chain.last().loglet.id().nonce == 200;
    assert!(ends.iter().any(carried_out_by_the_other));
    let (_, ends) = explore(vec![wish(1, true), wish(2, true)]);
    assert!(ends.iter().any(|chain| chain.last().fulfils == Some(IntentId(1))));
    assert!(ends.iter().any(|chain| chain.last().fulfils == Some(IntentId(2))));
}

/// The same with more stripes than there were, or as an intent says, with one.
#[test]
fn every_race_to_another_number_of_stripes_ends_in_one_chain() {
    let stripe = |node| WantedStripe { sequencer: member(node), log_servers: [1, 2, 3].map(member).to_vec() };
    let striped = || Wanted::new(vec![stripe(2), stripe(3), stripe(2)]);
    for with_intent in [false, true] {
        let (states, ends) = explore(vec![wish_for(striped(), 2, with_intent), wish(1, false)]);
        assert!(states > 100, "{states}");
        let stripes = |wanted: usize| ends.iter().any(|chain| chain.last().loglet.stripes().len() == wanted);
        assert!(stripes(3) && (stripes(1) || with_intent), "each wins somewhere");
        let is_either = |loglet: &LogletSpec| [1, 3].contains(&loglet.stripes().len());
        assert!(ends.iter().all(|chain| chain.segments.len() <= 2 && is_either(&chain.last().loglet)));
    }
}

/// Goes on alone until it is over.
fn carry_out(mut world: World) -> Chain {
    while world.attempts[0].as_ref().unwrap().step().is_some() {
        world.go_on(0, false);
    }
    world.chain
}

#[test]
fn over_how_many_stripes_a_log_may_go_is_kept_until_somebody_asks_for_something_else() {
    let asked = range_of(&wanted(2));
    let chain = carry_out(World::new(vec![wish(2, true)]));
    assert_eq!(chain.stripes, Some(asked));
    let (last, intent) = (chain.last().loglet.id(), intent(3, chain.last().loglet.id()));
    let clone = Wish { replaces: last, wanted: wanted(1), intent: Some(intent) };
    let mut clone = Extend::new(chain.clone(), clone, 900);
    while let Some(step) = clone.step() {
        match step {
            Step::Ask(nodes) => nodes.into_iter().for_each(|node| clone.handle_host(host(node))),
            Step::Prepare(_) => clone.handle_prepared(),
            Step::Seal(_) => clone.handle_sealed(),
            Step::CheckTail(_) => clone.handle_tail(Offset(3)),
            Step::Write(_) => clone.handle_written(Written::Done),
            Step::Fetch => panic!("nobody else is there"),
        }
    }
    let Some(Outcome::Extended(chain)) = clone.outcome() else { panic!("{:?}", clone.outcome()) };
    assert_eq!((chain.segments.len(), chain.stripes), (3, Some(asked)));
}

/// Somebody could not carry out what its writer then does.
#[test]
fn who_carries_out_a_wish_of_its_own_that_was_given_up_has_the_log_divided_so() {
    let mut world = World::new(vec![wish(2, true)]);
    world.go_on(0, false);
    world.chain = world.chain.without_intent(GivenUp::new(IntentId(2), "nobody answers")).unwrap();
    let chain = carry_out(world);
    assert_eq!((chain.last().fulfils, chain.stripes), (None, Some(range_of(&wanted(2)))));
}

#[test]
fn every_race_of_three_ends_in_one_chain() {
    let (states, ends) = explore(vec![wish(1, true), wish(2, false), wish(3, false)]);
    assert!(states > 1000, "{states}");
    assert!(ends.iter().all(|chain| chain.segments.len() <= 2));
}

#[test]
fn l7_a_wish_about_another_loglet_is_void_at_once() {
    let chain = Chain::begin(loglet(1, 1)).extended(id(1, 1), Offset(4), loglet(2, 2), None).unwrap();
    let attempt = Extend::new(chain.clone(), wish(1, true), 9);
    assert_eq!((attempt.outcome(), attempt.step()), (Some(&Outcome::Overtaken(chain)), None));
}

#[test]
fn p15_a_change_that_is_no_extension_costs_neither_seal_nor_tail_again() {
    let mut world = World::new(vec![wish(1, false)]);
    for _ in 0..4 {
        world.go_on(0, false);
    }
    assert!(matches!(world.attempts[0].as_ref().unwrap().step(), Some(Step::Write(_))));
    world.chain = world.chain.trimmed(LogPos(3)).unwrap();
    world.go_on(0, false);
    // A loglet for the next version, and the same tail.
    let steps: Vec<_> = std::iter::from_fn(|| {
        let step = world.attempts[0].as_ref().unwrap().step()?;
        world.go_on(0, false);
        Some(step)
    })
    .collect();
    assert!(matches!(steps[..], [Step::Ask(_), Step::Prepare(_), Step::Write(_)]), "{steps:?}");
    assert_eq!((world.chain.last().start, world.chain.trim_point), (LogPos(5), LogPos(3)));
    assert_eq!(world.attempts[0].as_ref().unwrap().left_over().count(), 1);
}

/// Who has an old chain finds its last loglet gone, and reads the chain instead of giving up (P5): once, for no chain names what is gone.
#[test]
fn a_loglet_that_is_gone_sends_an_extend_to_the_chain() {
    let old = Chain::begin(loglet(1, 1));
    let sealing = || {
        let mut extend = Extend::new(old.clone(), wish(1, false), 10);
        extend.handle_host(host(NodeId(1)));
        extend.handle_prepared();
        assert!(matches!(extend.step(), Some(Step::Seal(_))));
        extend
    };
    let mut extend = sealing();
    assert!(extend.handle_gone());
    assert_eq!(extend.step(), Some(Step::Fetch));
    let newer = old.extended(id(1, 1), Offset(3), loglet(2, 2), None).unwrap();
    extend.handle_fetched(newer.clone());
    assert_eq!(extend.outcome(), Some(&Outcome::Overtaken(newer)));
    let mut preparing = Extend::new(old.clone(), wish(1, false), 10);
    preparing.handle_host(host(NodeId(1)));
    assert!(preparing.handle_gone());
    preparing.handle_fetched(old.trimmed(LogPos(1)).unwrap());
    assert_eq!(preparing.step(), Some(Step::Ask(vec![NodeId(1)])), "another one is made for the version after that");
    preparing.handle_host(host(NodeId(1)));
    assert!(matches!(preparing.step(), Some(Step::Prepare(config)) if config.id().version == 3));
    let mut extend = sealing();
    assert!(extend.handle_gone());
    extend.handle_fetched(old.clone());
    assert!(matches!(extend.step(), Some(Step::Seal(_))));
    assert!(!extend.handle_gone(), "it would never end");
}
