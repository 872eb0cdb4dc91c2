use std::collections::BTreeMap;

use crate::base::NodeId;
use crate::wire::Member;

/// A stripe that needs a sequencer.
#[derive(Clone, Debug, Default)]
pub struct Seat {
    /// Whom it has and keeps.
    pub kept: Option<Member>,
    /// Who may take it over, in their order.
    pub others: Vec<Member>,
    /// Who takes it when none of those can.
    pub last: Option<Member>,
}

/// Who is to sequence each of a loglet's stripes, so that the load is on as many nodes as can bear it: where nobody is kept, the one that
/// sequences the fewest of those that `can`. None if some stripe has nobody.
pub fn rotate(seats: &[Seat], mut can: impl FnMut(&Member) -> bool) -> Option<Vec<Member>> {
    let mut stripes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for kept in seats.iter().filter_map(|seat| seat.kept) {
        *stripes.entry(kept.node).or_default() += 1;
    }
    let mut choose = |seat: &Seat| {
        let mut in_order: Vec<&Member> = seat.others.iter().collect();
        in_order.sort_by_key(|member| stripes.get(&member.node).copied().unwrap_or(0));
        let chosen = in_order.into_iter().chain(&seat.last).copied().find(|member| can(member))?;
        *stripes.entry(chosen.node).or_default() += 1;
        Some(chosen)
    };
    seats.iter().map(|seat| seat.kept.or_else(|| choose(seat))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u128) -> Member {
        Member { node: NodeId(node), address: ([10, 0, 0, node as u8], 7000).into() }
    }

    fn rotated(seats: &[Seat], can: impl FnMut(&Member) -> bool) -> Option<Vec<u128>> {
        rotate(seats, can).map(|sequencers| sequencers.iter().map(|member| member.node.0).collect())
    }

    #[test]
    fn new_stripes_go_round_the_nodes_that_can() {
        let seats = vec![Seat { others: [1, 2, 3].map(member).to_vec(), ..Seat::default() }; 5];
        assert_eq!(rotated(&seats, |_| true).unwrap(), [1, 2, 3, 1, 2]);
        assert_eq!(rotated(&seats, |member| member.node != NodeId(2)).unwrap(), [1, 3, 1, 3, 1]);
        assert_eq!(rotated(&seats, |_| false), None);
    }

    #[test]
    fn those_who_stay_count_and_whoever_sequences_the_fewest_takes_over() {
        let stays = |node| Seat { kept: Some(member(node)), ..Seat::default() };
        let moves = Seat { others: [1, 2, 3].map(member).to_vec(), ..Seat::default() };
        let seats = [stays(1), moves.clone(), stays(2), moves];
        assert_eq!(rotated(&seats, |_| true).unwrap(), [1, 3, 2, 1]);
        assert_eq!(rotated(&seats, |_| false), None, "it has nobody, whoever stays");
    }

    #[test]
    fn who_is_the_last_to_be_asked_is_so_however_little_it_has_to_do() {
        let seats = vec![Seat { kept: None, others: vec![member(2)], last: Some(member(1)) }; 2];
        assert_eq!(rotated(&seats, |_| true).unwrap(), [2, 2]);
        assert_eq!(rotated(&seats, |member| member.node != NodeId(2)).unwrap(), [1, 1]);
    }
}
