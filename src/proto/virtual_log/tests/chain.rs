//! The chain as a value.

use super::{id, intent, loglet};
use crate::base::{Incarnation, IntentId, Limits, LogPos, NodeId, Offset};
use crate::proto::virtual_log::{Chain, GivenUp, InvalidChain, Place, Refusal, Settled};

/// `[0, 10)`, `[10, 25)`, and from 25 on.
fn three() -> Chain {
    let chain = Chain::begin(loglet(1, 1));
    let chain = chain.extended(id(1, 1), Offset(10), loglet(2, 2), None).unwrap();
    chain.extended(id(2, 2), Offset(15), loglet(3, 3), None).unwrap()
}

#[test]
fn positions_and_offsets_are_converted_in_both_directions() {
    let chain = three();
    for position in 0..40 {
        let place = chain.locate(LogPos(position)).unwrap();
        assert_eq!(chain.position(place.segment, place.offset), Some(LogPos(position)));
    }
    assert_eq!(chain.locate(LogPos(9)), Some(Place { segment: 0, offset: Offset(9), stop: Some(Offset(10)) }));
    assert_eq!(chain.locate(LogPos(10)), Some(Place { segment: 1, offset: Offset(0), stop: Some(Offset(15)) }));
    assert_eq!(chain.locate(LogPos(25)), Some(Place { segment: 2, offset: Offset(0), stop: None }));
}

