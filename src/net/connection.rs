use std::io;

use super::frames::{Flow, FrameReader};
use crate::base::Limits;
use crate::io::op::{ConnId, Op};
use crate::wire::{FrameError, FrameHeader, Message, RejectCode};

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The peer closed it.
    #[error("the peer closed the connection")]
    ByPeer,
    /// The network failed.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// The peer sent something that is no frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The peer sent a frame that has no place here.
    #[error("out of place: {0}")]
    OutOfPlace(&'static str),
    /// The peer refused the connection.
    #[error("refused by the peer: {code}: {detail}")]
    Refused {
        /// Why.
        code: RejectCode,
        /// In the peer's words.
        detail: String,
    },
    /// This side ended it.
    #[error("closed here: {0}")]
    Here(&'static str),
}

/// What has gone over a connection since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Bytes received.
    pub received_bytes: u64,
    /// Whole frames received and handed out.
    pub received_frames: u64,
    /// Bytes handed to the driver for sending.
    pub sent_bytes: u64,
    /// Frames queued for sending.
    pub sent_frames: u64,
}

impl Traffic {
    /// Adds another count to this one.
    pub fn add(&mut self, other: Self) {
        self.received_bytes += other.received_bytes;
        self.received_frames += other.received_frames;
        self.sent_bytes += other.sent_bytes;
        self.sent_frames += other.sent_frames;
    }
}

