//! What every driver does, stated once as tests that run on each of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Driver;
use super::device::{Binding, Device, Superblock, Volume};
use super::op::{Chunk, Completion, ConnId, FileId, ListenerId, Op, Outcome, Token};
use crate::base::{Buf, ClusterId, DeviceId, Instant, NodeId};

pub(super) mod ends;
pub(super) mod files;
pub(super) mod handover;
pub(super) mod limits;
#[path = "../../tests/support/loop_device.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the integration tests, which use more of it")]
mod loop_device;
pub(super) mod sockets;

use loop_device::LoopDevice;

/// A driver under test and its surroundings.
pub(super) trait Rig {
    type Driver: Driver;

    fn driver(&mut self) -> &mut Self::Driver;

    /// Waits for completions, and lets simulated time go on where it is simulated.
    fn wait(&mut self, completions: &mut Vec<Completion>);

    /// Lets simulated time go on, up to `deadline` at most.
    fn advance_to(&mut self, _deadline: Instant) {}

    /// An empty directory for this test alone.
    fn directory(&self) -> &Path;

    /// Drops the driver, whatever it is doing, and makes another one over the same directory.
    fn restart(&mut self);

    /// A further driver beside this one.
    fn another(&self) -> Self;

    /// What the driver has to receive into; `None` where there is no bound.
    fn receive_buffers(&self) -> Option<ReceiveBuffers>;
}

/// The receive buffers of a driver.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveBuffers {
    pub(super) count: usize,
    /// Size of each.
    pub(super) bytes: usize,
}

/// A directory on the disk that holds the build: direct I/O is not possible everywhere.
pub(super) fn directory() -> tempfile::TempDir {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    std::fs::create_dir_all(&target).unwrap();
    tempfile::tempdir_in(target).unwrap()
}

/// A device in the place of the files of a directory.
pub(super) struct OnDevice {
    device: Arc<Device>,
    superblock: Superblock,
    _loop_device: LoopDevice,
}

impl OnDevice {
    /// A freshly formatted one, or why there is none here.
    pub(super) fn new(directory: &Path) -> Result<Self, String> {
        let loop_device = LoopDevice::new(directory, 24 << 20)?;
        let device = Device::claim(&loop_device.path, false).map_err(|error| error.to_string())?;
        let binding = Binding { cluster: ClusterId(1), node: NodeId(1), device: DeviceId::random(), shards: 1 };
        let superblock = device.plan(&binding, 4 << 20, 4, false).unwrap();
        device.format(&superblock).unwrap();
        assert_eq!(device.recognise(&binding).unwrap(), superblock);
        Ok(Self { device, superblock, _loop_device: loop_device })
    }

    /// All of it, as the files of `directory`.
    pub(super) fn volume(&self, directory: &Path) -> Volume {
        self.device.volume(&self.superblock, 0, directory.to_owned(), &["anchor"]).unwrap()
    }
}

/// Submits operations and finds their completions.
pub(super) struct Harness<R> {
    pub(super) rig: R,
    arrived: VecDeque<Completion>,
    next: u64,
    /// What has been received and not yet looked at. Chunks are given back on arrival, so that a completion that waits for
    /// its turn does not keep another connection from receiving.
    received: BTreeMap<u32, Vec<u8>>,
}

impl<R: Rig> Harness<R> {
    pub(super) fn new(rig: R) -> Self {
        Self { rig, arrived: VecDeque::new(), next: 0, received: BTreeMap::new() }
    }

    pub(super) fn submit(&mut self, op: Op) -> Token {
        self.next += 1;
        let token = Token::new(1, self.next);
        self.rig.driver().submit(token, op);
        token
    }

    /// The next completion of `token`; those of others wait for their turn.
    pub(super) fn outcome(&mut self, token: Token) -> Outcome {
        self.next_where(|completion| completion.token == token).outcome
    }

