use super::machine::{Lost, Sequencer, State};
use super::store::Server;
use crate::base::Instant;
use crate::wire::Message;

impl Sequencer {
    /// Whether appends are refused: fewer LogServers than a majority can take records, and some of the others cannot for want of
    /// space. One without space, like one that is slow, is nothing that an append would notice.
    pub fn lacks_space(&self) -> bool {
        let able = |server: &&Server| server.connected() && !server.no_space;
        self.state == State::Running
            && self.servers.iter().any(|server| server.no_space)
            && self.servers.iter().filter(able).count() < self.config.quorum()
    }

    /// LogServer `server` has no space for records. It will say `Behind` when it has.
    pub(super) fn handle_no_space(&mut self, server: usize) {
        if self.state == State::Running {
            self.servers[server].lose_space();
        }
    }

    /// LogServer `server` takes records again. What waits for it has the usual time from now on.
    pub(super) fn handle_space(&mut self, server: usize, now: Instant) {
        if std::mem::take(&mut self.servers[server].no_space) {
            self.progress = now;
        }
    }

    /// Answers the appends that have waited for space for too long. Their records keep their offsets and their place in the queue,
    /// for the range must be stored (P11): they become part of the log when there is space, or never, if it is sealed before.
    pub(super) fn abandon(&mut self) {
        assert_eq!(self.state, State::Running, "whoever has given up has answered everything");
        let loglet = self.loglet();
        for append in std::mem::take(&mut self.outstanding) {
            let answer = |request, first, count| Message::AppendNoSpace { request, loglet, first, count };
            self.replies.extend(append.answer(answer));
        }
    }

    /// Ends a sequencer whose records nobody waits for and nobody can store, so that its memory serves others.
    pub(super) fn give_up_space(&mut self) {
        if self.lacks_space() && self.outstanding.is_empty() && self.watermark < self.tail {
            self.lose(Lost::NoSpace);
        }
    }
}
