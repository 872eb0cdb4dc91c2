/// The smallest majority of `members`: any two majorities share a member.
///
/// # Panics
/// When there are no members.
pub fn quorum(members: usize) -> usize {
    assert!(members > 0, "a quorum needs members");
    members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::quorum;

    #[test]
    fn any_two_quorums_intersect() {
        for members in 1..=9 {
            assert!(2 * quorum(members) > members);
            assert!(2 * (quorum(members) - 1) <= members);
        }
    }
}
