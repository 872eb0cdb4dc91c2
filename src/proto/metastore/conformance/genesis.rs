//! How clusters begin (P8 f): every interleaving of two who begin one, over the production acceptors and [`Genesis`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::Acceptor;
use super::super::testing::{MemoryCells, decision, members};
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, Limits, NodeId, Nonce, ProposerId, RegisterId, Version};
use crate::proto::peer::PeerId;
use crate::proto::virtual_log::{Genesis, Held};
use crate::wire::{Ballot, Decision, Message, RegisterMessage, Vote};

/// How far somebody has come who begins a cluster; each step is about the next seed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Stage {
    Ask(usize),
    Tell(usize),
    /// The cluster has begun, and the first version of the root register is written.
    Prepare(usize),
    Accept(usize),
    /// It is decided, and told to all.
    Spread(usize),
    Over(Ending),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Ending {
    Founded,
    /// By somebody else, long ago.
    Found,
    Refused,
}

#[derive(Clone, Hash, Debug)]
struct Founder {
    number: u128,
    seeds: &'static [u128],
    genesis: Genesis,
    stage: Stage,
    votes: usize,
    accepted: Option<Vote>,
}

impl Founder {
    fn new(number: u128, seeds: &'static [u128]) -> Self {
        let genesis = Genesis::new(members(seeds));
        Self { number, seeds, genesis, stage: Stage::Ask(0), votes: 0, accepted: None }
    }

    fn ballot(&self) -> Ballot {
        Ballot { round: 1, proposer: ProposerId(self.number) }
    }

    fn first_version(&self) -> Decision {
        let own = || decision(1, self.number, &members(self.seeds), &[self.number as u8]);
        self.accepted.as_ref().map_or_else(own, |vote| vote.decision.clone())
    }

    /// What is asked next, of which node.
    fn question(&self) -> Option<(u128, RegisterMessage)> {
        let first = Version::BIRTH.next();
        let (seed, message) = match self.stage {
            Stage::Ask(seed) => (seed, RegisterMessage::Query { instance: Version::BIRTH }),
            Stage::Tell(seed) => {
                (seed, RegisterMessage::Learn { decision: self.genesis.beginning(Nonce(self.number)) })
            }
            Stage::Prepare(seed) => (seed, RegisterMessage::Prepare { instance: first, ballot: self.ballot() }),
            Stage::Accept(seed) => {
                (seed, RegisterMessage::Accept { ballot: self.ballot(), decision: self.first_version() })
            }
            Stage::Spread(seed) => (seed, RegisterMessage::Learn { decision: self.first_version() }),
            Stage::Over(_) => return None,
        };
        Some((self.seeds[seed], message))
    }

    /// The answer; none is a refusal. Returns the first version of the root register, once it is decided.
    fn answered(&mut self, answer: Option<RegisterMessage>) -> Option<Decision> {
        let count = self.seeds.len();
        self.stage = match (&self.stage, answer) {
            (Stage::Ask(seed), Some(answer)) => {
                let held = match answer {
                    RegisterMessage::Decided { decision } => Held::Decided(decision),
                    _ => Held::Fresh,
                };
                match self.genesis.hear(held) {
                    Err(_) => Stage::Over(Ending::Refused),
                    Ok(Some(_)) => Stage::Over(Ending::Found),
                    Ok(None) if seed + 1 < count => Stage::Ask(seed + 1),
                    Ok(None) => Stage::Tell(0),
                }
            }
            (Stage::Tell(seed), Some(RegisterMessage::Learned { version })) if Genesis::is_held(version) => {
                if seed + 1 < count { Stage::Tell(seed + 1) } else { Stage::Prepare(0) }
            }
            (Stage::Tell(_) | Stage::Ask(_), _) => Stage::Over(Ending::Refused),
            (Stage::Prepare(seed), answer) => {
                if let Some(RegisterMessage::Promised { accepted, .. }) = answer {
                    self.votes += 1;
                    let ballot = |vote: &Option<Vote>| vote.as_ref().map(|vote| vote.ballot);
                    if ballot(&accepted) > ballot(&self.accepted) {
                        self.accepted = accepted;
                    }
                }
                match seed + 1 < count {
                    true => Stage::Prepare(seed + 1),
                    false if std::mem::take(&mut self.votes) > count / 2 => Stage::Accept(0),
                    false => Stage::Over(Ending::Refused),
                }
            }
            (Stage::Accept(seed), answer) => {
                self.votes += usize::from(matches!(answer, Some(RegisterMessage::Accepted { .. })));
                match seed + 1 < count {
                    true => Stage::Accept(seed + 1),
                    false if self.votes > count / 2 => Stage::Spread(0),
                    false => Stage::Over(Ending::Refused),
                }
            }
            (Stage::Spread(seed), _) if seed + 1 < count => Stage::Spread(seed + 1),
            (Stage::Spread(_), _) => Stage::Over(Ending::Founded),
            (Stage::Over(_), _) => unreachable!("nobody was asked"),
        };
        (self.stage == Stage::Spread(0)).then(|| self.first_version())
    }
}

