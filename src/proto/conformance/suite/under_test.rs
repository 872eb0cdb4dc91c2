use crate::proto::loglet::{LogletOp, LogletResult, OpId};

/// A loglet of one kind, freshly created, with two clients and three LogServers or whatever it has in their place.
pub(crate) trait LogletUnderTest {
    /// Hands an operation to a client, 0 or 1. Its results come by [`LogletUnderTest::next`].
    fn start(&mut self, client: usize, id: OpId, op: LogletOp);

    /// The next result of any operation, or none when the loglet is quiet: nothing more will come by itself. An implementation that
    /// cannot know waits until that is certain enough.
    fn next(&mut self) -> Option<(OpId, LogletResult)>;

    /// The largest record that it takes.
    fn record_bytes_max(&self) -> usize;

    /// Whether a subscription gets what credit the caller grants, and no other.
    fn takes_credit(&self) -> bool;

    /// How far apart the records of one append are: 1, but in a loglet of several stripes. There no-ops may lie between records, and
    /// one client's appends that are under way together come in any order (P6).
    fn stride(&self) -> u32 {
        1
    }

    /// Deletes the loglet.
    fn delete(&mut self) -> Checked;

    /// Makes something fail, or work again.
    fn fault(&mut self, fault: Fault) -> Checked;
}

/// What can be made to fail. Server 0 may be where the sequencer is, and is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The server stops at once; what it had not made durable is lost.
    Crash(usize),
    /// It starts again.
    Restart(usize),
    /// Nobody reaches the server.
    Cut(usize),
    /// It can be reached again.
    Heal(usize),
    /// Nothing becomes durable on the server.
    HoldDisk(usize),
    /// Its disk works again.
    ReleaseDisk(usize),
}

/// A behaviour that was not checked, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Skipped(pub(crate) &'static str);

/// A broken behaviour panics; one that an implementation has no means to show is skipped.
pub(crate) type Checked = Result<(), Skipped>;
