use super::*;
use crate::base::{LogPos, Nonce, Offset};
use crate::client::{StripeRange, Stripes};
use crate::wire::Sequencer;

const LOG: &str = "a";
const LIFE: Incarnation = Incarnation(7);

fn member(node: u128) -> Member {
    Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
}

fn loglet(version: u64, sequencer: u128, log_servers: &[u128]) -> LogletConfig {
    let Member { node, address } = member(sequencer);
    LogletConfig {
        id: LogletId { log: 1, version, nonce: version },
        sequencer: Sequencer { node, incarnation: LIFE, address },
        log_servers: log_servers.iter().map(|node| member(*node)).collect(),
    }
}

/// A cluster of so many nodes, all well, with a log of three copies on the first three: a closed segment and an active one.
struct Stage {
    root: Root,
    chains: BTreeMap<String, Chain>,
    nodes: BTreeMap<NodeId, Condition>,
    intents: BTreeMap<IntentId, Duration>,
    scaling: BTreeMap<String, usize>,
}

impl Stage {
    fn new(nodes: u128) -> Self {
        let members: Vec<Member> = (1..=nodes).map(member).collect();
        let root = Root::begin(&members).with_log(LOG, 3, Nonce(1), members.clone()).unwrap();
        let closed = Chain::begin(loglet(1, 1, &[1, 2, 3]));
        let chain = closed.extended(closed.last().loglet.id(), Offset(10), loglet(2, 1, &[1, 2, 3]), None).unwrap();
        let well = Condition { steady: true, incarnation: Some(LIFE), ..Condition::default() };
        let nodes = members.iter().map(|member| (member.node, well)).collect();
        Self {
            root,
            chains: [(LOG.to_owned(), chain)].into(),
            nodes,
            intents: BTreeMap::new(),
            scaling: BTreeMap::new(),
        }
    }

    fn chain(&self) -> &Chain {
        &self.chains[LOG]
    }

    fn miss(&mut self, node: u128, seconds: u64, votes: usize) {
        let condition = self.nodes.get_mut(&NodeId(node)).unwrap();
        *condition = Condition { missed: Some(Duration::from_secs(seconds)), votes, steady: false, ..*condition };
    }

    fn plan(&self) -> Vec<Action> {
        let Self { root, chains, nodes, intents, scaling } = self;
        plan(&View { root, chains, nodes, intents, patience: Patience::default(), scaling })
    }

    fn only(&self) -> (LogletId, Change) {
        let plan = self.plan();
        assert_eq!(plan.len(), 1, "{plan:?}");
        (plan[0].loglet, plan[0].change.clone())
    }
}

fn ids(members: &[Member]) -> Vec<u128> {
    let mut ids: Vec<u128> = members.iter().map(|member| member.node.0).collect();
    ids.sort_unstable();
    ids
}

fn extend(change: &Change) -> (u128, Vec<u128>) {
    match change {
        Change::Extend(wanted) => match wanted.stripes() {
            [WantedStripe { sequencer, log_servers }] => (sequencer.node.0, ids(log_servers)),
            stripes => panic!("one stripe, not {stripes:?}"),
        },
        other => panic!("an extend, not {other:?}"),
    }
}

#[test]
fn nothing_is_done_while_all_are_well() {
    assert_eq!(Stage::new(5).plan(), []);
}

#[test]
fn a_lost_sequencer_is_replaced_by_one_that_is_well_and_its_log_server_stays_for_a_while() {
    let mut stage = Stage::new(5);
    stage.miss(1, 4, 4);
    let (loglet, change) = stage.only();
    assert_eq!((loglet, extend(&change)), (stage.chain().last().loglet.id(), (2, vec![1, 2, 3])));
}

/// L7: one node that is cut off, or two, do not speak for the cluster.
#[test]
fn a_minority_that_misses_somebody_does_nothing() {
    let mut stage = Stage::new(5);
    stage.miss(1, 1000, 2);
    assert_eq!(stage.plan(), []);
    stage.miss(1, 1000, 3);
    assert_ne!(stage.plan(), []);
    let mut pair = Stage::new(3);
    pair.miss(1, 1000, 1);
    assert_eq!(pair.plan(), []);
}

#[test]
fn a_restarted_sequencer_goes_on_where_it_was() {
    let mut stage = Stage::new(3);
    stage.nodes.get_mut(&NodeId(1)).unwrap().incarnation = Some(Incarnation(8));
    assert_eq!(extend(&stage.only().1), (1, vec![1, 2, 3]));
}

