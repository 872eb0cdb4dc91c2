use super::Driver;
use super::op::Completion;
use crate::base::Instant;

/// Owners of tokens from this on are lodgers' ([`super::op::Token::owner`]).
pub const LODGERS: u8 = 0x80;

/// Somebody who shares a driver, and its thread, with the one to whom it belongs: nobody has to be woken for what one of them does for the
/// other.
///
/// The owner hands over the completions of the lodger's operations, which are known by their tokens, and behind them lets it move on, once in
/// each turn, also when nothing has completed.
pub trait Lodger<D: Driver> {
    /// An operation of the lodger has completed.
    fn complete(&mut self, driver: &mut D, completion: Completion, now: Instant);

    /// Does what there is to do, and submits operations.
    fn advance(&mut self, driver: &mut D, now: Instant);

    /// When there is something to do without any completion.
    fn deadline(&self) -> Option<Instant>;

    /// Asks it to end, in the turns that follow.
    fn stop(&mut self, now: Instant);

    /// Whether it has ended. What is still to complete for it may come, and does no harm.
    fn is_over(&self) -> bool;
}