    pub(super) fn next_where(&mut self, wanted: impl Fn(&Completion) -> bool) -> Completion {
        loop {
            if let Some(index) = self.arrived.iter().position(&wanted) {
                return self.arrived.remove(index).expect("just found");
            }
            let mut completions = Vec::new();
            self.rig.wait(&mut completions);
            for completion in &mut completions {
                if let Outcome::Received { chunk, .. } = &mut completion.outcome {
                    self.next += 1;
                    let copy = Chunk { buffer: self.next as u32, len: chunk.len };
                    let chunk = std::mem::replace(chunk, copy);
                    self.received.insert(self.next as u32, self.rig.driver().chunk(&chunk).to_vec());
                    self.rig.driver().release(chunk);
                }
            }
            self.arrived.extend(completions);
        }
    }

    /// What comes within `time`, which passes in any case. Chunks are not given back.
    pub(super) fn completions_within(&mut self, time: Duration) -> Vec<Completion> {
        let deadline = self.rig.driver().now() + time;
        let mut completions = Vec::new();
        while self.rig.driver().now() < deadline {
            self.rig.driver().wait(Some(deadline), &mut completions).unwrap();
            self.rig.advance_to(deadline);
        }
        completions
    }

    /// The bytes of a chunk, which is the harness's own.
    pub(super) fn bytes(&mut self, chunk: &Chunk) -> Vec<u8> {
        self.received.remove(&chunk.buffer).expect("each chunk is looked at once")
    }

    pub(super) fn run(&mut self, op: Op) -> Outcome {
        let token = self.submit(op);
        self.outcome(token)
    }

    /// Whether completions of `token` have arrived and were not yet looked at.
    pub(super) fn has_arrived(&self, token: Token) -> bool {
        self.arrived.iter().any(|completion| completion.token == token)
    }

    pub(super) fn listen(&mut self) -> (ListenerId, SocketAddr, Token) {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (listener, address) = self.rig.driver().listen(any).unwrap();
        let accept = self.submit(Op::Accept { listener });
        (listener, address, accept)
    }

    /// Two ends of a new connection: the one that connected, the one that accepted.
    pub(super) fn pair(&mut self) -> (ConnId, ConnId) {
        let (_, address, accept) = self.listen();
        let Outcome::Connected { conn: near } = self.run(Op::Connect { address }) else { panic!("not connected") };
        let Outcome::Accepted { conn: far, peer } = self.outcome(accept) else { panic!("not accepted") };
        assert!(peer.ip().is_loopback());
        (near, far)
    }

    /// Receives until `bytes` bytes have come; leaves the receive armed.
    pub(super) fn receive_bytes(&mut self, receive: Token, bytes: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < bytes {
            match self.outcome(receive) {
                Outcome::Received { chunk, .. } => {
                    assert!(!chunk.is_end(), "the stream has ended after {} bytes", received.len());
                    received.extend(self.bytes(&chunk));
                }
                outcome => panic!("unexpected {outcome:?}"),
            }
        }
        received
    }

    pub(super) fn prepared(&mut self, name: &str, bytes: u64) -> FileId {
        let path = self.rig.directory().join(name);
        match self.run(Op::Prepare { path, bytes }) {
            Outcome::Opened { file, bytes: size } if size == bytes => file,
            outcome => panic!("unexpected {outcome:?}"),
        }
    }

    pub(super) fn names(&mut self) -> Vec<(String, u64)> {
        let directory = self.rig.directory().to_owned();
        match self.run(Op::List { directory }) {
            Outcome::Listed(files) => files,
            outcome => panic!("unexpected {outcome:?}"),
        }
    }
}

/// A buffer of `bytes` bytes that no other `seed` gives.
pub(super) fn pattern(seed: u8, bytes: usize) -> Buf {
    let mut buf = Buf::zeroed(bytes);
    buf.set_len(bytes);
    for (index, byte) in buf.iter_mut().enumerate() {
        *byte = seed.wrapping_mul(31).wrapping_add((index / 7) as u8);
    }
    buf
}

