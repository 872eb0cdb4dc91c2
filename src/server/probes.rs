//! Static probes for bpftrace, perf and SystemTap, with the feature `usdt`: each is one instruction that does nothing until somebody
//! attaches to it, and a note in the program's file that says where it is and what its arguments are.

use std::time::Duration;

use crate::base::{Offset, Write};
use crate::wire::Residence;

/// `naxos:append_released`: first offset, records, nanoseconds of the stages in their order, and the number of the LogServer whose answer
/// completed the majority.
pub(super) fn append_released(first: Offset, count: u32, residence: &Residence) {
    let [sequencing, batch_wait, submit, device, quorum_wait, release] = residence.stages;
    let arguments = (first.0, count, sequencing, batch_wait, submit, device, quorum_wait, release, residence.last);
    #[cfg(feature = "usdt")]
    probe::probe!(
        naxos,
        append_released,
        arguments.0,
        arguments.1,
        arguments.2,
        arguments.3,
        arguments.4,
        arguments.5,
        arguments.6,
        arguments.7,
        arguments.8
    );
    let _ = arguments;
}

/// `naxos:unit_durable`: which write of the journal, and nanoseconds of its wait, its submission and its time on the device.
pub(super) fn unit_durable(write: Write, [wait, submit, device]: [Duration; 3]) {
    let arguments = (write.0, wait.as_nanos() as u64, submit.as_nanos() as u64, device.as_nanos() as u64);
    #[cfg(feature = "usdt")]
    probe::probe!(naxos, unit_durable, arguments.0, arguments.1, arguments.2, arguments.3);
    let _ = arguments;
}
