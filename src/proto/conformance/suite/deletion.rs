use super::bench::records;
use super::{Bench, Checked, LogletUnderTest};
use crate::base::Offset;
use crate::proto::loglet::{LogletOp, LogletResult};

/// A deleted loglet is gone for every operation, and never an empty open one (P5).
pub(crate) fn a_deleted_loglet_is_gone<L: LogletUnderTest>(bench: &mut Bench<'_, L>) -> Checked {
    bench.append_numbered(0, 0..4);
    let subscription = bench.start(1, LogletOp::Subscribe { from: Offset(4), limit: Offset(4), credit: 1000 });
    bench.settle();
    bench.loglet.delete()?;
    for client in [0, 1] {
        assert_eq!(bench.run(client, LogletOp::CheckTail), LogletResult::Gone);
        assert_eq!(bench.run(client, LogletOp::Seal), LogletResult::Gone);
        let read = LogletOp::ReadNext { min: Offset(0), max: Offset(4), limit: Offset(4), bytes_max: 100 };
        assert_eq!(bench.run(client, read), LogletResult::Gone);
        let append = bench.run(client, LogletOp::Append { records: records(&[b"late"]) });
        assert!(!matches!(append, LogletResult::Appended { .. }), "{append:?}");
    }
    // The deletion of one server seals the others, and a subscription may hear of that first (L5).
    match bench.wait(subscription) {
        LogletResult::SubscriptionEnded { sealed: true } => {}
        LogletResult::Gone => {
            assert_eq!(bench.wait(subscription), LogletResult::SubscriptionEnded { sealed: false });
        }
        other => panic!("no end of a subscription: {other:?}"),
    }
    Ok(())
}