/// What is to be deleted of a log is found after its end.
#[test]
fn a_deleted_chain_is_none_and_says_what_it_was() {
    let last_of = |json: &[u8]| match Chain::from_json(json) {
        Err(InvalidChain::Deleted { last }) => last.map(|last| *last),
        other => panic!("{other:?}"),
    };
    assert_eq!(last_of(&Chain::deleted(Some(&three()))), Some(three()));
    assert_eq!(last_of(&Chain::deleted(None)), None);
    assert_eq!(Chain::deleted(None), br#"{"deleted":null}"#);
    assert!(matches!(Chain::from_json(b"{}"), Err(InvalidChain::Json(_))));
    let kept = three().kept_by_others();
    assert_eq!((kept.version, kept.segments), (three().version + 1, three().segments));
}

#[test]
fn nothing_at_or_beyond_a_stop_has_a_position() {
    let chain = three();
    assert_eq!(chain.position(0, Offset(9)), Some(LogPos(9)));
    assert_eq!(chain.position(0, Offset(10)), None);
    assert_eq!(chain.position(1, Offset(1 << 40)), None);
    assert_eq!(chain.position(2, Offset(1 << 40)), Some(LogPos(25 + (1 << 40))));
}

#[test]
fn p16_offsets_that_a_sealed_loglet_gave_are_settled_by_its_stop() {
    let chain = three();
    assert_eq!(chain.settle(id(2, 2), Offset(14)), Settled::At(LogPos(24)));
    assert_eq!(chain.settle(id(2, 2), Offset(15)), Settled::Never);
    assert_eq!(chain.settle(id(3, 3), Offset(0)), Settled::Open);
    assert_eq!(chain.settle(id(2, 9), Offset(0)), Settled::Never, "prepared, and never installed");
    let (chain, _) = chain.trimmed(LogPos(12)).unwrap().truncated().unwrap();
    assert_eq!(chain.settle(id(1, 1), Offset(0)), Settled::Trimmed);
}

#[test]
fn l7_only_the_last_loglet_is_extended() {
    let chain = three();
    assert_eq!(chain.extended(id(2, 2), Offset(15), loglet(4, 4), None), Err(Refusal::NotLast(id(2, 2))));
    assert_eq!(chain.extended(id(3, 3), Offset(1), loglet(2, 2), None), Err(Refusal::Reused(id(2, 2))));
}

#[test]
fn p15_a_segment_that_would_be_empty_is_replaced() {
    let chain = three();
    let next = chain.extended(id(3, 3), Offset(0), loglet(4, 4), None).unwrap();
    assert_eq!(next.segments.len(), 3);
    assert_eq!((next.last().loglet.id(), next.last().start), (id(4, 4), LogPos(25)));
    assert_eq!(next.settle(id(3, 3), Offset(0)), Settled::Never);
    let first = Chain::begin(loglet(1, 1)).extended(id(1, 1), Offset(0), loglet(2, 2), None).unwrap();
    assert_eq!((first.segments.len(), first.version), (1, 2));
}

#[test]
fn p15_one_intent_at_a_time_cleared_by_the_extension_that_fulfils_it() {
    let chain = three();
    assert_eq!(chain.intending(intent(1, id(2, 2))), Err(Refusal::NotLast(id(2, 2))));
    let pending = chain.intending(intent(1, id(3, 3))).unwrap();
    assert_eq!(pending.version, chain.version + 1);
    assert_eq!(pending.intending(intent(2, id(3, 3))), Err(Refusal::Pending(IntentId(1))));
    let done = pending.extended(id(3, 3), Offset(5), loglet(6, 6), Some(IntentId(1))).unwrap();
    assert_eq!((done.intent.as_ref(), done.has_fulfilled(IntentId(1))), (None, true));
    // Somebody who did not see it extends: it is void, and not fulfilled.
    let other = pending.extended(id(3, 3), Offset(5), loglet(6, 7), None).unwrap();
    assert_eq!((other.intent.as_ref(), other.has_fulfilled(IntentId(1))), (None, false));
    let given_up = |intent| GivenUp::new(IntentId(intent), &"\u{e4}".repeat(GivenUp::REASON_BYTES_MAX));
    assert_eq!(pending.without_intent(given_up(2)), None);
    let without = pending.without_intent(given_up(1)).unwrap();
    assert_eq!((without.intent.as_ref(), without.given_up.as_ref()), (None, Some(&given_up(1))));
    assert_eq!(given_up(1).reason.len(), GivenUp::REASON_BYTES_MAX, "as much as there is room for");
    assert_eq!(
        GivenUp::new(IntentId(1), &format!("x{}", given_up(1).reason)).reason.len() + 1,
        GivenUp::REASON_BYTES_MAX
    );
    assert_eq!(Chain::from_json(&without.to_json()).unwrap(), without);
    // It stays until another one has been carried out.
    let extended = |fulfils| without.extended(id(3, 3), Offset(5), loglet(6, 6), fulfils).unwrap();
    assert_eq!(extended(None).given_up, Some(given_up(1)));
    assert_eq!(extended(Some(IntentId(2))).given_up, None);
}

#[test]
fn p7_only_closed_segments_change_members_and_only_members() {
    let chain = three();
    let mut changed = loglet(2, 2);
    changed.log_servers[0].node = NodeId(9);
    let next = chain.modified(changed.clone()).unwrap();
    assert_eq!((next.segments[1].loglet.first(), next.segments[1].stop), (&changed, Some(LogPos(25))));
    changed.id = id(3, 3);
    assert_eq!(chain.modified(changed.clone()), Err(Refusal::Active(id(3, 3))));
    changed.id = id(8, 8);
    assert_eq!(chain.modified(changed), Err(Refusal::Absent(id(8, 8))));
    let mut changed = loglet(1, 1);
    changed.sequencer.incarnation = Incarnation(6);
    assert_eq!(chain.modified(changed), Err(Refusal::OtherLoglet(id(1, 1))));
}

#[test]
fn p7_truncation_drops_closed_segments_wholly_below_the_trim_point() {
    let chain = three();
    assert!(chain.truncated().is_none());
    assert!(chain.trimmed(LogPos(9)).unwrap().truncated().is_none());
    assert!(chain.trimmed(LogPos(0)).is_none(), "a trim point never goes back");
    let (next, gone) = chain.trimmed(LogPos(10)).unwrap().truncated().unwrap();
    assert_eq!(gone, [loglet(1, 1).into()]);
    assert_eq!((next.first_position(), next.locate(LogPos(9))), (LogPos(10), None));
    // The active segment stays, whatever is trimmed.
    let (next, gone) = chain.trimmed(LogPos(1000)).unwrap().truncated().unwrap();
    assert_eq!((gone.len(), next.segments.len(), next.first_position()), (2, 1, LogPos(1000)));
}

#[test]
fn a_chain_is_json_and_comes_back_as_it_was() {
    let mut chain = three().intending(intent(0xabc, id(3, 3))).unwrap();
    let changed = chain.segments[1].loglet.stripe_mut(0);
    changed.sequencer.incarnation.0 += 1;
    changed.log_servers.pop();
    let json = chain.to_json();
    assert_eq!(Chain::from_json(&json).unwrap(), chain);
    assert!(String::from_utf8(json).unwrap().contains(r#""start":25"#), "an operator can read it");
}

/// One sequencer's life sees many reconfigurations, each of which costs little.
#[test]
fn a_register_has_room_for_a_thousand_segments() {
    let mut chain = Chain::begin(loglet(1, u64::MAX));
    for version in 2..=1000 {
        let mut next = loglet(version, u64::MAX - version);
        next.sequencer.incarnation.0 = u128::MAX - u128::from(version / 10);
        chain = chain.extended(chain.last().loglet.id(), Offset(1 << 40), next, None).unwrap();
    }
    let (json, limit) = (chain.to_json(), Limits::default().register_bytes_max);
    assert_eq!(chain.segments.len(), 1000);
    assert!(json.len() < limit as usize, "{} of {limit} bytes", json.len());
    assert_eq!(Chain::from_json(&json).unwrap(), chain);
}

#[test]
fn a_chain_that_contradicts_itself_is_refused() {
    let refused = |change: fn(&mut Chain)| {
        let mut chain = three();
        change(&mut chain);
        Chain::from_json(&chain.to_json()).unwrap_err().to_string()
    };
    assert!(refused(|chain| chain.segments.clear()).contains("no segments"));
    assert!(refused(|chain| chain.version = 0).contains("count from 1"));
    assert!(refused(|chain| chain.segments[2].loglet.stripe_mut(0).id = id(1, 1)).contains("two segments"));
    assert!(refused(|chain| chain.segments[1].start = LogPos(0)).contains("empty"));
    assert!(refused(|chain| chain.segments[2].start = LogPos(3)).contains("empty"));
    assert!(refused(|chain| chain.segments[0].loglet.stripe_mut(0).log_servers.clear()).contains("LogServers"));
    let twice = |chain: &mut Chain| {
        let log_servers = &mut chain.segments[0].loglet.stripe_mut(0).log_servers;
        log_servers[1] = log_servers[0];
    };
    assert!(refused(twice).contains("twice"));
    let json = String::from_utf8(three().to_json()).unwrap();
    for (from, to) in [("\"member\":0", "\"member\":9"), ("\"log_servers\":[0,1,2]", "\"log_servers\":[0,1,9]")] {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json, "{json}");
        assert!(Chain::from_json(changed.as_bytes()).unwrap_err().to_string().contains("not there"));
    }
    let headless = json.replacen("\"log_servers\":[0,1,2],", "", 1).replacen(",\"log_servers\":[0,1,2]", "", 1);
    assert!(Chain::from_json(headless.as_bytes()).unwrap_err().to_string().contains("leaves something out"));
    assert!(Chain::from_json(b"{}").is_err());
}
