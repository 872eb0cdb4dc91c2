/// A part of an append's latency. The stages of one append follow one another without a gap, so that they add up to the whole.
///
/// Each is a duration on one clock, or follows from such: no two nodes need synchronised clocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// From the record's coming into a batch to the client's loop taking the batch up.
    ClientQueue,
    /// From there until the sequencer's loop has the frame.
    NetworkIn,
    /// Until the batch has its offsets and has been handed to the LogServers.
    Sequencing,
    /// Until the own LogServer's journal begins to submit the unit with the batch.
    BatchWait,
    /// Until the driver has that unit.
    Submit,
    /// Until the sequencer's loop sees that the unit, and every unit before it, is durable.
    Device,
    /// Until a majority has the batch: the others' network, batch wait and device are in here.
    QuorumWait,
    /// Until the answer has been handed to the client's connection.
    Release,
    /// Until the client's loop has the answer and has told whoever waits.
    NetworkOut,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::ClientQueue,
        Self::NetworkIn,
        Self::Sequencing,
        Self::BatchWait,
        Self::Submit,
        Self::Device,
        Self::QuorumWait,
        Self::Release,
        Self::NetworkOut,
    ];

    /// Those that the sequencer's node measures, in their order.
    pub const SERVER: [Self; 6] =
        [Self::Sequencing, Self::BatchWait, Self::Submit, Self::Device, Self::QuorumWait, Self::Release];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientQueue => "client_queue",
            Self::NetworkIn => "network_in",
            Self::Sequencing => "sequencing",
            Self::BatchWait => "batch_wait",
            Self::Submit => "submit",
            Self::Device => "device",
            Self::QuorumWait => "quorum_wait",
            Self::Release => "release",
            Self::NetworkOut => "network_out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_the_server_are_the_middle_ones() {
        assert!(Stage::ALL.is_sorted() && Stage::ALL.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(Stage::ALL[2..8], Stage::SERVER);
    }
}
