//! Loglets of several stripes in a chain.

use super::{id, intent, loglet, member, striped};
use crate::base::{Incarnation, IntentId, Limits, LogPos, NodeId, Offset};
use crate::proto::virtual_log::{
    Chain, Extend, Host, Intent, LogletSpec, Outcome, Refusal, Step, Wanted, WantedStripe, Wish, Written,
};
use crate::wire::LogletConfig;

/// `[0, 10)` native, `[10, 25)` over two stripes, and from 25 on over three.
fn three() -> Chain {
    let chain = Chain::begin(loglet(1, 1));
    let chain = chain.extended(id(1, 1), Offset(10), striped(2, 20, &[1, 2]), None).unwrap();
    chain.extended(id(2, 20), Offset(15), striped(3, 30, &[1, 2, 3]), None).unwrap()
}

fn stripe(loglet: &LogletSpec, stripe: usize) -> LogletConfig {
    loglet.stripes()[stripe].clone()
}

#[test]
fn a_native_loglet_is_its_own_only_stripe() {
    let native = LogletSpec::from(loglet(1, 1));
    assert_eq!((native.stripes(), native.id(), native.stripe_of(id(1, 1))), (&[loglet(1, 1)][..], id(1, 1), Some(0)));
    assert_eq!((native.layout().stripes(), native.is_sharded()), (1, false));
    let made = LogletSpec::new(id(1, 1), [(loglet(1, 1).sequencer, loglet(1, 1).log_servers)]);
    assert_eq!(made, native);
}