/// It is in the process of a writer: nobody here asks it, and it is missed by nobody.
#[test]
fn a_sequencer_that_is_no_member_is_left_alone_until_a_log_server_is_lost() {
    let mut stage = Stage::new(4);
    let chain = stage.chain();
    let embedded = chain.extended(chain.last().loglet.id(), Offset(20), loglet(3, 99, &[1, 2, 3]), None).unwrap();
    stage.chains.insert(LOG.to_owned(), embedded);
    assert_eq!(stage.plan(), []);
    stage.miss(2, 60, 4);
    let (loglet, change) = stage.only();
    assert_eq!((loglet.version, extend(&change)), (3, (1, vec![1, 3, 4])), "whom it can ask sequences the next one");
}

#[test]
fn a_dead_log_server_is_replaced_by_a_spare_in_the_active_loglet_first() {
    let mut stage = Stage::new(4);
    stage.miss(3, 14, 3);
    assert_eq!(stage.plan(), [], "most come back");
    stage.miss(3, 15, 3);
    let (loglet, change) = stage.only();
    assert_eq!((loglet, extend(&change)), (stage.chain().last().loglet.id(), (1, vec![1, 2, 4])));
}

#[test]
fn copies_of_closed_segments_are_restored_after_that() {
    let mut stage = Stage::new(4);
    let chain = stage.chain().clone();
    let active = chain.last().loglet.id();
    let moved = chain.extended(active, Offset(5), loglet(3, 1, &[1, 2, 4]), None).unwrap();
    stage.chains.insert(LOG.to_owned(), moved);
    stage.miss(3, 59, 3);
    assert_eq!(stage.plan(), []);
    stage.miss(3, 60, 3);
    let (loglet, change) = stage.only();
    assert_eq!(loglet, stage.chain().segments[0].loglet.id(), "one after another");
    assert!(matches!(change, Change::Modify(log_servers) if ids(&log_servers) == [1, 2, 4]));
    let trimmed = stage.chain().trimmed(LogPos(15)).unwrap();
    stage.chains.insert(LOG.to_owned(), trimmed);
    assert_eq!(stage.plan(), [], "nobody copies what is trimmed");
}

/// P12: the dead stay members while there is nobody in their place.
#[test]
fn without_a_spare_only_the_sequencer_moves() {
    let mut stage = Stage::new(3);
    stage.miss(3, 1000, 2);
    assert_eq!(stage.plan(), []);
    let mut stage = Stage::new(3);
    stage.miss(1, 1000, 2);
    assert_eq!(extend(&stage.only().1), (2, vec![1, 2, 3]));
}

#[test]
fn nothing_is_placed_on_a_node_that_flaps_or_leaves_or_has_a_failed_journal() {
    for unfit in 0..3 {
        let mut stage = Stage::new(4);
        match unfit {
            0 => stage.nodes.get_mut(&NodeId(4)).unwrap().steady = false,
            1 => stage.root = stage.root.draining(NodeId(4)).unwrap(),
            _ => stage.nodes.get_mut(&NodeId(4)).unwrap().failed = Some(Duration::ZERO),
        }
        stage.miss(3, 1000, 3);
        assert_eq!(stage.plan(), [], "{unfit}");
    }
}

#[test]
fn a_node_that_is_to_leave_is_left_at_once_by_the_active_loglet_and_then_by_the_copies() {
    let mut stage = Stage::new(4);
    stage.root = stage.root.draining(NodeId(1)).unwrap();
    let (_, change) = stage.only();
    let (sequencer, log_servers) = extend(&change);
    assert!(sequencer != 1);
    assert_eq!(log_servers, [2, 3, 4]);
    let chain = stage.chain().clone();
    let moved = chain.extended(chain.last().loglet.id(), Offset(5), loglet(3, 2, &[2, 3, 4]), None).unwrap();
    stage.chains.insert(LOG.to_owned(), moved);
    assert!(matches!(stage.only().1, Change::Modify(log_servers) if ids(&log_servers) == [2, 3, 4]));
}

#[test]
fn a_failed_journal_is_replaced_like_a_lost_node() {
    let mut stage = Stage::new(4);
    stage.nodes.get_mut(&NodeId(2)).unwrap().failed = Some(Duration::from_secs(20));
    assert_eq!(extend(&stage.only().1), (1, vec![1, 3, 4]));
}

