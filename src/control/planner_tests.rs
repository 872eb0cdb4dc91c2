use super::*;
use crate::base::{LogPos, Nonce, Offset};
use crate::wire::{LogletConfig, Sequencer};

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
}

impl Stage {
    fn new(nodes: u128) -> Self {
        let members: Vec<Member> = (1..=nodes).map(member).collect();
        let root = Root::begin(&members).with_log(LOG, 3, Nonce(1), members.clone()).unwrap();
        let closed = Chain::begin(loglet(1, 1, &[1, 2, 3]));
        let chain = closed.extended(closed.last().loglet.id(), Offset(10), loglet(2, 1, &[1, 2, 3]), None).unwrap();
        let well = Condition { steady: true, incarnation: Some(LIFE), ..Condition::default() };
        let nodes = members.iter().map(|member| (member.node, well)).collect();
        Self { root, chains: [(LOG.to_owned(), chain)].into(), nodes, intents: BTreeMap::new() }
    }

    fn chain(&self) -> &Chain {
        &self.chains[LOG]
    }

    fn miss(&mut self, node: u128, seconds: u64, votes: usize) {
        let condition = self.nodes.get_mut(&NodeId(node)).unwrap();
        *condition = Condition { missed: Some(Duration::from_secs(seconds)), votes, steady: false, ..*condition };
    }

    fn plan(&self) -> Vec<Action> {
        let Self { root, chains, nodes, intents } = self;
        plan(&View { root, chains, nodes, intents, patience: Patience::default() })
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

/// P15: what somebody has written down is finished before anything else.
#[test]
fn an_intent_that_nobody_carries_out_is_carried_out() {
    let mut stage = Stage::new(4);
    let replaces = stage.chain().last().loglet.id();
    let wanted = Wanted::native(member(4), [2, 3, 4].map(member).to_vec());
    let intent = Intent { id: IntentId(5), replaces, wanted, since_unix_ms: 0 };
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
