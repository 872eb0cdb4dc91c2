use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Closed, Connection, Traffic};
use super::frames::Flow;
use crate::base::{Instant, Limits, NodeId};
use crate::io::op::{ConnId, Op, Outcome};
use crate::wire::{FrameHeader, Hello, Message};

/// What a link tells its owner.
#[derive(Debug)]
pub enum LinkEvent<'a> {
    /// Connected, and the hello is on its way: whoever does not need to know first who answers may send behind it
    /// ([`Link::opened`]). Another peer than the expected one takes nothing in, and nothing of it is taken in.
    Open,
    /// The peer has answered the hello, and is the one expected.
    Up(Hello),
    /// A message of the peer.
    Message(Message<'a>),
    /// The connection is lost, or could not be made; the link tries again by itself after a pause.
    Down(&'a Closed),
}

/// A connection that this side opens, and opens again whenever it is lost, as long as it is wanted.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    hello: Hello,
    /// Whom to expect; anybody if unknown.
    expected: Option<NodeId>,
    limits: Limits,
    state: State,
    /// Pause before the next attempt; doubles with each failure in a row.
    delay: Duration,
    wanted: bool,
    /// Whether the owner has been told that the present connection is lost.
    loss_told: bool,
    traffic: Traffic,
}

#[derive(Debug)]
enum State {
    /// Not connected; not before this moment again.
    Down { retry_at: Instant },
    /// The driver is connecting.
    Connecting,
    /// Connected; the peer's hello has not come.
    Greeting(Connection),
    /// Connected and greeted.
    Up(Connection),
    /// Waiting for the driver to confirm that the connection is closed.
    Closing,
}

impl Link {
    /// A link to `address` that introduces itself with `hello` and accepts only the `expected` node.
    pub fn new(address: SocketAddr, hello: Hello, expected: Option<NodeId>, limits: &Limits) -> Self {
        let state = State::Down { retry_at: Instant::ORIGIN };
        let hello = Hello { to: expected.unwrap_or(NodeId(0)), ..hello };
        Self {
            address,
            hello,
            expected,
            limits: limits.clone(),
            state,
            delay: limits.reconnect_delay,
            wanted: true,
            loss_told: false,
            traffic: Traffic::default(),
        }
    }

    /// Whether messages may be sent.
    pub fn is_up(&self) -> bool {
        matches!(&self.state, State::Up(connection) if !connection.is_closing())
    }