/// One established connection: reassembles what comes in, coalesces what goes out into one send at a time, and holds the peer
/// back when it does not take its answers.
///
/// Call order: feed it completions with the `handle_*` methods, queue messages with [`Connection::send`], and after each loop
/// turn carry out what [`Connection::poll_op`] returns until it returns none.
#[derive(Debug)]
pub struct Connection {
    conn: ConnId,
    reader: FrameReader,
    /// Frames for the next send.
    queue: Vec<u8>,
    /// Memory for the next queue, while there is no send in flight.
    spare: Vec<u8>,
    /// Bytes of the send in flight.
    sending_bytes: Option<usize>,
    /// Bytes of memory of the send in flight.
    sending_memory: usize,
    receive: Receive,
    queue_bytes_max: usize,
    /// Set once: nothing is received any more, what is queued still leaves, then the connection closes.
    closing: Option<Closed>,
    /// Nobody waits for what has not left: closing does not wait for the send in flight, which a peer that never reads would
    /// hold up for ever.
    abandoned: bool,
    close_submitted: bool,
    detach: Detach,
    traffic: Traffic,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Detach {
    No,
    Wanted,
    Submitted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receive {
    /// To be armed.
    Wanted,
    Armed,
    /// To be stopped.
    Unwanted,
    Stopped,
}

impl Connection {
    /// A connection that the driver has just accepted or opened.
    pub fn new(conn: ConnId, limits: &Limits) -> Self {
        Self {
            conn,
            reader: FrameReader::new(limits.frame_body_bytes_max),
            queue: Vec::new(),
            spare: Vec::new(),
            sending_bytes: None,
            sending_memory: 0,
            receive: Receive::Wanted,
            queue_bytes_max: limits.outbound_bytes_max as usize,
            closing: None,
            abandoned: false,
            close_submitted: false,
            detach: Detach::No,
            traffic: Traffic::default(),
        }
    }

    /// What has gone over it since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// The driver's name of it.
    pub fn id(&self) -> ConnId {
        self.conn
    }

    /// Queues a message; it leaves with the next send.
    pub fn send(&mut self, message: &Message<'_>) {
        if self.closing.is_none() {
            message.encode(&mut self.queue);
            self.traffic.sent_frames += 1;
        }
    }

    /// As [`Connection::send`], for a message whose body has been received with this checksum.
    pub fn send_with_checksum(&mut self, message: &Message<'_>, body_checksum: u32) {
        if self.closing.is_none() {
            message.encode_with_checksum(body_checksum, &mut self.queue);
            self.traffic.sent_frames += 1;
        }
    }

    /// Bytes that have not left yet.
    pub fn outbound_bytes(&self) -> usize {
        self.queue.len() + self.sending_bytes.unwrap_or(0)
    }

    /// Bytes of memory that the connection holds, used or kept for use.
    pub fn memory_bytes(&self) -> usize {
        self.queue.capacity() + self.spare.capacity() + self.sending_memory + self.reader.memory_bytes()
    }

    /// Gives up memory that holds nothing, of a connection that has not been used for a while.
    pub fn release_memory(&mut self) {
        self.spare = Vec::new();
        if self.queue.is_empty() {
            self.queue = Vec::new();
        }
        self.reader.release_memory();
    }

    /// Changes the bound of what may be queued for a peer that does not read.
    pub fn set_outbound_max(&mut self, bytes: usize) {
        self.queue_bytes_max = bytes;
    }

    /// Whether more may be queued without exceeding the bound for a peer that does not read.
    pub fn has_room(&self) -> bool {
        self.outbound_bytes() < self.queue_bytes_max
    }

    /// Whether the connection is on its way out, or gone.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Why it is on its way out.
    pub fn closed_because(&self) -> Option<&Closed> {
        self.closing.as_ref()
    }

    /// Ends the connection once what is queued has left. The first reason stands.
    pub fn close(&mut self, reason: Closed) {
        if self.closing.is_none() {
            // A peer that errs is told why, in its own protocol, before the line goes dead.
            let refusal = match &reason {
                Closed::Frame(FrameError::Version(_)) => Some((RejectCode::Version, reason.to_string())),
                Closed::Frame(_) | Closed::OutOfPlace(_) => Some((RejectCode::Malformed, reason.to_string())),
                Closed::ByPeer | Closed::Network(_) | Closed::Refused { .. } | Closed::Here(_) => None,
            };
            if let Some((code, detail)) = refusal {
                self.send(&Message::Reject { request: 0, code, detail: &detail });
            }
            if matches!(reason, Closed::ByPeer | Closed::Network(_)) {
                self.queue.clear();
            }
            self.closing = Some(reason);
        }
    }

    /// Ends the connection at once; what has not left is lost.
    pub fn abandon(&mut self, reason: Closed) {
        self.close(reason);
        self.queue = Vec::new();
        self.release_memory();
        self.abandoned = true;
    }

    /// Refuses the peer with a reason and ends the connection.
    pub fn reject(&mut self, code: RejectCode, detail: &str) {
        self.send(&Message::Reject { request: 0, code, detail });
        self.close(Closed::Here("rejected"));
    }

    /// Takes in a received chunk; an empty one is the end of the stream.
    pub fn handle_received(&mut self, bytes: &[u8], mut on_message: impl FnMut(&FrameHeader, Message<'_>) -> Flow) {
        self.traffic.received_bytes += bytes.len() as u64;
        let frames = &mut self.traffic.received_frames;
        let on_message = |header: &FrameHeader, message: Message<'_>| count(frames, on_message(header, message));
        if bytes.is_empty() {
            self.receive = Receive::Stopped;
            self.close(Closed::ByPeer);
        } else if self.closing.is_none()
            && let Err(error) = self.reader.feed(bytes, on_message)
        {
            self.close(error.into());
        }
        self.update_receive();
    }

    /// Receiving has failed.
    pub fn handle_receive_failed(&mut self, error: io::Error) {
        self.receive = Receive::Stopped;
        self.close(error.into());
    }

    /// Takes the connection out of the driver, to be handed to somebody else. Once: it is not there to be taken out again.
    pub fn detach(&mut self) {
        if self.detach == Detach::No {
            self.detach = Detach::Wanted;
        }
    }

    /// What the peer had sent before the connection was taken out, and nobody has been given.
    pub fn take_unread(&mut self) -> Vec<u8> {
        self.reader.take_unread()
    }

    /// A send has ended.
    pub fn handle_sent(&mut self, mut data: Vec<u8>, result: io::Result<()>) {
        assert!(self.sending_bytes.take().is_some(), "a send was in flight");
        data.clear();
        self.spare = data;
        self.sending_memory = 0;
        if let Err(error) = result {
            self.queue.clear();
            self.close(error.into());
        }
        self.update_receive();
    }

    /// Whether messages are held back, because the receiver asked for it.
    pub fn is_paused(&self) -> bool {
        self.reader.is_paused()
    }

    /// Goes on handing out messages after [`Flow::Hold`].
    pub fn resume(&mut self, mut on_message: impl FnMut(&FrameHeader, Message<'_>) -> Flow) {
        let frames = &mut self.traffic.received_frames;
        let on_message = |header: &FrameHeader, message: Message<'_>| count(frames, on_message(header, message));
        if self.closing.is_none()
            && let Err(error) = self.reader.resume(on_message)
        {
            self.close(error.into());
        }
        self.update_receive();
    }

    /// A peer whose messages are held back, or that does not take its answers, is not read from.
    fn update_receive(&mut self) {
        let wanted = self.closing.is_none() && !self.reader.is_paused() && self.has_room();
        self.receive = match (self.receive, wanted) {
            (Receive::Armed, false) => Receive::Unwanted,
            (Receive::Unwanted, true) => Receive::Armed,
            (Receive::Stopped, true) => Receive::Wanted,
            (Receive::Wanted, false) => Receive::Stopped,
            (unchanged, _) => unchanged,
        };
    }

    /// The next operation to carry out.
    pub fn poll_op(&mut self) -> Option<Op> {
        self.update_receive();
        if self.close_submitted || self.detach == Detach::Submitted {
            return None;
        }
        if self.detach == Detach::Wanted {
            self.detach = Detach::Submitted;
            return Some(Op::Detach { conn: self.conn });
        }
        if self.sending_bytes.is_none() && !self.queue.is_empty() {
            let data = std::mem::replace(&mut self.queue, std::mem::take(&mut self.spare));
            self.sending_bytes = Some(data.len());
            self.sending_memory = data.capacity();
            self.traffic.sent_bytes += data.len() as u64;
            return Some(Op::Send { conn: self.conn, data });
        }
        match self.receive {
            Receive::Wanted => {
                self.receive = Receive::Armed;
                return Some(Op::Receive { conn: self.conn });
            }
            Receive::Unwanted => {
                self.receive = Receive::Stopped;
                return Some(Op::StopReceive { conn: self.conn });
            }
            Receive::Armed | Receive::Stopped => {}
        }
        if self.closing.is_some() && (self.sending_bytes.is_none() || self.abandoned || self.peer_is_gone()) {
            self.close_submitted = true;
            return Some(Op::CloseConn { conn: self.conn });
        }
        None
    }

    fn peer_is_gone(&self) -> bool {
        matches!(self.closing, Some(Closed::ByPeer | Closed::Network(_)))
    }
}

/// A frame that is held comes again, and counts then.
fn count(frames: &mut u64, flow: Flow) -> Flow {
    *frames += u64::from(flow == Flow::Continue);
    flow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LogletId;

    fn seal(request: u64) -> Message<'static> {
        Message::Seal { request, loglet: LogletId::default() }
    }

    fn framed(message: &Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn small() -> Connection {
        let limits = Limits { outbound_bytes_max: 300, ..Limits::default() };
        let mut connection = Connection::new(ConnId(1), &limits);
        assert!(matches!(connection.poll_op(), Some(Op::Receive { .. })));
        connection
    }

    #[test]
    fn messages_of_one_turn_leave_in_one_send_and_later_ones_wait_for_it() {
        let mut connection = small();
        connection.send(&seal(1));
        connection.send(&seal(2));
        let Some(Op::Send { data, .. }) = connection.poll_op() else { panic!("a send") };
        assert_eq!(data, [framed(&seal(1)), framed(&seal(2))].concat());
        connection.send(&seal(3));
        assert!(connection.poll_op().is_none(), "one send at a time");
        connection.handle_sent(data, Ok(()));
        assert!(matches!(connection.poll_op(), Some(Op::Send { .. })));
    }

    #[test]
    fn a_peer_that_does_not_take_its_answers_is_not_read_from() {
        let mut connection = small();
        (0..4).for_each(|request| connection.send(&seal(request)));
        let Some(Op::Send { data, .. }) = connection.poll_op() else { panic!("a send") };
        assert!(matches!(connection.poll_op(), Some(Op::StopReceive { .. })));
        connection.handle_sent(data, Ok(()));
        assert!(matches!(connection.poll_op(), Some(Op::Receive { .. })));
    }

    #[test]
    fn a_peer_that_sends_garbage_is_told_and_dropped() {
        let mut connection = small();
        connection.handle_received(&[0xAA; 120], |_, _| panic!("no message"));
        assert!(matches!(connection.closed_because(), Some(Closed::Frame(FrameError::Magic(_)))));
        let mut ops = Vec::new();
        while let Some(op) = connection.poll_op() {
            ops.push(op);
            if let Some(Op::Send { .. }) = ops.last() {
                connection.handle_sent(Vec::new(), Ok(()));
            }
        }
        assert!(matches!(
            ops[..],
            [Op::StopReceive { .. }, Op::CloseConn { .. }]
                | [Op::Send { .. }, Op::StopReceive { .. }, Op::CloseConn { .. }]
        ));
    }

    #[test]
    fn closing_waits_for_the_send_in_flight_and_abandoning_does_not() {
        let mut connection = small();
        connection.send(&seal(1));
        assert!(matches!(connection.poll_op(), Some(Op::Send { .. })));
        connection.close(Closed::Here("the end"));
        assert!(matches!(connection.poll_op(), Some(Op::StopReceive { .. })));
        assert!(connection.poll_op().is_none(), "what was queued still leaves");
        connection.abandon(Closed::Here("a peer that never reads"));
        assert!(matches!(connection.poll_op(), Some(Op::CloseConn { .. })));
    }

    #[test]
    fn a_connection_is_taken_out_of_the_driver_once() {
        let mut connection = small();
        connection.detach();
        assert!(matches!(connection.poll_op(), Some(Op::Detach { .. })));
        connection.detach();
        assert!(connection.poll_op().is_none());
    }

    #[test]
    fn traffic_is_counted_once_and_taken_once() {
        let mut connection = small();
        let bytes = [framed(&seal(1)), framed(&seal(2))].concat();
        let mut held = false;
        connection.handle_received(&bytes, |_, _| match std::mem::replace(&mut held, true) {
            false => Flow::Hold,
            true => Flow::Continue,
        });
        assert_eq!(connection.take_traffic().received_frames, 0, "the first was held");
        connection.resume(|_, _| Flow::Continue);
        connection.send(&seal(3));
        while connection.poll_op().is_some() {}
        let sent_bytes = framed(&seal(3)).len() as u64;
        assert_eq!(
            connection.take_traffic(),
            Traffic { received_bytes: 0, received_frames: 2, sent_bytes, sent_frames: 1 }
        );
        assert_eq!(connection.take_traffic(), Traffic::default());
    }

    #[test]
    fn a_failed_send_ends_the_connection() {
        let mut connection = small();
        connection.send(&seal(1));
        let Some(Op::Send { data, .. }) = connection.poll_op() else { panic!("a send") };
        connection.handle_sent(data, Err(io::ErrorKind::BrokenPipe.into()));
        assert!(connection.is_closing());
    }
}
