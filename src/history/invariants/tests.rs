//! Each invariant fails on the smallest history that breaks it, and nothing else does.

use super::check;
use crate::base::{IntentId, LogletId, NodeId};
use crate::history::{
    Append, AppendOutcome, ChainPart, ChainVersion, History, Intended, Read, Seal, Segment, Servers, TailCheck, Trim,
    Value,
};

/// Three records in one closed segment: two acknowledged one after the other, one settled; a tail, a read, a seal.
fn good() -> History {
    let append = |number: u64, invoked, ended, outcome| Append {
        client: 0,
        segment: Some(0),
        value: Value(100 + number),
        invoked,
        ended: Some((ended, outcome)),
    };
    let tail = |invoked, ended, tail, sealed| TailCheck { client: 0, segment: Some(0), invoked, ended, tail, sealed };
    History {
        segments: vec![Segment { start: 0, stop: Some((3, 60)), known_tail: 2, ..Segment::default() }],
        appends: vec![
            append(0, 1, 5, AppendOutcome::Acknowledged(0)),
            append(1, 10, 15, AppendOutcome::Acknowledged(1)),
            append(2, 30, 41, AppendOutcome::Settled(2)),
            append(3, 31, 42, AppendOutcome::Settled(3)),
            append(4, 32, 43, AppendOutcome::NotStored),
            append(5, 33, 44, AppendOutcome::Unknown),
        ],
        tails: vec![tail(6, 9, 1, false), tail(20, 22, 2, false), tail(50, 55, 3, true)],
        reads: vec![Read {
            client: 1,
            segment: Some(0),
            invoked: 23,
            ended: 25,
            min: 0,
            max: 10,
            first: 0,
            values: vec![Value(100), Value(101)],
        }],
        seals: vec![Seal { segment: 0, ended: 45 }],
        trims: vec![Trim { point: 0, invoked: 2 }],
        trimmed: Vec::new(),
        contents: Some((0, vec![Value(100), Value(101), Value(102)])),
        ..History::default()
    }
}

/// The invariants that a change of the good history breaks.
fn broken(change: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = good();
    change(&mut history);
    let mut names: Vec<_> = check(&history).into_iter().map(|violation| violation.invariant).collect();
    names.dedup();
    names
}

#[test]
fn a_good_history_breaks_nothing() {
    assert_eq!(check(&good()), []);
}

/// P18: a no-op is nobody's record, may be in a log again and again, and is a value like any other at its position.
#[test]
fn no_ops_are_one_value_for_everybody() {
    let longer = |history: &mut History, read: [Value; 2]| {
        history.segments[0].stop = Some((6, 60));
        history.tails[1].tail = 4;
        history.tails[2].tail = 6;
        history.reads[0].values.extend(read);
        history.appends[3].ended = Some((42, AppendOutcome::NotStored));
        let no_ops = [Value::NO_OP; 2];
        history.contents = Some((0, [&[Value(100), Value(101)][..], &no_ops, &[Value(105), Value::NO_OP]].concat()));
        history.appends[2].ended = Some((41, AppendOutcome::Unknown));
    };
    assert_eq!(broken(|history| longer(history, [Value::NO_OP; 2])), [""; 0]);
    let empty = Value::of(b"");
    assert_eq!(Value::at(Some(b"")), empty);
    let other = |history: &mut History| {
        longer(history, [Value::at(None), empty]);
        history.appends[4].value = empty;
        history.appends[4].invoked = 3;
        history.appends[4].ended = None;
    };
    assert_eq!(broken(other), ["stable-values"]);
    let contents = vec![Value(100), Value::NO_OP, Value(102)];
    assert!(broken(|history| history.contents = Some((0, contents))).contains(&"acknowledged-append-lost"));
}

