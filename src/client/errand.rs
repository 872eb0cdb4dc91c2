use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;

use super::{NodeInfo, OpError};
use crate::base::Incarnation;
use crate::base::{ClusterId, Instant, Limits, LogletId, NodeId};
use crate::io::op::{Op, Outcome};
use crate::net::{Closed, Link, LinkEvent};
use crate::wire::{Hello, Message, Role};

/// How an errand answers.
#[derive(Debug)]
pub(super) enum ErrandReply {
    Hello(SyncSender<Result<NodeInfo, OpError>>),
    Status(SyncSender<Result<Vec<u8>, OpError>>),
}

/// One question to one node, on a connection of its own.
#[derive(Debug)]
pub(super) struct Errand {
    address: SocketAddr,
    link: Link,
    deadline: Instant,
    reply: Option<ErrandReply>,
    last_failure: String,
}

impl Errand {
    pub(super) fn new(address: SocketAddr, reply: ErrandReply, limits: &Limits, now: Instant) -> Self {
        let hello = Hello {
            cluster: ClusterId(0),
            node: NodeId(0),
            incarnation: Incarnation(0),
            role: Role::Client,
            route: LogletId::default(),
        };
        let link = Link::new(address, hello, None, limits);
        let deadline = now + limits.operation_timeout;
        Self { address, link, deadline, reply: Some(reply), last_failure: "it has not answered".to_owned() }
    }

    pub(super) fn handle(&mut self, outcome: Outcome, bytes: &[u8], now: Instant) {
        let mut answer = None;
        let mut ask = false;
        let wants_status = matches!(self.reply, Some(ErrandReply::Status(_)));
        let mut failure = None;
        self.link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Up(hello) if wants_status => {
                ask = true;
                let _ = hello;
            }
            LinkEvent::Up(hello) => {
                let info = NodeInfo { cluster: hello.cluster, node: hello.node, incarnation: hello.incarnation };
                answer = Some(Ok(Answer::Hello(info)));
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
            connection.send(&Message::Status { request: 1 });
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

    pub(super) fn is_over(&self) -> bool {
        self.reply.is_none() && self.link.is_at_rest()
    }
}

enum Answer {
    Hello(NodeInfo),
    Status(Vec<u8>),
}