    /// The connection, while it is open.
    pub fn opened(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Greeting(connection) | State::Up(connection) if !connection.is_closing() => Some(connection),
            _ => None,
        }
    }

    /// The connection, while it is up.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Up(connection) if !connection.is_closing() => Some(connection),
            _ => None,
        }
    }

    /// Whether to be connected at all; an unwanted link closes and rests. Nobody waits for what it has not sent: a peer that
    /// hangs cannot keep its owner from ending.
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted && let State::Up(connection) | State::Greeting(connection) = &mut self.state {
            connection.abandon(Closed::Here("not wanted any more"));
        }
    }

    /// Gives the present connection up, or the attempt to greet, and begins again. For owners that know better than the network: they
    /// are told of no loss.
    pub fn give_up(&mut self, reason: &'static str) {
        if let State::Up(connection) | State::Greeting(connection) = &mut self.state {
            self.loss_told = true;
            connection.abandon(Closed::Here(reason));
        }
    }

    /// Whether nothing is open or being opened, so that no completion is still to come.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    /// Whether nothing is open. An unwanted attempt to connect is not waited for: it may last for minutes, and whoever gets
    /// its connection after the link has gone closes it.
    pub fn is_at_rest(&self) -> bool {
        match self.state {
            State::Down { .. } => true,
            State::Connecting => !self.wanted,
            State::Greeting(_) | State::Up(_) | State::Closing => false,
        }
    }

    /// When [`Link::poll_op`] has something to do without any event.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Down { retry_at } if self.wanted => Some(retry_at),
            _ => None,
        }
    }

    /// What has gone over all its connections since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// The next operation to carry out. Its completions go to [`Link::handle`].
    pub fn poll_op(&mut self, now: Instant) -> Option<Op> {
        match &mut self.state {
            State::Down { retry_at } if self.wanted && *retry_at <= now => {
                self.state = State::Connecting;
                Some(Op::Connect { address: self.address })
            }
            State::Greeting(connection) | State::Up(connection) => {
                let op = connection.poll_op();
                self.traffic.add(connection.take_traffic());
                if matches!(op, Some(Op::CloseConn { .. })) {
                    self.state = State::Closing;
                }
                op
            }
            State::Down { .. } | State::Connecting | State::Closing => None,
        }
    }

    /// Takes in the outcome of an operation. For [`Outcome::Received`], `bytes` are the chunk's; the caller releases it.
    pub fn handle(&mut self, outcome: Outcome, bytes: &[u8], now: Instant, mut on_event: impl FnMut(LinkEvent<'_>)) {
        match outcome {
            Outcome::Connected { conn } => {
                self.handle_connected(conn);
                on_event(LinkEvent::Open);
            }
            Outcome::Received { .. } => self.handle_received(bytes, &mut on_event),
            Outcome::Sent { data, result, .. } => {
                if let State::Greeting(connection) | State::Up(connection) = &mut self.state {
                    connection.handle_sent(data, result);
                }
            }
            Outcome::Failed(error) => match &mut self.state {
                State::Connecting => {
                    self.rest(now);
                    on_event(LinkEvent::Down(&Closed::Network(error)));
                    return;
                }
                State::Greeting(connection) | State::Up(connection) => connection.handle_receive_failed(error),
                State::Down { .. } | State::Closing => {}
            },
            Outcome::Done => {
                if matches!(self.state, State::Closing) {
                    self.rest(now);
                }
                return;
            }
            _ => unreachable!("a link submits no other operations"),
        }
        if let State::Greeting(connection) | State::Up(connection) = &mut self.state
            && let Some(reason) = connection.closed_because()
            && !std::mem::replace(&mut self.loss_told, true)
        {
            on_event(LinkEvent::Down(reason));
        }
    }

    fn handle_connected(&mut self, conn: ConnId) {
        assert!(matches!(self.state, State::Connecting), "one connection at a time");
        self.loss_told = false;
        let mut connection = Connection::new(conn, &self.limits);
        connection.send(&Message::Hello(self.hello));
        if !self.wanted {
            connection.close(Closed::Here("not wanted any more"));
        }
        self.state = State::Greeting(connection);
    }

    fn handle_received(&mut self, bytes: &[u8], on_event: &mut impl FnMut(LinkEvent<'_>)) {
        let (expected, cluster) = (self.expected, self.hello.cluster);
        let mut greeted = None;
        let mut refused = None;
        let mut greeting = matches!(self.state, State::Greeting(_));
        let (State::Greeting(connection) | State::Up(connection)) = &mut self.state else { return };
        connection.handle_received(bytes, |_: &FrameHeader, message| {
            match message {
                _ if refused.is_some() => {}
                Message::Reject { request: 0, code, detail } => {
                    refused = Some(Closed::Refused { code, detail: detail.to_owned() });
                }
                Message::Hello(hello) if greeting => {
                    if hello.cluster != cluster && cluster.0 != 0 {
                        refused = Some(Closed::OutOfPlace("the peer is of another cluster"));
                    } else if expected.is_some_and(|node| node != hello.node) {
                        refused = Some(Closed::OutOfPlace("another node answers at this address"));
                    } else {
                        greeting = false;
                        greeted = Some(hello);
                        on_event(LinkEvent::Up(hello));
                    }
                }
                _ if greeting => refused = Some(Closed::OutOfPlace("the first frame is no hello")),
                Message::Hello(_) => refused = Some(Closed::OutOfPlace("a second hello")),
                message => on_event(LinkEvent::Message(message)),
            }
            Flow::Continue
        });
        if let Some(reason) = refused {
            connection.close(reason);
        }
        if greeted.is_some() {
            self.delay = self.limits.reconnect_delay;
            let State::Greeting(connection) = std::mem::replace(&mut self.state, State::Closing) else {
                unreachable!("greeted while greeting")
            };
            self.state = State::Up(connection);
        }
    }

    fn rest(&mut self, now: Instant) {
        self.state = State::Down { retry_at: now + self.delay };
        self.delay = (self.delay * 2).min(self.limits.reconnect_delay * 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClusterId, Incarnation, LogletId};
    use crate::wire::Role;

    fn link() -> Link {
        let (node, incarnation, route) = (NodeId(0), Incarnation(0), LogletId::default());
        let hello = Hello { cluster: ClusterId(1), node, incarnation, to: node, role: Role::Client, route };
        Link::new(([127, 0, 0, 1], 9).into(), hello, None, &Limits::default())
    }

    #[test]
    fn an_unwanted_link_rests_although_the_network_does_not_answer() {
        let mut link = link();
        assert!(matches!(link.poll_op(Instant::ORIGIN), Some(Op::Connect { .. })));
        assert!(!link.is_at_rest());
        link.set_wanted(false);
        assert!(link.is_at_rest());
    }

    #[test]
    fn an_unwanted_link_closes_although_the_peer_does_not_read() {
        let mut link = link();
        link.poll_op(Instant::ORIGIN);
        link.handle(Outcome::Connected { conn: ConnId(1) }, &[], Instant::ORIGIN, |_| {});
        assert!(matches!(link.poll_op(Instant::ORIGIN), Some(Op::Send { .. })), "the hello");
        link.set_wanted(false);
        assert!(matches!(link.poll_op(Instant::ORIGIN), Some(Op::CloseConn { .. })));
        link.handle(Outcome::Done, &[], Instant::ORIGIN, |_| {});
        assert!(link.is_at_rest());
    }
}
