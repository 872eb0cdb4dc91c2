//! One shard's view of a world.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use super::net::END;
use super::state::{DriverId, Mail, State};
use crate::base::Instant;
use crate::io::Driver;
use crate::io::op::{Chunk, Completion, ConnId, ListenerId, Op, Outcome, Token};
use crate::ring::WakeFlag;

/// When a shard whose deadline has passed runs again.
const POLL_INTERVAL: Duration = Duration::from_micros(1);

/// [`Driver`] in a [`super::World`]; the world's contract says when things happen.
pub struct MemDriver {
    world: Rc<RefCell<State>>,
    id: DriverId,
    /// Received bytes that the caller holds.
    chunks: BTreeMap<u32, Vec<u8>>,
    chunks_made: u32,
}

impl MemDriver {
    pub(super) fn new(world: Rc<RefCell<State>>, id: DriverId) -> Self {
        Self { world, id, chunks: BTreeMap::new(), chunks_made: 0 }
    }

    /// The name under which [`super::World::step`] speaks of this driver.
    pub fn id(&self) -> DriverId {
        self.id
    }

    fn hold(&mut self, bytes: Vec<u8>) -> Chunk {
        if bytes.is_empty() {
            return END;
        }
        let chunk = Chunk { buffer: self.chunks_made, len: bytes.len() as u32 };
        self.chunks_made = (self.chunks_made + 1) % END.buffer;
        self.chunks.insert(chunk.buffer, bytes);
        chunk
    }
}

impl Driver for MemDriver {
    fn submit(&mut self, token: Token, op: Op) {
        let mut state = self.world.borrow_mut();
        if state.driver(self.id).alive {
            state.note_submission(self.id, token, &op);
            state.submit(self.id, token, op);
        }
    }

    fn wait(&mut self, deadline: Option<Instant>, completions: &mut Vec<Completion>) -> io::Result<()> {
        let mail = {
            let mut state = self.world.borrow_mut();
            if !state.driver(self.id).alive {
                return Err(io::ErrorKind::NotConnected.into());
            }
            state.set_deadline(self.id, deadline);
            std::mem::take(&mut state.driver(self.id).mailbox)
        };
        for mail in mail {
            completions.push(match mail {
                Mail::Outcome(token, outcome) => Completion { token, outcome },
                Mail::Received(token, conn, bytes) => {
                    let chunk = self.hold(bytes);
                    Completion { token, outcome: Outcome::Received { conn, chunk } }
                }
            });
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        let state = self.world.borrow();
        clock(state.now, state.drivers[self.id.0 as usize].drift_per_million)
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        self.world.borrow_mut().listen(self.id, address)
    }

    fn chunk(&self, chunk: &Chunk) -> &[u8] {
        if *chunk == END { &[] } else { &self.chunks[&chunk.buffer] }
    }

    fn release(&mut self, chunk: Chunk) {
        if chunk != END {
            self.chunks.remove(&chunk.buffer).expect("a chunk of this driver, not yet released");
        }
    }

    fn waker(&self) -> Waker {
        let flag = Arc::clone(&self.world.borrow_mut().driver(self.id).wake);
        Waker::from(Arc::new(Notify(flag)))
    }

    /// The simulated network says itself when a peer has gone.
    fn set_peer_timeout(&mut self, _timeout: Duration) {}

    fn attach(&mut self, _socket: OwnedFd) -> ConnId {
        panic!("simulated connections are not handed over")
    }
}

/// What a clock shows that runs so much faster than time.
fn clock(now: Instant, drift_per_million: i32) -> Instant {
    let now = i128::from(now.as_nanos());
    Instant::from_nanos((now + now * i128::from(drift_per_million) / 1_000_000) as u64)
}

/// The first time at which such a clock shows this, or a little later.
fn time(shown: Instant, drift_per_million: i32) -> Instant {
    if drift_per_million == 0 {
        return shown;
    }
    let nanoseconds = i128::from(shown.as_nanos()) * 1_000_000 / (1_000_000 + i128::from(drift_per_million)) + 2;
    Instant::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

impl State {
    /// When a driver wants to run without any event, by its own clock.
    pub(super) fn set_deadline(&mut self, id: DriverId, deadline: Option<Instant>) {
        let now = self.now;
        let driver = self.driver(id);
        let drift = driver.drift_per_million;
        driver.deadline = deadline.map(|deadline| {
            if deadline > clock(now, drift) { time(deadline, drift).max(now) } else { now + POLL_INTERVAL }
        });
    }
}

impl Drop for MemDriver {
    fn drop(&mut self) {
        // When the world itself is unwinding there is nothing to keep in order.
        if let Ok(mut state) = self.world.try_borrow_mut()
            && state.driver(self.id).alive
        {
            state.end_driver(self.id, false);
        }
    }
}

struct Notify(Arc<WakeFlag>);

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        // The next step of the world looks; there is nobody to wake by a system call.
        let _ = self.0.notify();
    }
}
