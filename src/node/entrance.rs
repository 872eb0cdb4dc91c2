use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::base::LogletId;
use crate::io::{LocalListener, PipeEnd};
use crate::server::{Inbox, home_shard};
use crate::wire::{FrameHeader, HEADER_BYTES, Message};

/// The way into a node from within its process, open for as long as it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Entrance {
    /// The shards; none before the start and from the stop on.
    inboxes: Arc<Mutex<Option<Vec<Arc<Inbox>>>>>,
}

impl Entrance {
    /// From now on connections are given to these shards.
    pub(super) fn open(&self, inboxes: Vec<Arc<Inbox>>) {
        *self.inboxes.lock().expect("no panic while locked") = Some(inboxes);
    }

    /// From now on nobody is let in; whoever was, was before this returns.
    pub(super) fn close(&self) {
        *self.inboxes.lock().expect("no panic while locked") = None;
    }

    /// For the drivers of clients.
    pub(super) fn listener(&self, address: SocketAddr) -> LocalListener {
        let entrance = self.clone();
        LocalListener::new(address, move |first, end| entrance.admit(first, end))
    }

    fn admit(&self, first: &[u8], end: PipeEnd) -> bool {
        let inboxes = self.inboxes.lock().expect("no panic while locked");
        let Some(inboxes) = &*inboxes else { return false };
        inboxes[home_shard(route(first), inboxes.len())].join(end);
        true
    }
}

/// Where the hello at the beginning of these bytes wants to go; anywhere if there is none, which that shard finds out.
fn route(first: &[u8]) -> LogletId {
    let header = FrameHeader::decode(first, u32::MAX).ok();
    let hello = header.and_then(|header| {
        let end = HEADER_BYTES + header.body_bytes.get() as usize;
        match Message::decode(&header, first.get(HEADER_BYTES..end)?).ok()? {
            Message::Hello(hello) => Some(hello),
            _ => None,
        }
    });
    hello.map_or_else(LogletId::default, |hello| hello.route)
}