#[derive(Clone, Hash, Debug)]
struct World {
    nodes: BTreeMap<u128, (Acceptor, MemoryCells)>,
    founders: Vec<Founder>,
    /// What has been decided for the first version of the root register.
    decided: BTreeSet<Vec<u8>>,
    restarts: u8,
}

impl World {
    fn new(seeds: [&'static [u128]; 2], restarts: u8) -> Self {
        let acceptor = |node| (Acceptor::new(NodeId(node), &Limits::default()), MemoryCells::default());
        let nodes = seeds.iter().flat_map(|seeds| seeds.iter()).map(|node| (*node, acceptor(*node)));
        let founders = (1..).zip(seeds).map(|(number, seeds)| Founder::new(number, seeds));
        Self { nodes: nodes.collect(), founders: founders.collect(), decided: BTreeSet::new(), restarts }
    }

    /// The founder asks its next question, and is answered.
    fn step(&mut self, founder: usize) {
        let Some((node, message)) = self.founders[founder].question() else { return };
        let (acceptor, cells) = self.nodes.get_mut(&node).expect("a seed");
        let (now, register) = (Instant::ORIGIN, RegisterId::ROOT);
        let request = Message::Register { request: 1, register, message: Box::new(message) };
        acceptor.handle(PeerId(founder as u64), request, now, cells);
        while let Some(through) = cells.land() {
            acceptor.handle_durable(through, now, cells);
        }
        let answer = match acceptor.poll_output() {
            Some((_, Message::Register { message, .. })) => Some(*message),
            _ => None,
        };
        let decided = self.founders[founder].answered(answer);
        self.decided.extend(decided.map(|decision| decision.value));
    }

    fn restart(&mut self, node: u128) {
        self.restarts -= 1;
        let (acceptor, cells) = self.nodes.get_mut(&node).expect("a seed");
        cells.lose_power(0);
        *acceptor = Acceptor::new(NodeId(node), &Limits::default());
        acceptor.recover(&cells.found(), false, Instant::ORIGIN, cells);
    }

    fn nexts(&self) -> Vec<Self> {
        let mut nexts = Vec::new();
        for founder in 0..self.founders.len() {
            if self.founders[founder].question().is_some() {
                let mut next = self.clone();
                next.step(founder);
                nexts.push(next);
            }
        }
        if self.restarts > 0 {
            for node in self.nodes.keys() {
                let mut next = self.clone();
                next.restart(*node);
                nexts.push(next);
            }
        }
        nexts
    }
}

/// Walks through all executions, or up to the first that makes two clusters. Returns how many states there are, the endings, and whether
/// there were two clusters.
fn search(world: World) -> (usize, BTreeSet<Ending>, bool) {
    let (mut seen, mut endings) = (HashSet::new(), BTreeSet::new());
    let mut open = vec![world];
    while let Some(world) = open.pop() {
        let mut digest = DefaultHasher::new();
        world.hash(&mut digest);
        if !seen.insert(digest.finish()) {
            continue;
        }
        for founder in &world.founders {
            if let Stage::Over(ending) = founder.stage {
                endings.insert(ending);
            }
        }
        if world.decided.len() > 1 {
            return (seen.len(), endings, true);
        }
        open.extend(world.nexts());
    }
    (seen.len(), endings, false)
}

const SAME: [&[u128]; 2] = [&[1, 2, 3], &[1, 2, 3]];
const SHARING_ONE: [&[u128]; 2] = [&[1, 2, 3], &[3, 4, 5]];

#[test]
fn p8_f_a_cluster_begins_once() {
    for seeds in [SAME, SHARING_ONE] {
        let (states, endings, are_two) = search(World::new(seeds, 1));
        eprintln!("{seeds:?}: {states} states, {endings:?}");
        assert!(!are_two, "two clusters share a seed of {seeds:?}");
        assert_eq!(endings, BTreeSet::from([Ending::Founded, Ending::Found, Ending::Refused]));
    }
}

#[test]
fn a_node_that_takes_a_second_beginning_is_caught() {
    mutants::select(Some(Mutant::BootstrapTwice));
    let (states, _, are_two) = search(World::new(SHARING_ONE, 0));
    mutants::select(None);
    assert!(are_two, "{} is not caught", Mutant::BootstrapTwice.name());
    println!("| `{}` | two founders who share a seed | {states} states | one cluster |", Mutant::BootstrapTwice.name());
}
