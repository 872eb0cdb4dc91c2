use super::fill::Given;
use super::machine::{Sequencer, State};
use super::seal::Seal;
use crate::base::{Histogram, Instant, Offset};

/// What a sequencer would say about itself; for people and metrics.
#[derive(Clone, Copy, Hash, Debug)]
pub struct Status<'a>(&'a Sequencer);

/// What a sequencer knows of one LogServer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServerStatus {
    /// Whether there is a connection.
    pub connected: bool,
    /// The largest tail that it has answered while open.
    pub acked: Offset,
    /// Bytes held for it, headers counted.
    pub queued_bytes: u64,
    /// Stores are held back for a moment, because it could not take one.
    pub paused: bool,
    /// It has no space for records.
    pub no_space: bool,
    /// Whether it has answered the seal, or `Gone`.
    pub sealed: bool,
}

impl Sequencer {
    /// What it would say about itself.
    pub fn status(&self) -> Status<'_> {
        Status(self)
    }
}

impl<'a> Status<'a> {
    /// What it does.
    pub fn state(&self) -> State {
        self.0.state
    }

    /// The next offset to be given out; where lanes share the loglet, no offset beyond is known here to have been given.
    pub fn tail(&self) -> Offset {
        self.0.tail
    }

    /// Where the last range given here ends.
    pub fn end(&self) -> Offset {
        self.0.end
    }

    /// Reached by its own count of unsealed successes.
    pub fn known_tail(&self) -> Offset {
        self.0.watermark
    }

    /// Bytes and no-ops that were given offsets here.
    pub fn given(&self) -> Given {
        self.0.given
    }

    /// Appends that wait for their answer.
    pub fn outstanding(&self) -> usize {
        self.0.outstanding.len()
    }

    /// Since when the watermark has stood still with records outstanding.
    pub fn blocked_since(&self) -> Option<Instant> {
        (self.0.watermark < self.0.end && self.0.state == State::Running).then_some(self.0.progress)
    }

    /// Bytes held for LogServers, headers counted.
    pub fn queued_bytes(&self) -> u64 {
        self.0.queue.weight()
    }

    /// Whether appends wait unread because the window is full.
    pub fn is_full(&self) -> bool {
        !self.0.has_room()
    }

    /// Whether appends are refused for want of space on a majority.
    pub fn lacks_space(&self) -> bool {
        self.0.lacks_space()
    }

    /// How long acknowledged appends took, from the frame's arrival to its answer.
    pub fn append_latency(&self) -> &'a Histogram {
        &self.0.append_latency
    }

    /// The LogServers, in the order of the configuration.
    pub fn servers(&self) -> impl Iterator<Item = ServerStatus> + use<'a> {
        let sequencer = self.0;
        sequencer.servers.iter().map(|server| ServerStatus {
            connected: server.connected(),
            acked: server.acked,
            queued_bytes: sequencer.queue.weight_between(server.done, sequencer.queue.end()),
            paused: server.is_paused(),
            no_space: server.no_space,
            sealed: server.seal == Seal::Answered,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn status_names_who_is_waited_for_and_since_when() {
        let mut rig = Rig::new(3);
        assert_eq!(rig.core.status().blocked_since(), None);
        rig.append(1, 2);
        rig.stored(0, 2);
        rig.core.handle_disconnected(2, rig.now);
        let status = rig.core.status();
        assert_eq!((status.tail(), status.known_tail(), status.outstanding()), (Offset(2), Offset(0), 1));
        assert_eq!(status.blocked_since(), Some(rig.now));
        let servers: Vec<_> = status.servers().map(|s| (s.connected, s.acked.0, s.queued_bytes > 0)).collect();
        assert_eq!(servers, [(true, 2, false), (true, 0, true), (false, 0, true)]);
    }
}
