use super::Cluster;
use super::connection::{End, Frame, Pair, target};
use crate::proto::PeerId;
use crate::proto::log_server::Output;
use crate::wire::{FrameHeader, HEADER_BYTES, Member, Message};

pub(super) fn decode(frame: &[u8]) -> (FrameHeader, Message<'_>) {
    let header = FrameHeader::decode(frame, u32::MAX).expect("a frame is whole");
    let message = Message::decode(&header, &frame[HEADER_BYTES..]).expect("a frame says what it should");
    (header, message)
}

pub(super) fn encode(message: &Message<'_>) -> Frame {
    let mut frame = Vec::new();
    message.encode(&mut frame);
    frame.into()
}

impl Cluster {
    /// Puts everything that a core wants to send on its way, and takes every result.
    pub(crate) fn pump(&mut self) {
        for server in 0..self.servers.len() {
            if self.servers[server].is_touched() {
                self.pump_server(server);
            }
        }
        if self.process.is_touched() {
            (0..self.lanes).for_each(|lane| self.pump_lane(lane));
        }
        for client in 0..self.clients.len() {
            if self.clients[client].is_touched() {
                self.pump_client(client);
            }
        }
    }

    fn pump_client(&mut self, client: usize) {
        let core = &mut self.clients[client];
        let ends = (0..self.servers.len()).map(End::Server).chain((0..self.lanes).map(End::of_lane));
        for to in ends {
            let Some(connection) = self.connections.get_mut(&(End::Client(client), to)) else { continue };
            while let Some(message) = core.poll_send(target(to)) {
                connection.forth.push_back(encode(&message));
            }
        }
        while let Some((id, result)) = core.poll_result() {
            self.results.entry(id).or_default().push(result.clone());
            self.fresh.push((id, result));
        }
    }

    fn pump_lane(&mut self, lane: usize) {
        let Some(sequencer) = self.process.lane_mut(lane) else { return };
        for server in 0..self.servers.len() {
            let pair = (End::of_lane(lane), End::Server(server));
            let Some(connection) = self.connections.get_mut(&pair) else { continue };
            while let Some((message, checksum)) = sequencer.poll_send(server) {
                let mut frame = Vec::new();
                match checksum {
                    Some(checksum) => message.encode_with_checksum(checksum, &mut frame),
                    None => message.encode(&mut frame),
                }
                connection.forth.push_back(frame.into());
            }
        }
        let replies: Vec<_> = std::iter::from_fn(|| sequencer.poll_reply()).collect();
        for (peer, message) in replies {
            self.send_back(peer, &message);
        }
    }

    pub(super) fn pump_server(&mut self, server: usize) {
        loop {
            let core = self.servers[server].core.as_mut();
            match core.and_then(|core| core.poll_output()) {
                None => return,
                Some(Output::Send { to, message }) => self.send_back(to, &message),
                Some(Output::ToMember { to, message }) => self.send_to_member(server, to, &message),
            }
        }
    }

    fn send_to_member(&mut self, from: usize, to: Member, message: &Message<'_>) {
        let index = self.servers.iter().position(|server| server.node == to.node).expect("a member of the loglet");
        let pair: Pair = (End::Server(from), End::Server(index));
        if !self.connections.contains_key(&pair) {
            if self.cut.contains(&pair) || self.servers[index].core.is_none() {
                let core = self.servers[from].core.as_mut().expect("it asked");
                core.handle_member_disconnected(to.node, self.now);
                return;
            }
            self.connect(pair);
        }
        let connection = self.connections.get_mut(&pair).expect("just connected");
        connection.forth.push_back(encode(message));
    }

    /// An answer on the connection of this number, if it is still there.
    pub(super) fn send_back(&mut self, peer: PeerId, message: &Message<'_>) {
        let connection = self.connections.values_mut().find(|connection| connection.peer == peer);
        if let Some(connection) = connection {
            connection.back.push_back(encode(message));
        }
    }
}
