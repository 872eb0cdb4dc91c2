//! Many nodes' control together, in virtual time, over one chain: what one bad node makes them do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::detector::Detector;
use super::pacing::Pacing;
use super::planner::{Change, Condition, Patience, View, plan};
use crate::base::{Incarnation, Instant, LogletId, NodeId, Nonce, Offset};
use crate::client::{Chain, Root};
use crate::wire::{LogletConfig, Member, Sequencer};

const LOG: &str = "a";
const NODES: u128 = 5;
const LIFE: Incarnation = Incarnation(7);
const TICK_MS: u64 = 250;
const REST: Duration = Duration::from_secs(30);

fn member(node: u128) -> Member {
    Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
}

fn loglet(version: u64, sequencer: NodeId, log_servers: Vec<Member>) -> LogletConfig {
    let address = member(sequencer.0).address;
    let id = LogletId { log: 1, version, nonce: version };
    LogletConfig { id, sequencer: Sequencer { node: sequencer, incarnation: LIFE, address }, log_servers }
}

struct Watcher {
    node: NodeId,
    detector: Detector,
    pacing: Pacing,
}

/// What all of them do in so many seconds, when node `n` answers at `ms` if `answers(n, ms)`. Each tick each asks all.
fn actions(seconds: u64, answers: impl Fn(u128, u64) -> bool) -> Vec<(u64, Change)> {
    let members: Vec<Member> = (1..=NODES).map(member).collect();
    let root = Root::begin(&members).with_log(LOG, 3, Nonce(1), members.clone()).unwrap();
    let mut chain = Chain::begin(loglet(1, NodeId(1), members[..3].to_vec()));
    let nodes: Vec<NodeId> = members.iter().map(|member| member.node).collect();
    let new = |node: &NodeId| Watcher {
        node: *node,
        detector: Detector::default(),
        pacing: Pacing::new(node.0 as u64, REST),
    };
    let mut watchers: Vec<Watcher> = nodes.iter().map(new).collect();
    let (mut done, mut changed) = (Vec::new(), false);
    for ms in (0..seconds * 1000).step_by(TICK_MS as usize) {
        let now = Instant::from_nanos(ms * 1_000_000);
        // One that does not answer does not ask either: it is stopped.
        let up: Vec<NodeId> = nodes.iter().copied().filter(|node| answers(node.0, ms)).collect();
        for watcher in watchers.iter_mut().filter(|watcher| up.contains(&watcher.node)) {
            watcher.detector.watch(&nodes, now);
            watcher.detector.look(now);
            up.iter().for_each(|node| watcher.detector.heard(*node, LIFE, now));
        }
        if std::mem::take(&mut changed) {
            watchers.iter_mut().for_each(|watcher| watcher.pacing.changed(LOG, now));
        }
        let missed: Vec<Vec<NodeId>> = watchers.iter().map(|watcher| watcher.detector.all_missed(now)).collect();
        for watcher in watchers.iter_mut().filter(|watcher| up.contains(&watcher.node)) {
            let condition = |node: &NodeId| Condition {
                missed: watcher.detector.missed(*node, now),
                votes: missed.iter().filter(|missed| missed.contains(node)).count(),
                failed: None,
                steady: watcher.detector.is_steady(*node, now),
                incarnation: watcher.detector.incarnation(*node),
            };
            let conditions: BTreeMap<NodeId, Condition> = nodes.iter().map(|node| (*node, condition(node))).collect();
            let chains = [(LOG.to_owned(), chain.clone())].into();
            let intents = BTreeMap::new();
            let view = View {
                root: &root,
                chains: &chains,
                nodes: &conditions,
                intents: &intents,
                patience: Patience::default(),
                scaling: &BTreeMap::new(),
            };
            let before =
                |(node, condition): &(&NodeId, &Condition)| **node < watcher.node && condition.missed.is_none();
            let rank = conditions.iter().filter(before).count();
            let Some(action) = watcher.pacing.next(plan(&view), rank, now) else { continue };
            changed = true;
            chain = match &action.change {
                Change::Extend(wanted) => {
                    let [stripe] = wanted.stripes() else { panic!("the log has one stripe") };
                    let next = loglet(chain.version + 1, stripe.sequencer.node, stripe.log_servers.clone());
                    chain.extended(action.loglet, Offset(1), next, None).unwrap()
                }
                Change::Modify(log_servers) => {
                    let segment = chain.segment_of(action.loglet).unwrap();
                    let changed = LogletConfig {
                        log_servers: log_servers.clone(),
                        ..chain.segments[segment].loglet.first().clone()
                    };
                    chain.modified(changed).unwrap()
                }
                Change::Fulfil(_) => unreachable!("nobody intends anything"),
            };
            done.push((ms, action.change));
        }
    }
    done
}

#[test]
fn nothing_is_done_in_calm_times_or_about_a_node_that_is_slow_to_answer() {
    assert_eq!(actions(3_600, |_, _| true), []);
    // It gets a turn every 1.75 seconds only.
    assert_eq!(actions(3_600, |node, ms| node != 1 || ms % 1_750 == 0), []);
}

#[test]
fn a_node_that_dies_is_replaced_once_for_each_segment() {
    let done = actions(3_600, |node, ms| node != 1 || ms < 100_000);
    // Its sequencer, its LogServer in the active loglet, and its copies in the two closed segments.
    let extends = done.iter().filter(|(_, change)| matches!(change, Change::Extend(_))).count();
    let copies = done.iter().filter(|(_, change)| matches!(change, Change::Modify(_))).count();
    assert_eq!((extends, copies), (2, 2), "{done:?}");
    assert!(done[0].0 < 110_000 && done[3].0 < 200_000, "{done:?}");
}

/// The sequencer's node is away for five seconds, and back for ten, for an hour: it is left alone once something else sequences, and
/// gets nothing new.
#[test]
fn a_flapping_node_causes_no_storm() {
    let done = actions(3_600, |node, ms| node != 1 || ms % 15_000 >= 5_000);
    assert!((1..=4).contains(&done.len()), "{done:?}");
}

/// All nodes flap in turn, each for five seconds in forty.
#[test]
fn nodes_that_flap_in_turn_are_answered_more_and_more_slowly() {
    let done = actions(3_600, |node, ms| {
        (ms / 8_000) % u64::try_from(NODES).unwrap() + 1 != node as u64 || ms % 8_000 >= 5_000
    });
    assert!(done.len() < 40, "{} actions in an hour: {done:?}", done.len());
    let gaps: Vec<Duration> = done.windows(2).map(|pair| Duration::from_millis(pair[1].0 - pair[0].0)).collect();
    let late = &gaps[gaps.len() / 2..];
    assert!(late.iter().all(|gap| *gap >= Duration::from_secs(8)), "{gaps:?}");
}
