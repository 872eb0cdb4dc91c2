//! What the LogServers of a shard may hold in memory, beside the records of early arrivals.

use super::conflict::CHECKSUMS_MAX;
use super::shared::BUFFERS_MAX;
use super::store::RUNS_MAX;
use super::subscribe::{SUBSCRIPTIONS_OF_ALL_MAX, Subscription};
use super::waiters::{WAITERS_MAX, Waiter};
use crate::base::{Limits, Offset};

/// Most bytes that one loglet's tables take: answers held, checksums of the last records, and the runs of offsets that it has on
/// disk and on the way there. Queues grow by powers of two, as these numbers are.
pub const LOGLET_BYTES_MAX: usize =
    WAITERS_MAX * size_of::<Waiter>() + CHECKSUMS_MAX * size_of::<u32>() + 2 * RUNS_MAX * size_of::<(Offset, Offset)>();

/// Most bytes that all subscriptions of a shard take, the line of those that wait included.
pub const SUBSCRIPTIONS_BYTES_MAX: usize = 2 * SUBSCRIPTIONS_OF_ALL_MAX as usize * size_of::<Subscription>();

/// Most bytes kept for the early arrivals to come.
pub fn buffers_bytes_max(limits: &Limits) -> u64 {
    BUFFERS_MAX as u64 * u64::from(limits.batch_bytes_max)
}