/// Declares a test for every statement about files, each with a fresh rig over a device from `$rig`, which may say why there is none.
macro_rules! device_tests {
    ($rig:expr) => {
        $crate::io::conformance::device_tests! { $rig;
            files: written_bytes_are_read_back,
            files: many_writes_in_flight_all_land,
            files: a_read_across_the_end_is_short,
            files: files_are_listed_opened_and_removed,
            files: an_existing_name_is_not_prepared_again,
            files: a_leftover_of_an_interrupted_preparation_is_replaced,
            files: a_closed_file_takes_nothing_more,
            files: closing_waits_for_the_operations_in_flight,
            files: what_is_missing_is_not_opened_or_removed,
            files: memory_comes_back_with_the_completion,
            files: what_is_beside_a_device_is_in_the_directory,
            files: nothing_is_written_beyond_a_slot,
            ends: a_driver_may_go_with_operations_in_flight,
            ends: a_write_in_flight_when_its_driver_goes_has_landed_whole_or_not_at_all,
        }
    };
    ($rig:expr; $($area:ident: $name:ident,)*) => {
        $(#[test]
        fn $name() {
            match $rig {
                Ok(rig) => $crate::io::conformance::$area::$name($crate::io::conformance::Harness::new(rig)),
                Err(why) => println!("skipped, there is no loop device: {why}"),
            }
        })*
    };
}
pub(super) use device_tests;

/// Declares a test for every statement of the suite, each with a fresh rig from `$rig`.
macro_rules! conformance_tests {
    ($rig:expr) => {
        $crate::io::conformance::conformance_tests! { $rig;
            files: written_bytes_are_read_back,
            files: many_writes_in_flight_all_land,
            files: a_read_across_the_end_is_short,
            files: files_are_listed_opened_and_removed,
            files: an_existing_name_is_not_prepared_again,
            files: a_leftover_of_an_interrupted_preparation_is_replaced,
            files: a_closed_file_takes_nothing_more,
            files: closing_waits_for_the_operations_in_flight,
            files: what_is_missing_is_not_opened_or_removed,
            files: memory_comes_back_with_the_completion,
            sockets: large_data_is_echoed_both_ways,
            sockets: a_reader_that_stops_holds_up_the_sender,
            sockets: a_receive_stopped_and_armed_again_loses_nothing,
            sockets: a_peer_that_closes_ends_the_stream,
            sockets: nobody_listening_refuses_the_connection,
            sockets: a_send_to_a_closed_peer_fails_and_returns_its_memory,
            sockets: a_closed_connection_takes_nothing_more,
            sockets: a_listener_accepts_many_connections,
            sockets: a_deadline_ends_a_wait,
            sockets: sends_of_every_size_arrive_whole_and_in_order,
            sockets: a_large_send_reaches_a_reader_that_keeps_stopping,
            limits: a_receive_without_a_free_buffer_goes_on_after_a_release,
            limits: more_completions_than_a_queue_holds_all_arrive,
            limits: a_busy_connection_does_not_starve_a_quiet_one,
            ends: closing_ends_what_is_in_flight_with_failures,
            ends: every_operation_ends_once_when_many_connections_close,
            ends: a_stopped_receive_says_nothing_more_and_the_close_still_comes,
            ends: a_reset_ends_what_is_in_flight,
            ends: a_driver_may_go_with_operations_in_flight,
            ends: a_write_in_flight_when_its_driver_goes_has_landed_whole_or_not_at_all,
        }
    };
    // Only where connections can be handed over, and threads can wake each other.
    (real: $rig:expr) => {
        $crate::io::conformance::conformance_tests! { $rig;
            handover: a_connection_goes_from_one_driver_to_another_without_loss,
            handover: a_send_in_flight_completes_before_its_connection_leaves,
            handover: a_waker_ends_a_wait_from_another_thread_and_is_remembered_before_it,
        }
    };
    ($rig:expr; $($area:ident: $name:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::io::conformance::$area::$name($crate::io::conformance::Harness::new($rig));
        })*
    };
}
pub(super) use conformance_tests;