/// A cluster of so many nodes with a log of these stripes, which has closed segments of them too.
fn striped(nodes: u128, stripes: &[(u128, [u128; 3])]) -> Stage {
    let mut stage = Stage::new(nodes);
    let spec = |version: u64| {
        let stripe = |(sequencer, on): &(u128, [u128; 3])| {
            let LogletConfig { sequencer, log_servers, .. } = loglet(1, *sequencer, on);
            (sequencer, log_servers)
        };
        LogletSpec::new(LogletId { log: 1, version, nonce: 100 * version }, stripes.iter().map(stripe))
    };
    let chain = Chain::begin(spec(1)).extended(spec(1).id(), Offset(5), spec(2), None).unwrap();
    stage.chains.insert(LOG.to_owned(), chain);
    stage
}

fn extend_all(change: &Change) -> Vec<(u128, Vec<u128>)> {
    match change {
        Change::Extend(wanted) => {
            wanted.stripes().iter().map(|stripe| (stripe.sequencer.node.0, ids(&stripe.log_servers))).collect()
        }
        other => panic!("an extend, not {other:?}"),
    }
}

/// P6: without one of its sequencers the whole takes nothing.
#[test]
fn a_lost_sequencer_of_one_stripe_is_replaced_by_the_one_that_sequences_the_fewest() {
    let on = [1, 2, 3];
    let mut stage = striped(4, &[(1, on), (2, on), (3, on), (1, on)]);
    assert_eq!(stage.plan(), []);
    stage.miss(2, 4, 3);
    let (loglet, change) = stage.only();
    let expected = [1, 3, 3, 1].map(|sequencer| (sequencer, on.to_vec()));
    assert_eq!((loglet, extend_all(&change)), (stage.chain().last().loglet.id(), expected.to_vec()));
    let mut stage = striped(4, &[(1, on), (3, on)]);
    stage.nodes.get_mut(&NodeId(3)).unwrap().incarnation = Some(Incarnation(8));
    let expected = [1, 3].map(|sequencer| (sequencer, on.to_vec()));
    assert_eq!(extend_all(&stage.only().1), expected, "a restarted one goes on where it was");
}

#[test]
fn a_dead_log_server_is_replaced_in_all_stripes_and_then_in_the_copies_of_each() {
    let on = [1, 2, 3];
    let mut stage = striped(4, &[(1, on), (2, on)]);
    stage.miss(3, 60, 3);
    let (loglet, change) = stage.only();
    assert_eq!(extend_all(&change), [(1, vec![1, 2, 4]), (2, vec![1, 2, 4])]);
    let moved = LogletSpec::new(
        LogletId { log: 1, version: 3, nonce: 300 },
        [1, 2].map(|sequencer| {
            let LogletConfig { sequencer, log_servers, .. } = self::loglet(1, sequencer, &[1, 2, 4]);
            (sequencer, log_servers)
        }),
    );
    let mut chain = stage.chain().extended(loglet, Offset(5), moved, None).unwrap();
    let closed: Vec<LogletConfig> =
        chain.segments[..2].iter().flat_map(|segment| segment.loglet.stripes().to_vec()).collect();
    for stripe in closed {
        stage.chains.insert(LOG.to_owned(), chain.clone());
        let (loglet, change) = stage.only();
        let Change::Modify(log_servers) = change else { panic!("a copy, not {change:?}") };
        assert_eq!((loglet, ids(&log_servers)), (stripe.id, vec![1, 2, 4]), "one stripe after another");
        chain = chain.modified(LogletConfig { log_servers, ..stripe }).unwrap();
    }
    stage.chains.insert(LOG.to_owned(), chain);
    assert_eq!(stage.plan(), []);
}

/// A node that stores one stripe takes no other, even if there is nobody else.
#[test]
fn stripes_that_are_stored_apart_stay_so() {
    let apart = [(1, [1, 2, 3]), (4, [4, 5, 6])];
    let mut stage = striped(6, &apart);
    stage.miss(3, 60, 5);
    assert_eq!(stage.plan(), [], "nobody is free (P12)");
    let mut stage = striped(7, &apart);
    stage.miss(3, 60, 6);
    assert_eq!(extend_all(&stage.only().1), [(1, vec![1, 2, 7]), (4, vec![4, 5, 6])]);
    let mut stage = striped(7, &apart);
    stage.miss(3, 60, 6);
    stage.miss(5, 60, 6);
    let replaced = extend_all(&stage.only().1);
    assert_eq!(replaced, [(1, vec![1, 2, 7]), (4, vec![4, 5, 6])], "one spare for two");
}