/// The chain knows a loglet by its own name, and sequencers and LogServers by those of its stripes.
#[test]
fn a_segment_is_found_by_its_loglet_and_by_each_of_its_stripes() {
    let chain = three();
    let last = chain.last().loglet.clone();
    assert_eq!((chain.segment_of(id(2, 20)), chain.stripe_of(id(2, 20))), (Some(1), None));
    assert_eq!(chain.stripe_of(id(2, 20).stripe(1)), Some((1, 1)));
    assert_eq!(chain.segment_of(id(2, 20).stripe(1)), None);
    assert_eq!((chain.segment_of(id(1, 1)), chain.stripe_of(id(1, 1))), (Some(0), Some((0, 0))));
    let names: Vec<_> = (0..3).map(|at| id(3, 30).stripe(at)).collect();
    assert_eq!(last.stripes().iter().map(|stripe| stripe.id).collect::<Vec<_>>(), names);
    assert_eq!(last.sequencers().map(|sequencer| sequencer.node.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((last.nodes().len(), last.is_sharded()), (3, false));
}

/// P5: what a LogServer has and is not named goes, and it has stripes.
#[test]
fn p5_a_chain_names_what_log_servers_have() {
    let expected = [id(1, 1), id(2, 20).stripe(0), id(2, 20).stripe(1)];
    let last = (0..3).map(|stripe| id(3, 30).stripe(stripe));
    assert_eq!(three().live(), expected.into_iter().chain(last).collect::<Vec<_>>());
}

#[test]
fn p7_one_stripe_of_a_closed_segment_changes_its_members() {
    let chain = three();
    let mut changed = stripe(&chain.segments[1].loglet, 1);
    changed.log_servers[0] = member(9);
    let next = chain.modified(changed.clone()).unwrap();
    assert_eq!(stripe(&next.segments[1].loglet, 1), changed);
    assert_eq!(stripe(&next.segments[1].loglet, 0), stripe(&chain.segments[1].loglet, 0));
    assert_eq!((next.segments[1].stop, Chain::from_json(&next.to_json()).unwrap()), (Some(LogPos(25)), next.clone()));
    let active = stripe(&chain.last().loglet, 2);
    assert_eq!(chain.modified(active.clone()), Err(Refusal::Active(active.id)));
    let whole = LogletConfig { id: id(2, 20), ..changed.clone() };
    assert_eq!(chain.modified(whole), Err(Refusal::Absent(id(2, 20))), "the whole is on no LogServer");
    changed.sequencer.incarnation = Incarnation(6);
    assert_eq!(chain.modified(changed.clone()), Err(Refusal::OtherLoglet(changed.id)));
}

/// 15 records of two stripes: eight and seven.
#[test]
fn a_stripe_ends_where_the_whole_does() {
    let chain = three();
    let stops = |segment: usize, stripes: usize| {
        (0..stripes).map(|stripe| chain.segments[segment].stripe_stop(stripe).map(|stop| stop.0)).collect::<Vec<_>>()
    };
    assert_eq!((stops(0, 1), stops(1, 2)), (vec![Some(10)], vec![Some(8), Some(7)]));
    assert_eq!(stops(2, 3), [None; 3]);
}

#[test]
fn a_striped_loglet_leaves_the_chain_as_a_whole() {
    let (next, gone) = three().trimmed(LogPos(25)).unwrap().truncated().unwrap();
    assert_eq!(gone, [loglet(1, 1).into(), striped(2, 20, &[1, 2])]);
    assert_eq!(next.live().len(), 3);
}

#[test]
fn a_chain_with_stripes_is_json_and_comes_back_as_it_was() {
    let mut chain = three();
    for next in [loglet(4, 40).into(), striped(5, 50, &[3, 2, 1]), striped(6, 60, &[3, 2, 1])] {
        chain = chain.extended(chain.last().loglet.id(), Offset(5), next, Some(IntentId(7))).unwrap();
    }
    let odd = chain.segments[2].loglet.stripe_mut(1);
    odd.log_servers.pop();
    odd.sequencer.incarnation.0 += 1;
    let json = String::from_utf8(chain.to_json()).unwrap();
    assert_eq!(Chain::from_json(json.as_bytes()).unwrap(), chain);
    assert!(json.contains(r#""stripes":[{},{},{}]"#), "what is as before is not said again: {json}");
    let rotated = striped(2, 20, &[1, 2, 3]);
    let rotated = String::from_utf8(Chain::begin(rotated).to_json()).unwrap();
    assert_eq!(rotated.matches("log_servers").count(), 1, "stripes on the same LogServers name them once: {rotated}");
}

/// What was written before there were stripes.
#[test]
fn a_chain_that_was_stored_before_there_were_stripes_is_read() {
    let json = r#"{"version":3,"trim_point":0,"intent":{"id":"00000000000000000000000000000abc",
        "replaces":{"log":7,"version":2,"nonce":2},"wanted":{
            "sequencer":{"node":"00000000000000000000000000000002","address":"10.0.0.2:7000"},
            "log_servers":[{"node":"00000000000000000000000000000002","address":"10.0.0.2:7000"},
                {"node":"00000000000000000000000000000003","address":"10.0.0.3:7000"},
                {"node":"00000000000000000000000000000004","address":"10.0.0.4:7000"}]},
            "since_unix_ms":1700000000000},
        "log":7,"members":[{"node":"00000000000000000000000000000001","address":"10.0.0.1:7000"},
            {"node":"00000000000000000000000000000002","address":"10.0.0.2:7000"},
            {"node":"00000000000000000000000000000003","address":"10.0.0.3:7000"}],
        "segments":[{"start":0,"version":1,"nonce":1,
            "sequencer":{"member":0,"incarnation":"00000000000000000000000000000005"},"log_servers":[0,1,2]},
            {"start":10,"version":2,"nonce":2}]}"#;
    let chain = Chain::begin(loglet(1, 1)).extended(id(1, 1), Offset(10), loglet(2, 2), None).unwrap();
    let chain = chain.intending(intent(0xabc, id(2, 2))).unwrap();
    let compact: String = json.split('\n').map(str::trim_start).collect();
    assert_eq!(Chain::from_json(json.as_bytes()).unwrap(), chain);
    assert_eq!(String::from_utf8(chain.to_json()).unwrap(), compact, "and a chain without stripes is written so");
}

#[test]
fn a_register_has_room_for_hundreds_of_segments_of_eight_stripes() {
    let of = |version: u64| {
        let mut next = striped(version, u64::MAX - 100 * version, &[1, 2, 3, 1, 2, 3, 1, 2]);
        for stripe in 0..8 {
            next.stripe_mut(stripe).sequencer.incarnation.0 = u128::MAX - u128::from(version / 10);
        }
        next
    };
    let mut chain = Chain::begin(of(1));
    for version in 2..=400 {
        chain = chain.extended(chain.last().loglet.id(), Offset(1 << 40), of(version), None).unwrap();
    }
    let (json, limit) = (chain.to_json(), Limits::default().register_bytes_max);
    assert!(json.len() < limit as usize, "{} of {limit} bytes", json.len());
    assert_eq!(Chain::from_json(&json).unwrap(), chain);
}

#[test]
fn a_chain_whose_stripes_contradict_it_is_refused() {
    let json = String::from_utf8(three().to_json()).unwrap();
    let refused = |from: &str, to: &str| {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json, "{from} in {json}");
        Chain::from_json(changed.as_bytes()).unwrap_err().to_string()
    };
    assert!(
        refused(r#""stripes":[{},"#, r#""sequencer":{"member":0,"incarnation":"5"},"stripes":[{},"#)
            .contains("has stripes")
    );
    assert!(refused(r#""stripes":[{},"#, r#""log_servers":[0],"stripes":[{},"#).contains("has stripes"));
    assert!(refused(r#""stripes":[{},"#, r#""stripes":[{"log_servers":[]},"#).contains("no LogServers"));
    assert!(refused(r#""stripes":[{},"#, r#""stripes":[{"log_servers":[1,1]},"#).contains("twice"));
    assert!(refused(r#""stripes":[{},"#, r#""stripes":[{"colour":1},"#).contains("colour"));
    assert!(refused(r#""nonce":30"#, r#""nonce":30,"stripes":[{}],"x":[]"#).contains('x'));
    // The third segment's nonce now names a stripe of the second.
    assert!(refused(r#""version":3,"nonce":30"#, r#""version":2,"nonce":21"#).contains("two segments"));
    let one = Chain::begin(striped(1, 10, &[1, 2]));
    let json = String::from_utf8(one.to_json()).unwrap();
    let start = json.find("{\"sequencer\"").unwrap();
    let stripe = &json[start..json.find("]}").unwrap() + 2];
    let of =
        |stripes: usize| json.replacen(&json[start..json.rfind("]}]}").unwrap()], &vec![stripe; stripes].join(","), 1);
    assert!(Chain::from_json(of(2).as_bytes()).is_ok(), "{}", of(2));
    for stripes in [0, 1, 65] {
        let error = Chain::from_json(of(stripes).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("too few or too many"), "{stripes}: {error}");
    }
    let mut chain = three();
    chain.segments[2].loglet.stripe_mut(1).id = id(3, 77);
    assert_eq!(chain.segments[2].loglet.check(), Err("a stripe does not have the name of its place"));
    let reused = LogletConfig { id: id(2, 20).stripe(0), ..loglet(4, 4) };
    assert_eq!(three().extended(id(3, 30), Offset(1), reused.clone(), None), Err(Refusal::Reused(reused.id)));
}

fn wanted(sequencers: &[u128]) -> Wanted {
    let log_servers = [1, 2, 3].map(member).to_vec();
    let stripe = |node: &u128| WantedStripe { sequencer: member(*node), log_servers: log_servers.clone() };
    Wanted::new(sequencers.iter().map(stripe).collect())
}

#[test]
fn what_is_wanted_is_json_of_one_stripe_or_of_a_list() {
    let json = |wanted: &Wanted| serde_json::to_string(wanted).unwrap();
    let (one, two) = (json(&wanted(&[1])), json(&wanted(&[1, 2])));
    assert!(
        one.starts_with(r#"{"sequencer":{"node""#) && two.starts_with(r#"{"stripes":[{"sequencer":{"node""#),
        "{two}"
    );
    for wanted in [wanted(&[1]), wanted(&[1, 2])] {
        assert_eq!(serde_json::from_str::<Wanted>(&json(&wanted)).unwrap(), wanted);
    }
    assert!(serde_json::from_str::<Wanted>(r#"{"stripes":[]}"#).is_err());
    assert!(serde_json::from_str::<Wanted>(&two.replacen("stripes", "lanes", 1)).is_err());
}

fn host(node: u128, life: u128) -> Host {
    Host { member: member(node), incarnation: Incarnation(life) }
}

fn asked(extend: &Extend) -> Vec<u128> {
    match extend.step() {
        Some(Step::Ask(nodes)) => nodes.iter().map(|node| node.0).collect(),
        other => panic!("a question, not {other:?}"),
    }
}

/// A node is asked once, however many stripes it sequences, and the order of the answers is no matter.
#[test]
fn every_sequencer_says_which_life_it_is_before_a_striped_loglet_is_made() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let wish = Wish { replaces: id(1, 1), wanted: wanted(&[1, 2, 1, 3]), intent: None };
        let mut extend = Extend::new(Chain::begin(loglet(1, 1)), wish, 1000);
        assert_eq!(asked(&extend), [1, 2, 3]);
        for (at, node) in order.into_iter().enumerate() {
            assert_eq!(asked(&extend).len(), 3 - at);
            extend.handle_host(host(node, node + 40));
        }
        let Some(Step::Prepare(made)) = extend.step() else { panic!("{:?}", extend.step()) };
        let expected = [1, 2, 1, 3].map(|node| (node, node + 40));
        let sequencers = made.sequencers().map(|sequencer| (sequencer.node.0, sequencer.incarnation.0));
        assert_eq!(sequencers.collect::<Vec<_>>(), expected);
        assert_eq!((made.id(), made.stripes()[3].id), (id(2, 1000), id(2, 1000).stripe(3)));
        extend.handle_prepared();
        let Some(Step::Seal(old)) = extend.step() else { panic!("{:?}", extend.step()) };
        assert_eq!(old, loglet(1, 1).into());
        extend.handle_sealed();
        extend.handle_tail(Offset(5));
        extend.handle_written(Written::Done);
        let Some(Outcome::Extended(chain)) = extend.outcome() else { panic!("{:?}", extend.outcome()) };
        assert_eq!(chain.last().loglet, made);
    }
}

/// The loglet is made anew for the version after a lost race, of the lives that there are then.
#[test]
fn the_sequencers_are_asked_again_for_another_version() {
    let chain = Chain::begin(loglet(1, 1));
    let wish = Wish { replaces: id(1, 1), wanted: wanted(&[1, 2]), intent: None };
    let mut extend = Extend::new(chain.clone(), wish, 1000);
    [1, 2].into_iter().for_each(|node| extend.handle_host(host(node, 40)));
    extend.handle_prepared();
    extend.handle_sealed();
    extend.handle_tail(Offset(5));
    extend.handle_written(Written::Conflict(chain.trimmed(LogPos(1)).unwrap()));
    assert_eq!(asked(&extend), [1, 2]);
    [2, 1].into_iter().for_each(|node| extend.handle_host(host(node, 50)));
    let Some(Step::Prepare(made)) = extend.step() else { panic!("{:?}", extend.step()) };
    assert!(made.sequencers().all(|sequencer| sequencer.incarnation == Incarnation(50)));
    assert_eq!((made.id(), extend.left_over().count()), (id(3, 1000), 2));
}

/// P15: what somebody else has written down is carried out with all its stripes, and its sequencers are asked.
#[test]
fn an_intent_of_more_stripes_is_carried_out_by_whoever_comes() {
    let intent = Intent { wanted: wanted(&[2, 3, 2]), ..intent(9, id(1, 1)) };
    let chain = Chain::begin(loglet(1, 1)).intending(intent).unwrap();
    let wish = Wish { replaces: id(1, 1), wanted: wanted(&[1]), intent: None };
    let mut extend = Extend::new(chain, wish, 1000);
    assert_eq!(asked(&extend), [2, 3]);
    [3, 2].into_iter().for_each(|node| extend.handle_host(host(node, 40)));
    extend.handle_prepared();
    extend.handle_sealed();
    extend.handle_tail(Offset(5));
    extend.handle_written(Written::Done);
    let Some(Outcome::Extended(chain)) = extend.outcome() else { panic!("{:?}", extend.outcome()) };
    let sequencers: Vec<NodeId> = chain.last().loglet.sequencers().map(|sequencer| sequencer.node).collect();
    assert_eq!((sequencers, chain.last().fulfils), ([2, 3, 2].map(NodeId).to_vec(), Some(IntentId(9))));
}
