//! Seeds that have found something, each with what it was. A seed means its run only as long as the simulator draws the same
//! from it; the test that states the fault beside the code that had it lasts longer.

use naxos::sim::{Options, Profile, run};

/// Seed, profile, operations, nodes, and what was wrong.
const SEEDS: &[(u64, Profile, u64, usize, &str)] = &[
    (
        65,
        Profile::Network,
        200,
        3,
        "a subscription asked sealed servers for less than its client knew to be committed, over and over, and never ended",
    ),
    (5, Profile::Disk, 200, 3, "a subscription on a damaged server was not told of the stop, and never ended"),
    (
        19,
        Profile::Crash,
        200,
        3,
        "the first unit of a life was torn, the next one was not: the start after took that for damage and sealed all loglets",
    ),
    (1, Profile::Reconfigure, 200, 3, "an intent about a loglet that was not the last any more failed an assertion"),
    (
        3,
        Profile::Reconfigure,
        200,
        3,
        "after a restart the cell of a register was taken for a loglet that had lost its own, which was sealed and never caught up",
    ),
    (13, Profile::Reconfigure, 200, 3, "a subscription in a deleted loglet was begun again and again in one turn"),
    (
        93,
        Profile::Reconfigure,
        200,
        3,
        "an extend that met an intent knew whom to ask, but its client did not connect with a node that only the intent names",
    ),
    (
        391,
        Profile::Striped,
        200,
        3,
        "a client of a loglet that had got other LogServers was replaced with an append under way, which never ended",
    ),
    (
        900,
        Profile::Striped,
        200,
        3,
        "a sequencer without room for the no-ops that were due had its shard take turn after turn",
    ),
    (
        110,
        Profile::Mixed,
        200,
        3,
        "every checkTail of a sealed loglet wanted the tail of the one LogServer that had lost the record below it, and none ended",
    ),
];

#[test]
fn what_was_found_stays_fixed() {
    for &(seed, profile, ops, nodes, what) in SEEDS {
        let outcome = run(seed, &Options { profile, ops, nodes, ..Options::default() });
        assert_eq!(outcome.violations, [], "seed {seed} ({profile}) again: {what}");
    }
}
