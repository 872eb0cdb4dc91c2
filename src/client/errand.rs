use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;

use super::{NodeInfo, OpError};
use crate::base::Incarnation;
use crate::base::{ClusterId, Instant, Limits, LogletId, NodeId, RegisterId};
use crate::io::op::{Op, Outcome};
use crate::net::{Closed, Link, LinkEvent};
use crate::wire::{Hello, Message, RegisterMessage, Role};

/// How an errand answers.
#[derive(Debug)]
pub(super) enum ErrandReply {
    Hello(SyncSender<Result<NodeInfo, OpError>>),
    Status(SyncSender<Result<Vec<u8>, OpError>>),
    Register(SyncSender<Result<RegisterMessage, OpError>>),
}

/// What an errand asks, once the node has said who it is.
#[derive(Debug)]
pub(super) enum Question {
    /// Nothing more.
    Hello,
    /// Its status.
    Status,
    /// Something about a register, of a node of this cluster.
    Register(ClusterId, RegisterId, Box<RegisterMessage>),
}

/// One question to one node, on a connection of its own.
#[derive(Debug)]
pub(super) struct Errand {
    address: SocketAddr,
    link: Link,
    deadline: Instant,
    question: Question,
    reply: Option<ErrandReply>,
    last_failure: String,
}

impl Errand {
    pub(super) fn new(
        address: SocketAddr,
        question: Question,
        reply: ErrandReply,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let (cluster, route) = match &question {
            Question::Register(cluster, ..) => (*cluster, RegisterId::ROUTE),
            Question::Hello | Question::Status => (ClusterId(0), LogletId::default()),
        };
        let anybody = NodeId(0);
        let hello =
            Hello { cluster, node: NodeId(0), incarnation: Incarnation(0), to: anybody, role: Role::Client, route };
        let link = Link::new(address, hello, None, limits);
        let deadline = now + limits.operation_timeout;
        Self { address, link, deadline, question, reply: Some(reply), last_failure: "it has not answered".to_owned() }
    }

    pub(super) fn handle(&mut self, outcome: Outcome, bytes: &[u8], now: Instant) {
        let mut answer = None;
        let mut ask = false;
        let mut failure = None;
        self.link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Up(hello) if matches!(self.question, Question::Hello) => {
                let Hello { cluster, node, incarnation, role, .. } = hello;
                let info = NodeInfo { cluster, node, incarnation, sequences_only: role == Role::Sequencer };
                answer = Some(Ok(Answer::Hello(info)));
            }
            LinkEvent::Open => {}
            LinkEvent::Up(_) => ask = true,
            LinkEvent::Message(Message::Register { message, .. }) => answer = Some(Ok(Answer::Register(message))),
            LinkEvent::Message(Message::Reject { detail: reason, .. } | Message::Unavailable { reason, .. }) => {
                answer = Some(Err(reason.to_owned()));
            }
            LinkEvent::Message(Message::StatusReport { json, .. }) => answer = Some(Ok(Answer::Status(json.to_vec()))),
            LinkEvent::Message(_) => {}
            LinkEvent::Down(reason @ (Closed::Refused { .. } | Closed::Frame(_) | Closed::OutOfPlace(_))) => {
                answer = Some(Err(reason.to_string()));
            }
            LinkEvent::Down(reason) => failure = Some(reason.to_string()),
        });
        if let Some(failure) = failure {
            self.last_failure = failure;
        }
        if ask && let Some(connection) = self.link.connection() {
            match &self.question {
                Question::Hello => {}
                Question::Status => connection.send(&Message::Status { request: 1 }),
                Question::Register(_, register, message) => {
                    connection.send(&Message::Register { request: 1, register: *register, message: message.clone() });
                }
            }
        }
        if let Some(answer) = answer {
            self.answer(answer);
        }
    }

    fn answer(&mut self, answer: Result<Answer, String>) {
        let unavailable = |reason: String| OpError::Unavailable { reason: format!("{}: {reason}", self.address) };
        // Whoever asked may have gone; then the answer has no use.
        match (self.reply.take(), answer) {
            (Some(ErrandReply::Hello(reply)), Ok(Answer::Hello(info))) => drop(reply.try_send(Ok(info))),
            (Some(ErrandReply::Status(reply)), Ok(Answer::Status(json))) => drop(reply.try_send(Ok(json))),
            (Some(ErrandReply::Register(reply)), Ok(Answer::Register(message))) => drop(reply.try_send(Ok(*message))),
            (Some(ErrandReply::Register(reply)), Err(reason)) => drop(reply.try_send(Err(unavailable(reason)))),
            (Some(ErrandReply::Hello(reply)), Err(reason)) => drop(reply.try_send(Err(unavailable(reason)))),
            (Some(ErrandReply::Status(reply)), Err(reason)) => drop(reply.try_send(Err(unavailable(reason)))),
            (unanswered, _) => self.reply = unanswered,
        }
        if self.reply.is_none() {
            self.link.set_wanted(false);
        }
    }

    pub(super) fn poll_op(&mut self, now: Instant) -> Option<Op> {
        if self.reply.is_some() && self.deadline <= now {
            self.answer(Err(self.last_failure.clone()));
        }
        self.link.poll_op(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.reply.as_ref().map(|_| self.deadline);
        [deadline, self.link.poll_timeout()].into_iter().flatten().min()
    }

    /// Nobody waits for the answer any more.
    pub(super) fn close(&mut self) {
        self.reply = None;
        self.link.set_wanted(false);
    }

    pub(super) fn is_over(&self) -> bool {
        self.reply.is_none() && self.link.is_at_rest()
    }
}

enum Answer {
    Hello(NodeInfo),
    Status(Vec<u8>),
    Register(Box<RegisterMessage>),
}
