//! The simulated network: connections as two endpoints, with pieces of a stream on their way between them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::state::{DriverId, Event, Mail, State};
use crate::base::Instant;
use crate::io::op::{Chunk, ConnId, ListenerId, Outcome, Token};

/// Where ports are taken from that nobody asked for.
const FREE_PORTS_START: u16 = 40_000;

pub(super) struct Listener {
    driver: DriverId,
    accept: Option<Token>,
    /// Connections that wait to be accepted.
    backlog: VecDeque<(ConnId, SocketAddr)>,
}

/// One end of a connection.
pub(super) struct Endpoint {
    pub(super) driver: DriverId,
    local: IpAddr,
    pub(super) remote: IpAddr,
    /// The endpoint at the other side, which may have gone.
    other: u64,
    receive: Option<Token>,
    arrived: VecDeque<u8>,
    /// How the stream towards this end has ended.
    end: Option<End>,
    send: Option<(Token, Vec<u8>, usize)>,
    /// Bytes from here that the other side has not received yet.
    outstanding_bytes: usize,
    /// When the last piece from here arrives: later ones do not arrive earlier.
    last_arrival: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

pub(super) enum NetEvent {
    Connect {
        driver: DriverId,
        token: Token,
        from: IpAddr,
        to: SocketAddr,
    },
    Connected {
        key: u64,
        token: Token,
        from: IpAddr,
        to: IpAddr,
    },
    Refused {
        driver: DriverId,
        token: Token,
        from: IpAddr,
        to: IpAddr,
    },
    /// Bytes from the endpoint `sender`.
    Piece {
        sender: u64,
        key: u64,
        from: IpAddr,
        to: IpAddr,
        bytes: Vec<u8>,
    },
    Closed {
        key: u64,
        from: IpAddr,
        to: IpAddr,
    },
    Reset {
        key: u64,
        from: IpAddr,
        to: IpAddr,
    },
    /// A receive was armed, or a connection waits to be accepted.
    Look {
        key: u64,
    },
    LookAtListener {
        address: SocketAddr,
    },
}

impl NetEvent {
    /// The path that the event has come, unless it is local.
    fn path(&self) -> Option<(IpAddr, IpAddr)> {
        match *self {
            Self::Connect { from, to, .. } => Some((from, to.ip())),
            Self::Connected { from, to, .. } | Self::Refused { from, to, .. } => Some((from, to)),
            Self::Piece { from, to, .. } | Self::Closed { from, to, .. } | Self::Reset { from, to, .. } => {
                Some((from, to))
            }
            Self::Look { .. } | Self::LookAtListener { .. } => None,
        }
    }
}

impl State {
    pub(super) fn listen(&mut self, driver: DriverId, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let ip = self.driver(driver).node;
        if !address.ip().is_unspecified() && address.ip() != ip {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = if address.port() == 0 { self.free_port(ip) } else { address.port() };
        let listeners = &mut self.nodes.get_mut(&ip).expect("a driver is on a node").listeners;
        if listeners.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        listeners.insert(port, Listener { driver, accept: None, backlog: VecDeque::new() });
        let ports = &mut self.driver(driver).listeners;
        ports.push(port);
        Ok((ListenerId(ports.len() as u32 - 1), SocketAddr::new(ip, port)))
    }

    fn free_port(&mut self, ip: IpAddr) -> u16 {
        let node = self.nodes.get_mut(&ip).expect("a driver is on a node");
        loop {
            let port = FREE_PORTS_START + node.ports_taken;
            node.ports_taken = (node.ports_taken + 1) % (u16::MAX - FREE_PORTS_START);
            if !node.listeners.contains_key(&port) {
                return port;
            }
        }
    }

    pub(super) fn accept(&mut self, driver: DriverId, token: Token, listener: ListenerId) {
        let state = self.driver(driver);
        let Some(&port) = state.listeners.get(listener.0 as usize) else {
            return self.reply(driver, token, Outcome::Failed(io::ErrorKind::NotConnected.into()));
        };
        let address = SocketAddr::new(state.node, port);
        let listener = self.nodes.get_mut(&address.ip()).and_then(|node| node.listeners.get_mut(&port));
        listener.expect("listeners last as long as their driver").accept = Some(token);
        self.schedule(self.now, Event::Net(NetEvent::LookAtListener { address }));
    }

    pub(super) fn connect(&mut self, driver: DriverId, token: Token, to: SocketAddr) {
        let from = self.driver(driver).node;
        let at = self.arrival(from, to.ip());
        self.schedule(at, Event::Net(NetEvent::Connect { driver, token, from, to }));
    }

    pub(super) fn receive(&mut self, driver: DriverId, token: Token, conn: ConnId) {
        match self.endpoint(driver, conn) {
            Some(endpoint) => {
                endpoint.receive = Some(token);
                self.schedule(self.now, Event::Net(NetEvent::Look { key: conn.0 }));
            }
            None => self.reply(driver, token, Outcome::Failed(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn stop_receive(&mut self, driver: DriverId, conn: ConnId) {
        if let Some(endpoint) = self.endpoint(driver, conn) {
            endpoint.receive = None;
        }
    }

    pub(super) fn send(&mut self, driver: DriverId, token: Token, conn: ConnId, data: Vec<u8>) {
        match self.endpoint(driver, conn) {
            Some(endpoint) => {
                assert!(endpoint.send.is_none(), "at most one send is in flight for each connection");
                endpoint.send = Some((token, data, 0));
                self.pump(conn.0);
            }
            None => {
                let result = Err(io::ErrorKind::NotConnected.into());
                self.reply(driver, token, Outcome::Sent { conn, data, result });
            }
        }
    }

    pub(super) fn close_connection(&mut self, driver: DriverId, token: Token, conn: ConnId) {
        if self.endpoint(driver, conn).is_some() {
            let endpoint = self.remove_endpoint(conn.0, false);
            if let Some(receive) = endpoint.receive {
                self.reply(driver, receive, Outcome::Failed(io::ErrorKind::ConnectionAborted.into()));
            }
            if let Some((send, data, _)) = endpoint.send {
                let result = Err(io::ErrorKind::ConnectionAborted.into());
                self.reply(driver, send, Outcome::Sent { conn, data, result });
            }
        }
        self.reply(driver, token, Outcome::Done);
    }

    /// Ends one side of a connection; the other learns of it behind all that was sent. With bytes that nobody has received
    /// it is a reset, as with TCP: whoever sends would wait for ever for room.
    pub(super) fn remove_endpoint(&mut self, key: u64, reset: bool) -> Endpoint {
        let at = self.arrival_from(key);
        let endpoint = self.endpoints.remove(&key).expect("removed once");
        let reset = reset || !endpoint.arrived.is_empty();
        let (key, from, to) = (endpoint.other, endpoint.local, endpoint.remote);
        let event = if reset { NetEvent::Reset { key, from, to } } else { NetEvent::Closed { key, from, to } };
        self.schedule(at, Event::Net(event));
        endpoint
    }

    pub(super) fn heal(&mut self, a: IpAddr, b: IpAddr) {
        self.cuts.remove(&(a, b));
        self.cuts.remove(&(b, a));
        // Ahead of everything that is still to come, so that nothing overtakes what was held up.
        let at = Instant::from_nanos(self.now.as_nanos().saturating_sub(1));
        for event in std::mem::take(&mut self.parked) {
            match event.path() {
                Some(path) if self.cuts.contains(&path) => self.parked.push(event),
                _ => self.schedule(at, Event::Net(event)),
            }
        }
    }

    pub(super) fn reset_connections(&mut self, a: IpAddr, b: IpAddr) {
        let ends = self.endpoints.iter().map(|(&key, end)| (key, end.local, end.remote));
        let between: Vec<_> = ends.filter(|&(_, from, to)| (from, to) == (a, b) || (from, to) == (b, a)).collect();
        for (key, local, _) in between {
            self.schedule(self.now, Event::Net(NetEvent::Reset { key, from: local, to: local }));
        }
    }

    pub(super) fn carry_out_net(&mut self, event: NetEvent) -> Option<DriverId> {
        if let Some(path) = event.path()
            && self.cuts.contains(&path)
        {
            self.parked.push(event);
            return None;
        }
        match event {
            NetEvent::Connect { driver, token, from, to } => self.connection_asked(driver, token, from, to),
            NetEvent::Connected { key, token, .. } => {
                let driver = self.endpoints.get(&key)?.driver;
                self.deliver(driver, Mail::Outcome(token, Outcome::Connected { conn: ConnId(key) }))
            }
            NetEvent::Refused { driver, token, .. } => {
                self.deliver(driver, Mail::Outcome(token, Outcome::Failed(io::ErrorKind::ConnectionRefused.into())))
            }
            NetEvent::Piece { sender, key, from, to, bytes } => match self.endpoints.get_mut(&key) {
                // What comes behind a reset is nobody's: the stream would have a hole.
                Some(endpoint) if endpoint.end == Some(End::Reset) => None,
                Some(endpoint) => {
                    endpoint.arrived.extend(bytes);
                    self.look(key)
                }
                None => {
                    let at = self.arrival(to, from);
                    self.schedule(at, Event::Net(NetEvent::Reset { key: sender, from: to, to: from }));
                    None
                }
            },
            NetEvent::Closed { key, .. } => {
                self.endpoints.get_mut(&key)?.end.get_or_insert(End::Closed);
                self.look(key)
            }
            NetEvent::Reset { key, .. } => {
                let endpoint = self.endpoints.get_mut(&key)?;
                endpoint.end = Some(End::Reset);
                endpoint.arrived.clear();
                self.pump(key);
                self.look(key)
            }
            NetEvent::Look { key } => self.look(key),
            NetEvent::LookAtListener { address } => self.look_at_listener(address),
        }
    }

    fn connection_asked(&mut self, driver: DriverId, token: Token, from: IpAddr, to: SocketAddr) -> Option<DriverId> {
        if !self.driver(driver).alive {
            return None;
        }
        let at = self.arrival(to.ip(), from);
        let listener = self.nodes.get(&to.ip()).and_then(|node| node.listeners.get(&to.port()));
        let Some(server) = listener.map(|listener| listener.driver) else {
            self.schedule(at, Event::Net(NetEvent::Refused { driver, token, from: to.ip(), to: from }));
            return None;
        };
        let (near, far) = (self.endpoints_made, self.endpoints_made + 1);
        self.endpoints_made += 2;
        self.endpoints.insert(near, Endpoint::new(driver, from, to.ip(), far, self.now));
        self.endpoints.insert(far, Endpoint::new(server, to.ip(), from, near, at));
        self.schedule(at, Event::Net(NetEvent::Connected { key: near, token, from: to.ip(), to: from }));
        let peer = SocketAddr::new(from, self.free_port(from));
        let listener = self.nodes.get_mut(&to.ip()).and_then(|node| node.listeners.get_mut(&to.port()));
        listener.expect("just seen").backlog.push_back((ConnId(far), peer));
        self.look_at_listener(to)
    }

    fn look_at_listener(&mut self, address: SocketAddr) -> Option<DriverId> {
        let listener = self.nodes.get_mut(&address.ip())?.listeners.get_mut(&address.port())?;
        let (driver, token) = (listener.driver, listener.accept?);
        let mut told = None;
        for (conn, peer) in std::mem::take(&mut listener.backlog) {
            told = self.deliver(driver, Mail::Outcome(token, Outcome::Accepted { conn, peer })).or(told);
        }
        told
    }

    /// Hands what has arrived at an endpoint to an armed receive.
    fn look(&mut self, key: u64) -> Option<DriverId> {
        let mut told = None;
        loop {
            let chunk_bytes_max = self.config.chunk_bytes_max;
            let endpoint = self.endpoints.get_mut(&key)?;
            let (driver, token, other) = (endpoint.driver, endpoint.receive?, endpoint.other);
            let bytes: Vec<u8> = if endpoint.arrived.is_empty() {
                Vec::new()
            } else {
                let count = endpoint.arrived.len().min(chunk_bytes_max);
                endpoint.arrived.drain(..count).collect()
            };
            let Some(end) = endpoint.end.filter(|_| bytes.is_empty()) else {
                if bytes.is_empty() {
                    return told;
                }
                let count = bytes.len();
                told = self.deliver(driver, Mail::Received(token, ConnId(key), bytes)).or(told);
                if let Some(sender) = self.endpoints.get_mut(&other) {
                    sender.outstanding_bytes -= count;
                    self.pump(other);
                }
                continue;
            };
            endpoint.receive = None;
            let mail = match end {
                End::Closed => Mail::Received(token, ConnId(key), Vec::new()),
                End::Reset => Mail::Outcome(token, Outcome::Failed(io::ErrorKind::ConnectionReset.into())),
            };
            return self.deliver(driver, mail).or(told);
        }
    }

    /// Lets a send go on as far as the window has room.
    fn pump(&mut self, key: u64) {
        let (window, chunk) = (self.config.window_bytes, self.config.chunk_bytes_max);
        loop {
            let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
            let Some((token, data, sent)) = endpoint.send.take() else { return };
            let reset = endpoint.end == Some(End::Reset);
            if reset || sent == data.len() {
                let driver = endpoint.driver;
                let result = if reset { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) };
                return self.reply(driver, token, Outcome::Sent { conn: ConnId(key), data, result });
            }
            // A piece of drawn size needs room for the largest: pieces that fill whatever room there is would become
            // smaller and smaller.
            let most = (data.len() - sent).min(chunk).min(window);
            if window - endpoint.outstanding_bytes < most {
                endpoint.send = Some((token, data, sent));
                return;
            }
            let count = self.rng.usize(1..=most);
            let at = self.arrival_from(key);
            let endpoint = self.endpoints.get_mut(&key).expect("just seen");
            endpoint.outstanding_bytes += count;
            let bytes = data[sent..sent + count].to_vec();
            endpoint.send = Some((token, data, sent + count));
            let (other, from, to) = (endpoint.other, endpoint.local, endpoint.remote);
            self.schedule(at, Event::Net(NetEvent::Piece { sender: key, key: other, from, to, bytes }));
            if self.faults.resets > 0 && self.chance(self.faults.resets) {
                self.count("reset");
                // What the other end has received and not answered is repeated over the next connection.
                let at = self.now + self.draw(self.config.network_latency);
                for (key, place) in [(key, from), (other, to)] {
                    self.schedule(at, Event::Net(NetEvent::Reset { key, from: place, to: place }));
                }
            }
        }
    }

    fn arrival(&mut self, from: IpAddr, to: IpAddr) -> Instant {
        let mut latency = self.draw(self.config.network_latency);
        if self.faults.spikes > 0 && self.chance(self.faults.spikes) {
            self.count("latency_spike");
            latency += self.draw(self.faults.spike);
        }
        if let Some(link) = self.links.get(&(from, to)) {
            latency *= link.slower;
        }
        self.now + latency
    }

    /// When something sent now by an endpoint arrives: behind all that it has sent before.
    fn arrival_from(&mut self, key: u64) -> Instant {
        let endpoint = &self.endpoints[&key];
        let drawn = self.arrival(endpoint.local, endpoint.remote);
        let endpoint = self.endpoints.get_mut(&key).expect("an endpoint that sends");
        endpoint.last_arrival = endpoint.last_arrival.max(drawn);
        endpoint.last_arrival
    }

    fn endpoint(&mut self, driver: DriverId, conn: ConnId) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(&conn.0).filter(|endpoint| endpoint.driver == driver)
    }
}

impl Endpoint {
    fn new(driver: DriverId, local: IpAddr, remote: IpAddr, other: u64, last_arrival: Instant) -> Self {
        Self {
            driver,
            local,
            remote,
            other,
            receive: None,
            arrived: VecDeque::new(),
            end: None,
            send: None,
            outstanding_bytes: 0,
            last_arrival,
        }
    }
}

/// The end of a stream, as a chunk without memory.
pub(super) const END: Chunk = Chunk { buffer: u32::MAX, len: 0 };