/// P15: what somebody has written down is finished before anything else.
#[test]
fn an_intent_that_nobody_carries_out_is_carried_out() {
    let mut stage = Stage::new(4);
    let replaces = stage.chain().last().loglet.id();
    let wanted = Wanted::native(member(4), [2, 3, 4].map(member).to_vec());
    let intent = Intent { id: IntentId(5), replaces, wanted, stripes: None, since_unix_ms: 0 };
    let chain = stage.chain().intending(intent.clone()).unwrap();
    stage.chains.insert(LOG.to_owned(), chain);
    stage.intents.insert(intent.id, Duration::from_secs(9));
    assert_eq!(stage.plan(), []);
    stage.intents.insert(intent.id, Duration::from_secs(10));
    assert_eq!(stage.only(), (replaces, Change::Fulfil(intent)));
}

#[test]
fn zones_are_kept_apart_when_a_copy_moves() {
    let mut stage = Stage::new(5);
    for (node, zone) in [(1, "x"), (2, "y"), (3, "z"), (4, "x"), (5, "z")] {
        stage.root = stage.root.with_node(member(node), Some(zone.to_owned())).unwrap();
    }
    stage.miss(3, 20, 4);
    assert_eq!(extend(&stage.only().1), (1, vec![1, 2, 5]), "5 is in the zone of the one that is lost");
}

fn ranged(nodes: u128, stripes: &[(u128, [u128; 3])], most: usize, sharded: bool) -> Stage {
    let mut stage = striped(nodes, stripes);
    let range = StripeRange { least: Stripes { count: 1, sharded }, most };
    stage.root = stage.root.with_stripes(LOG, range).unwrap();
    stage
}

#[test]
fn a_log_gets_as_many_stripes_as_its_load_needs() {
    let on = [1, 2, 3];
    let mut stage = ranged(3, &[(2, on)], 4, false);
    assert_eq!(stage.plan(), []);
    let mut divided = |count: usize| {
        stage.scaling.insert(LOG.to_owned(), count);
        let plan = stage.plan();
        assert_eq!(plan.iter().map(|action| action.aim).collect::<Vec<_>>(), [Aim::Scale]);
        extend_all(&plan[0].change)
    };
    assert_eq!(divided(2), [2, 1].map(|sequencer| (sequencer, on.to_vec())), "where it is sequenced it stays");
    assert_eq!(divided(4), [2, 1, 3, 1].map(|sequencer| (sequencer, on.to_vec())));
    assert_eq!(divided(9), divided(4), "no more than it may have");
    let mut stage = ranged(3, &[(1, on), (2, on), (3, on), (1, on)], 4, false);
    stage.scaling.insert(LOG.to_owned(), 2);
    assert_eq!(extend_all(&stage.only().1), [1, 2].map(|sequencer| (sequencer, on.to_vec())), "fewer as well");
    stage.scaling.insert(LOG.to_owned(), 4);
    assert_eq!(stage.plan(), [], "it has them");
}

#[test]
fn a_log_that_is_stored_apart_grows_onto_nodes_of_its_own() {
    let mut stage = ranged(6, &[(1, [1, 2, 3])], 2, true);
    stage.scaling.insert(LOG.to_owned(), 2);
    let grown = extend_all(&stage.only().1);
    let mut nodes: Vec<u128> = grown.iter().flat_map(|(_, on)| on.clone()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3, 4, 5, 6], "{grown:?}");
    assert!(grown.iter().all(|(sequencer, on)| on.contains(sequencer)), "{grown:?}");
    stage.root = stage.root.without(|node| node == NodeId(6));
    assert_eq!(stage.plan(), [], "there are not nodes enough any more");
}

