//! How the stripes of a log that wants for nothing should lie: as many as its load needs, on as many nodes as can sequence them.

use std::collections::BTreeMap;

use super::planner::{Change, Found, View};
use crate::base::NodeId;
use crate::client::{Chain, LogRecord, LogletSpec, Seat, Stripes, Wanted, WantedStripe, rotate};
use crate::wire::{LogletConfig, Member};

impl View<'_> {
    /// The log has more or fewer stripes than its load needs, or than it may have.
    pub(super) fn divide(&self, name: &str, record: &LogRecord, chain: &Chain) -> Option<Found> {
        let loglet = &chain.last().loglet;
        // The range may have become another one since.
        let stripes = record.range().stripes(*self.scaling.get(name)?);
        let (has, count) = (loglet.stripes().len(), stripes.count);
        if count == has || !self.is_whole(chain) {
            return None;
        }
        let wanted = self.divided(record, loglet, stripes)?;
        Some((loglet.id(), Change::Extend(wanted), format!("its stripes should be {count}, and are {has}")))
    }

    /// Its stripes are sequenced by fewer nodes than could do it.
    pub(super) fn spread(&self, record: &LogRecord, chain: &Chain) -> Option<Found> {
        let loglet = &chain.last().loglet;
        let count = loglet.stripes().len();
        if count == 1 || !self.is_whole(chain) {
            return None;
        }
        let found = |wanted, reason| Some((loglet.id(), Change::Extend(wanted), reason));
        if record.stripes.sharded && !loglet.is_sharded() {
            let wanted = self.divided(record, loglet, Stripes { count, sharded: true })?;
            return found(wanted, "nodes that store several of its stripes need not do so any more".to_owned());
        }
        let able = loglet.log_servers().filter(|member| self.can_take(member.node));
        let mut stripes: BTreeMap<NodeId, usize> = able.map(|member| (member.node, 0)).collect();
        for sequencer in loglet.sequencers() {
            // In the process of a writer, which wants it there.
            self.root.node(sequencer.node)?;
            *stripes.entry(sequencer.node).or_default() += 1;
        }
        let ((most, many), (least, few)) =
            (stripes.iter().max_by_key(|(_, count)| **count)?, stripes.iter().min_by_key(|(_, count)| **count)?);
        if *many < *few + 2 {
            return None;
        }
        let places: Vec<_> = loglet.stripes().iter().map(|stripe| stripe.log_servers.clone()).collect();
        let wanted = self.seated(loglet, places)?;
        // What may be moved cannot lie better, if a stripe has only such LogServers as have much to do.
        let moves = wanted.stripes().iter().zip(loglet.sequencers());
        let moves = moves.filter(|(stripe, sequencer)| stripe.sequencer.node != sequencer.node).count();
        let after = wanted.stripes().iter().filter(|stripe| stripe.sequencer.node == *most).count();
        let reason = format!("node {most} sequences {many} of its stripes, and {least} could take some of them");
        if moves > 0 && after < *many { found(wanted, reason) } else { None }
    }

    /// Whether nobody is missing or about to leave, and nothing is pending: else there is something more urgent, and who is away may be back
    /// soon.
    fn is_whole(&self, chain: &Chain) -> bool {
        chain.intent.is_none() && self.root.nodes.iter().all(|record| self.can_take(record.member.node))
    }

    /// The loglet over so many stripes: on LogServers that it has, or, stored apart, on any that are well.
    fn divided(&self, record: &LogRecord, loglet: &LogletSpec, stripes: Stripes) -> Option<Wanted> {
        let places = match stripes.sharded {
            true => self.placeable().place(&LogRecord { stripes, ..record.clone() }),
            false => vec![loglet.first().log_servers.clone(); stripes.count],
        };
        let is_enough = |place: &Vec<Member>| place.len() >= record.replicas;
        if places.iter().all(is_enough) { self.seated(loglet, places) } else { None }
    }

    /// Stripes in these places, as evenly as can be: sequenced where they are now, as far as no node sequences more than its share.
    fn seated(&self, loglet: &LogletSpec, places: Vec<Vec<Member>>) -> Option<Wanted> {
        let able = places.iter().flatten().filter(|member| self.can_take(member.node));
        let mut stripes: BTreeMap<NodeId, usize> = able.map(|member| (member.node, 0)).collect();
        let nodes = stripes.len().max(1);
        let (share, mut odd) = (places.len() / nodes, places.len() % nodes);
        let mut keep = |stripe: Option<&LogletConfig>, place: &[Member]| {
            let sequencer = stripe?.sequencer.node;
            let member = place.iter().find(|member| member.node == sequencer)?;
            let has = stripes.get_mut(&sequencer)?;
            if *has > share || (*has == share && odd == 0) {
                return None;
            }
            odd -= usize::from(*has == share);
            *has += 1;
            Some(*member)
        };
        let mut present = loglet.stripes().iter();
        let seat = |place: Vec<Member>| Seat { kept: keep(present.next(), &place), others: place, last: None };
        let seats: Vec<Seat> = places.into_iter().map(seat).collect();
        let sequencers = rotate(&seats, |member| self.can_take(member.node))?;
        let stripe = |(sequencer, seat): (Member, Seat)| WantedStripe { sequencer, log_servers: seat.others };
        Some(Wanted::new(sequencers.into_iter().zip(seats).map(stripe).collect()))
    }
}