#[test]
fn every_invariant_is_broken_by_some_history() {
    let contents = |history: &mut History, values: &[u64]| {
        history.contents = Some((0, values.iter().map(|&value| Value(value)).collect()));
    };
    let has = |names: &[&str], name: &str| assert!(names.contains(&name), "{name} is not in {names:?}");

    has(&broken(|history| contents(history, &[100, 105, 102])), "acknowledged-append-lost");
    has(&broken(|history| contents(history, &[100])), "acknowledged-append-lost");
    assert_eq!(
        broken(|history| history.appends[1].ended = Some((15, AppendOutcome::Acknowledged(0)))).first(),
        Some(&"acknowledged-append-lost")
    );
    has(
        &broken(|history| history.appends[1].ended = Some((15, AppendOutcome::Acknowledged(0)))),
        "one-value-per-position",
    );
    has(&broken(|history| history.appends[1].ended = Some((15, AppendOutcome::Acknowledged(0)))), "real-time-order");
    assert_eq!(broken(|history| history.segments[0].strange_votes.push("a vote".to_owned())), ["blank-disk-votes"]);
    assert_eq!(broken(|history| history.segments[0].strange_gaps.push("a gap".to_owned())), ["stored-on-top"]);
    assert_eq!(broken(|history| history.false_damage.push("a unit".to_owned())), ["sound-disk-damaged"]);
    has(&broken(|history| history.reads[0].values[1] = Value(7)), "contents-as-sent");
    has(&broken(|history| history.appends[1].invoked = 26), "contents-as-sent");
    assert_eq!(broken(|history| history.segments[0].given.extend([(1, Value(7))])), ["boundary-rule"]);
    assert_eq!(broken(|history| history.segments[0].given_twice.push("an offset".to_owned())), ["boundary-rule"]);
    assert_eq!(broken(|history| history.unfinished.push("a read".to_owned())), ["convergence"]);
    assert_eq!(broken(|history| history.segments[0].known_tail = 4), ["known-tail-within-stop"]);
    has(&broken(|history| history.tails[1].tail = 4), "open-tail-within-stop");
    has(&broken(|history| history.tails[0].tail = 2), "append-behind-told-tail");
    assert_eq!(broken(|history| history.reads[0].max = 1), ["read-within-limit"]);
    assert_eq!(broken(|history| history.reads[0].min = 1), ["read-within-limit"]);
    let beyond = |history: &mut History| history.reads[0].values.extend([Value(102), Value(103)]);
    has(&broken(beyond), "read-within-limit");
    has(&broken(|history| history.appends[1].invoked = 46), "acknowledged-after-seal");
    has(&broken(|history| history.tails[2].tail = 1), "acknowledged-after-seal");
    has(&broken(|history| history.tails[2].sealed = false), "acknowledged-after-seal");
    assert_eq!(broken(|history| contents(history, &[100, 101, 105])), ["sealed-append-settled"]);
    assert_eq!(
        broken(|history| history.appends[2].ended = Some((41, AppendOutcome::NotStored))),
        ["sealed-append-settled"]
    );
    has(&broken(|history| history.reads[0].values = vec![Value(101), Value(101)]), "stable-values");
    has(&broken(|history| history.tails[1].tail = 1), "tail-covers-acknowledged");
    has(&broken(|history| history.tails[1].tail = 0), "tail-covers-acknowledged");
    assert_eq!(broken(|history| history.trimmed.push((1, 70))), ["untrimmed-data-lost"]);
    assert_eq!(broken(|history| history.contents = Some((1, vec![Value(101), Value(102)]))), ["untrimmed-data-lost"]);
}

#[test]
fn what_is_concurrent_may_come_in_any_order() {
    let swap = |history: &mut History| {
        history.appends[0].ended = Some((12, AppendOutcome::Acknowledged(1)));
        history.appends[1].ended = Some((15, AppendOutcome::Acknowledged(0)));
        history.tails.remove(0);
        history.reads.clear();
        history.contents = Some((0, vec![Value(101), Value(100), Value(102)]));
    };
    assert_eq!(broken(swap), Vec::<&str>::new());
}

#[test]
fn trimmed_records_are_not_missed() {
    let trim = |history: &mut History| {
        history.trims.push(Trim { point: 1, invoked: 26 });
        history.trimmed.push((1, 70));
        history.contents = Some((1, vec![Value(101), Value(102)]));
    };
    assert_eq!(broken(trim), Vec::<&str>::new());
}