/// Whoever is missing may be back soon, and what mends comes first.
#[test]
fn nothing_is_scaled_or_spread_while_somebody_is_missing() {
    let on = [1, 2, 3];
    let scaled = || {
        let mut stage = ranged(5, &[(1, on), (1, on)], 4, false);
        stage.scaling.insert(LOG.to_owned(), 4);
        stage
    };
    let spread = || striped(5, &[(1, on), (1, on), (1, on)]);
    let cases: [(Aim, &dyn Fn() -> Stage); 2] = [(Aim::Scale, &scaled), (Aim::Spread, &spread)];
    for (aim, whole) in cases {
        assert_eq!(whole().plan().iter().map(|action| action.aim).collect::<Vec<_>>(), [aim]);
        for trouble in 0..5 {
            let mut stage = whole();
            match trouble {
                0 => stage.miss(5, 1, 1),
                1 => stage.nodes.get_mut(&NodeId(4)).unwrap().steady = false,
                2 => stage.root = stage.root.draining(NodeId(5)).unwrap(),
                3 => stage.nodes.get_mut(&NodeId(4)).unwrap().failed = Some(Duration::ZERO),
                _ => {
                    let (replaces, wanted) =
                        (stage.chain().last().loglet.id(), Wanted::native(member(1), vec![member(1)]));
                    let intent = Intent { id: IntentId(5), replaces, wanted, stripes: None, since_unix_ms: 0 };
                    let chain = stage.chain().intending(intent).unwrap();
                    stage.chains.insert(LOG.to_owned(), chain);
                }
            }
            assert_eq!(stage.plan(), [], "{aim:?} {trouble}");
        }
        let mut lost = whole();
        lost.miss(1, 4, 4);
        assert_eq!(lost.plan().iter().map(|action| action.aim).collect::<Vec<_>>(), [Aim::Mend]);
    }
}

#[test]
fn stripes_that_share_sequencers_are_spread_once_there_is_somebody_else() {
    let on = [1, 2, 3];
    let spread = |nodes: u128, sequencers: &[u128]| {
        let stripes: Vec<_> = sequencers.iter().map(|sequencer| (*sequencer, on)).collect();
        let plan = striped(nodes, &stripes).plan();
        assert!(plan.iter().all(|action| action.aim == Aim::Spread));
        let sequencers = |action: &Action| extend_all(&action.change).iter().map(|(node, _)| *node).collect::<Vec<_>>();
        plan.first().map(sequencers)
    };
    assert_eq!(spread(3, &[1, 2, 1]), Some(vec![1, 2, 3]), "one stripe moves");
    assert_eq!(spread(3, &[1, 2, 1, 2]), Some(vec![1, 2, 1, 3]));
    assert_eq!(spread(3, &[1, 1, 1, 1]), Some(vec![1, 1, 2, 3]));
    for even in [&[1, 2, 3][..], &[3, 2, 1, 3], &[1, 2], &[2, 1, 3, 3, 1], &[2]] {
        assert_eq!(spread(4, even), None, "{even:?}: no node has two more than another, and node 4 stores none of it");
    }
    // What comes of it is not spread again.
    for many in 2..9 {
        let before: Vec<u128> = (0..many).map(|stripe| if stripe % 3 == 0 { 2 } else { 1 }).collect();
        let Some(after) = spread(3, &before) else { continue };
        assert_eq!(spread(3, &after), None, "{before:?} {after:?}");
    }
}

#[test]
fn stripes_that_are_to_be_stored_apart_are_once_there_are_nodes_enough() {
    let on = [1, 2, 3];
    let together = |nodes| {
        let mut stage = striped(nodes, &[(1, on), (2, on)]);
        let record = stage.root.logs.get_mut(LOG).unwrap();
        record.stripes = Stripes { count: 2, sharded: true };
        for (node, zone) in [(1, "x"), (2, "y"), (3, "z"), (4, "x"), (5, "y"), (6, "z")] {
            if let Some(record) = stage.root.nodes.iter_mut().find(|record| record.member.node == NodeId(node)) {
                record.zone = Some(zone.to_owned());
            }
        }
        stage
    };
    assert_eq!(together(5).plan(), [], "one is lacking");
    let apart = extend_all(&together(6).only().1);
    let mut nodes: Vec<u128> = apart.iter().flat_map(|(_, on)| on.clone()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3, 4, 5, 6], "{apart:?}");
    let zones = |on: &[u128]| on.iter().map(|node| node % 3).collect::<BTreeSet<_>>().len();
    assert!(apart.iter().all(|(_, on)| zones(on) == 3), "one copy in each zone: {apart:?}");
}

#[test]
fn the_stripes_of_a_node_that_is_to_leave_go_to_those_that_sequence_the_fewest() {
    let on = [1, 2, 3];
    let mut stage = striped(4, &[(1, on), (1, on), (2, on), (3, on)]);
    stage.root = stage.root.draining(NodeId(1)).unwrap();
    let after = [4, 2, 2, 3].map(|sequencer| (sequencer, vec![2, 3, 4]));
    assert_eq!(extend_all(&stage.only().1), after);
}
