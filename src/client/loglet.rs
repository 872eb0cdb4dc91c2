use crate::base::{ClusterId, Incarnation, Instant, Limits, NodeId};
use crate::io::op::{Op, Outcome};
use crate::net::{Link, LinkEvent};
use crate::proto::native::{NativeLoglet, Target};
use crate::wire::{Hello, LogletConfig, Role};

/// A client of one loglet on the reactor: the protocol core and its connections.
pub(super) struct LogletClient {
    pub(super) core: NativeLoglet,
    /// The sequencer's, then the LogServers' in the configuration's order.
    links: Vec<Link>,
}

fn target(link: usize) -> Target {
    if link == 0 { Target::Sequencer } else { Target::LogServer(link - 1) }
}

impl LogletClient {
    pub(super) fn new(config: LogletConfig, cluster: ClusterId, incarnation: Incarnation, limits: &Limits) -> Self {
        let hello = Hello { cluster, node: NodeId(0), incarnation, role: Role::Client, route: config.id };
        let sequencer = (config.sequencer.node, config.sequencer.address);
        let servers = config.log_servers.iter().map(|member| (member.node, member.address));
        let links = std::iter::once(sequencer).chain(servers);
        let links = links.map(|(node, address)| Link::new(address, hello, Some(node), limits)).collect();
        Self { core: NativeLoglet::new(config, limits), links }
    }

    /// Takes in an outcome of one of its connections.
    pub(super) fn handle(&mut self, link: usize, outcome: Outcome, bytes: &[u8], now: Instant) {
        let core = &mut self.core;
        let from = target(link);
        self.links[link].handle(outcome, bytes, now, |event| match event {
            LinkEvent::Up(_) => core.handle_connected(from, now),
            LinkEvent::Message(message) => core.handle(from, message, now),
            LinkEvent::Down(reason) => {
                tracing::debug!(?from, %reason, "connection lost");
                core.handle_disconnected(from, now);
            }
        });
    }

    /// Tells the core of the time, if it wants to know.
    pub(super) fn pass_time(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            self.core.handle_timeout(now);
        }
    }

    /// Hands the core's messages to the connections.
    pub(super) fn send(&mut self) {
        for (index, link) in self.links.iter_mut().enumerate() {
            link.set_wanted(self.core.wants(target(index)));
            while let Some(connection) = link.connection()
                && connection.has_room()
                && let Some(message) = self.core.poll_send(target(index))
            {
                connection.send(&message);
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.links.iter_mut().for_each(|link| link.set_wanted(false));
    }

    /// Whether nothing of it is left in the driver.
    pub(super) fn is_at_rest(&self) -> bool {
        self.links.iter().all(Link::is_at_rest)
    }

    /// The next operation of one of its connections.
    pub(super) fn poll_op(&mut self, now: Instant) -> Option<(usize, Op)> {
        self.links.iter_mut().enumerate().find_map(|(index, link)| Some((index, link.poll_op(now)?)))
    }

    /// When there is something to do without any event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(|(deadline, _)| deadline);
        self.links.iter().filter_map(Link::poll_timeout).chain(core).min()
    }
}
