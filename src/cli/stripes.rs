//! The stripes of a benchmark's log: which nodes sequence and store them.

use super::exit;
use super::serve::Ready;
use crate::base::{Incarnation, LogletId};
use crate::client::{LogletSpec, Stripes};
use crate::wire::{Member, Sequencer};

/// Reads a number of stripes, of which a benchmark's log has as many all the time.
pub(super) fn parse(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(count) if (1..=Stripes::MAX).contains(&usize::from(count)) => Ok(count),
        _ => Err(format!("a benchmark's log has one number of stripes, from 1 to {}", Stripes::MAX)),
    }
}

/// Refuses what so many nodes cannot be divided into.
pub(super) fn check(stripes: Stripes, nodes: usize, is_embedded: bool) -> anyhow::Result<Stripes> {
    let Stripes { count, sharded } = stripes;
    let refusal = match () {
        () if count > 1 && is_embedded => {
            "--stripes means nothing with --embedded-sequencer, which is one for the whole log".to_owned()
        }
        () if sharded && count == 1 => "--sharded needs --stripes 2 or more".to_owned(),
        () if sharded && !nodes.is_multiple_of(count) => {
            format!(
                "--sharded gives each of the {count} stripes as many nodes: {nodes} cannot be divided so; see --nodes"
            )
        }
        () => return Ok(stripes),
    };
    Err(exit::coded(exit::USAGE, refusal))
}

/// LogServers of each stripe of a log over so many nodes.
pub(super) fn copies(stripes: Stripes, nodes: usize) -> usize {
    if stripes.sharded { nodes / stripes.count } else { nodes }
}

/// A log over all the nodes, whose sequencers are the first ones, or the first of each stripe.
pub(super) fn spec(stripes: Stripes, nodes: &[Ready], log: u64) -> LogletSpec {
    let id = LogletId { log, version: 1, nonce: Incarnation::random().0 as u64 };
    let copies = copies(stripes, nodes.len());
    let stripe = |stripe: usize| {
        let (stored, first) = match stripes.sharded {
            true => (&nodes[stripe * copies..][..copies], stripe * copies),
            false => (nodes, stripe % nodes.len()),
        };
        let first = &nodes[first];
        let sequencer = Sequencer { node: first.node, incarnation: first.incarnation, address: first.address };
        let members = stored.iter().map(|node| Member { node: node.node, address: node.address }).collect();
        (sequencer, members)
    };
    LogletSpec::new(id, (0..stripes.count).map(stripe))
}

/// Stripes of a log that the first node does not sequence.
pub(super) fn away(spec: &LogletSpec) -> usize {
    let first = spec.first().sequencer.node;
    spec.stripes().iter().filter(|stripe| stripe.sequencer.node != first).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClusterId, NodeId};

    fn nodes(count: u16) -> Vec<Ready> {
        let node = |number: u16| Ready {
            admin: None,
            address: ([127, 0, 0, 1], 7000 + number).into(),
            cluster: ClusterId(1),
            node: NodeId(number.into()),
            incarnation: Incarnation(number.into()),
            pid: 1,
        };
        (0..count).map(node).collect()
    }

    fn places(spec: &LogletSpec) -> Vec<(u128, Vec<u128>)> {
        let stored = |stripe: &crate::wire::LogletConfig| stripe.log_servers.iter().map(|at| at.node.0).collect();
        spec.stripes().iter().map(|stripe| (stripe.sequencer.node.0, stored(stripe))).collect()
    }

    #[test]
    fn sequencers_rotate_over_all_nodes_or_have_some_each() {
        let rotating = spec(Stripes { count: 4, sharded: false }, &nodes(3), 1);
        let all = vec![0, 1, 2];
        assert_eq!(places(&rotating), [0, 1, 2, 0].map(|sequencer| (sequencer, all.clone())));
        assert_eq!(away(&rotating), 2, "the fourth begins again");
        let sharded = spec(Stripes { count: 2, sharded: true }, &nodes(6), 1);
        assert_eq!(places(&sharded), [(0, vec![0, 1, 2]), (3, vec![3, 4, 5])]);
        let native = spec(Stripes { count: 1, sharded: false }, &nodes(3), 1);
        assert!(matches!(native, LogletSpec::Native(_)) && away(&native) == 0);
    }

    #[test]
    fn a_benchmark_has_one_number_of_stripes() {
        assert_eq!(["1", "2", "64"].map(parse), [Ok(1), Ok(2), Ok(64)]);
        for text in ["0", "65", "1..3", "-1", "two", "", "256"] {
            assert_eq!(parse(text).unwrap_err(), "a benchmark's log has one number of stripes, from 1 to 64", "{text}");
        }
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let check = |count, sharded, nodes, is_embedded| {
            super::check(Stripes { count, sharded }, nodes, is_embedded).map_err(|error| error.to_string())
        };
        assert!(
            check(4, false, 3, false).is_ok() && check(3, true, 9, false).is_ok() && check(1, false, 3, true).is_ok()
        );
        assert!(check(2, true, 5, false).unwrap_err().contains("--nodes"));
        assert!(check(1, true, 6, false).unwrap_err().contains("--stripes 2"));
        assert!(check(2, false, 3, true).unwrap_err().contains("--embedded-sequencer"));
    }
}
