use std::collections::BTreeMap;

use crate::base::{LogletId, NodeId};
use crate::client::Chain;
use crate::history::{ChainPart, ChainVersion, Intended, Segment, Servers};
use crate::wire::Member;

fn servers<'a>(stripes: impl Iterator<Item = (NodeId, &'a [Member])>) -> Vec<Servers> {
    let nodes = |log_servers: &[Member]| log_servers.iter().map(|member| member.node).collect();
    stripes.map(|(sequencer, log_servers)| Servers { sequencer, log_servers: nodes(log_servers) }).collect()
}

/// The chain as the history has it.
pub(super) fn version_of(chain: &Chain) -> ChainVersion {
    let parts = chain.segments.iter().map(|segment| ChainPart {
        loglet: segment.loglet.id(),
        start: segment.start.0,
        stop: segment.stop.map(|stop| stop.0),
        servers: servers(
            segment.loglet.stripes().iter().map(|stripe| (stripe.sequencer.node, &stripe.log_servers[..])),
        ),
        fulfils: segment.fulfils,
    });
    let intent = chain.intent.as_ref().map(|intent| Intended {
        id: intent.id,
        replaces: intent.replaces,
        servers: servers(intent.wanted.stripes().iter().map(|stripe| (stripe.sequencer.node, &stripe.log_servers[..]))),
    });
    ChainVersion { version: chain.version, trim_point: chain.trim_point.0, intent, parts: parts.collect() }
}

/// All segments that any of these versions has, in order, and their loglets with the number of stripes. One that was replaced before anything was in it ends where it
/// begins; when the ends were decided is not known.
pub(super) fn segments_of(chains: &[ChainVersion]) -> Vec<(LogletId, usize, Segment)> {
    let mut found: BTreeMap<(u64, LogletId, usize), Option<u64>> = BTreeMap::new();
    for part in chains.iter().flat_map(|chain| &chain.parts) {
        let stop = found.entry((part.start, part.loglet, part.servers.len())).or_default();
        *stop = stop.or(part.stop);
    }
    let last = chains.iter().max_by_key(|chain| chain.version).map(|chain| chain.last().loglet);
    let segment = |((start, loglet, stripes), stop): ((u64, LogletId, usize), Option<u64>)| {
        let stop = if Some(loglet) == last { None } else { Some(stop.unwrap_or(start)) };
        (loglet, stripes, Segment { start, stop: stop.map(|stop| (stop, 0)), ..Segment::default() })
    };
    found.into_iter().map(segment).collect()
}