fn part(nonce: u64, start: u64, stop: Option<u64>, fulfils: Option<u128>) -> ChainPart {
    let loglet = LogletId { log: 1, version: nonce, nonce };
    ChainPart { loglet, start, stop, servers: servers(1), fulfils: fulfils.map(IntentId) }
}

/// A loglet of two stripes.
fn servers(sequencer: u128) -> Vec<Servers> {
    let log_servers = vec![NodeId(1), NodeId(2), NodeId(3)];
    let stripe = |sequencer| Servers { sequencer: NodeId(sequencer), log_servers: log_servers.clone() };
    vec![stripe(3), stripe(sequencer)]
}

/// A chain that is extended as was intended, extended once more while nothing is in it, and truncated.
fn chains() -> Vec<ChainVersion> {
    let chain = |version, trim_point, parts| ChainVersion { version, trim_point, intent: None, parts };
    let intent = Intended { id: IntentId(9), replaces: part(1, 0, None, None).loglet, servers: servers(1) };
    vec![
        chain(1, 0, vec![part(1, 0, None, None)]),
        ChainVersion { intent: Some(intent), ..chain(2, 0, vec![part(1, 0, None, None)]) },
        chain(3, 0, vec![part(1, 0, Some(3), None), part(3, 3, None, Some(9))]),
        chain(4, 0, vec![part(1, 0, Some(3), None), part(4, 3, None, None)]),
        chain(5, 3, vec![part(1, 0, Some(3), None), part(4, 3, None, None)]),
        chain(6, 3, vec![part(4, 3, None, None)]),
    ]
}

fn broken_by_chains(change: impl FnOnce(&mut Vec<ChainVersion>)) -> Vec<&'static str> {
    let mut chains = chains();
    change(&mut chains);
    broken(|history| history.chains = chains)
}

#[test]
fn chains_are_versions_of_one() {
    assert_eq!(broken_by_chains(|_| ()), Vec::<&str>::new());
    let one = ["one-chain"];
    assert_eq!(broken_by_chains(|chains| chains.push(ChainVersion { trim_point: 1, ..chains[0].clone() })), one);
    assert_eq!(broken_by_chains(|chains| chains[5].trim_point = 2), one);
    assert_eq!(broken_by_chains(|chains| chains[3].parts[0].stop = Some(2)), one);
    assert_eq!(broken_by_chains(|chains| chains[3].parts[1].start = 2), one);
    assert_eq!(broken_by_chains(|chains| chains[1].parts[0].servers[1].log_servers[2] = NodeId(4)), one);
    assert_eq!(broken_by_chains(|chains| chains[4].parts[0].servers[0].sequencer = NodeId(2)), one);
    assert_eq!(broken_by_chains(|chains| drop(chains[4].parts[0].servers.pop())), one);
    assert_eq!(broken_by_chains(|chains| drop(chains[3].parts.remove(0))), one);
    assert_eq!(
        broken_by_chains(|chains| chains[5].parts[0] = part(3, 3, None, Some(9))).first(),
        Some(&"intent-carried-out")
    );
    assert!(broken_by_chains(|chains| chains[5].parts[0] = part(3, 3, None, Some(9))).contains(&"one-chain"));
}

#[test]
fn an_intent_is_carried_out() {
    let intent = ["intent-carried-out"];
    assert_eq!(broken_by_chains(|chains| chains[2].parts[1].fulfils = None), intent);
    assert_eq!(broken_by_chains(|chains| chains[2].parts[1].servers[1].sequencer = NodeId(2)), intent);
    assert_eq!(broken_by_chains(|chains| chains[2].intent = chains[1].intent.clone()), intent);
    // Somebody has given it up.
    assert_eq!(
        broken_by_chains(|chains| {
            chains[1].intent = None;
            chains[2].parts[1].fulfils = None;
        }),
        Vec::<&str>::new()
    );
}
