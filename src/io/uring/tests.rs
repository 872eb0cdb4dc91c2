use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{Options, UringDriver};
use crate::base::Buf;
use crate::io::Driver;
use crate::io::conformance::{
    Harness, OnDevice, ReceiveBuffers, Rig, conformance_tests, device_tests, directory, pattern,
};
use crate::io::op::{Completion, Op, Outcome, Token};

struct UringRig {
    driver: UringDriver,
    options: Options,
    directory: tempfile::TempDir,
    /// In the place of the directory's files.
    device: Option<OnDevice>,
}

fn rig(options: Options) -> UringRig {
    UringRig { driver: UringDriver::new(options).unwrap(), options, directory: directory(), device: None }
}

/// With its files on a device, or why there is none here.
fn on_device(options: Options) -> Result<UringRig, String> {
    let mut rig = rig(options);
    let device = OnDevice::new(rig.directory.path())?;
    rig.driver.mount(device.volume(rig.directory.path()));
    Ok(UringRig { device: Some(device), ..rig })
}

impl Rig for UringRig {
    type Driver = UringDriver;

    fn driver(&mut self) -> &mut UringDriver {
        &mut self.driver
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) {
        self.driver.wait(None, completions).unwrap();
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn restart(&mut self) {
        // The old one goes when the new one is there; both may have the directory open.
        self.driver = UringDriver::new(self.options).unwrap();
        if let Some(device) = &self.device {
            self.driver.mount(device.volume(self.directory.path()));
        }
    }

    fn another(&self) -> Self {
        rig(self.options)
    }

    fn receive_buffers(&self) -> Option<ReceiveBuffers> {
        let Options { receive_buffers, receive_buffer_bytes, .. } = self.options;
        Some(ReceiveBuffers { count: receive_buffers.into(), bytes: receive_buffer_bytes as usize })
    }
}

/// Every queue and table as small as can be, so that all of them overflow.
const SMALL: Options = Options {
    submission_entries: 2,
    completion_entries: 4,
    receive_buffers: 2,
    receive_buffer_bytes: 1024,
    fixed_buffers: 2,
    fixed_files: 1,
};

mod with_usual_sizes {
    use super::*;
    conformance_tests!(rig(Options::default()));
    conformance_tests!(real: rig(Options::default()));
}

mod on_a_device {
    use super::*;
    device_tests!(on_device(Options::default()));
}

mod on_a_device_without_registration {
    use super::*;
    device_tests!(on_device(Options { fixed_buffers: 0, fixed_files: 0, ..Options::default() }));
}

mod with_small_sizes {
    use super::*;
    conformance_tests!(rig(SMALL));
    conformance_tests!(real: rig(SMALL));
}

mod without_registration {
    use super::*;
    conformance_tests!(rig(Options { fixed_buffers: 0, fixed_files: 0, ..Options::default() }));
}

#[test]
fn a_receive_without_a_free_buffer_goes_on_after_a_release() {
    let mut test = Harness::new(rig(Options { receive_buffers: 2, receive_buffer_bytes: 16, ..Options::default() }));
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    let send = test.submit(Op::Send { conn: near, data: (0..64).collect() });
    // The harness gives chunks back at once, hence not through it.
    let mut held = Vec::new();
    let mut sent = false;
    while held.len() < 2 || !sent {
        let mut completions = Vec::new();
        test.rig.wait(&mut completions);
        for completion in completions {
            match completion.outcome {
                Outcome::Received { chunk, .. } => held.push(chunk),
                Outcome::Sent { result, .. } => {
                    assert_eq!(completion.token, send);
                    result.unwrap();
                    sent = true;
                }
                outcome => panic!("unexpected {outcome:?}"),
            }
        }
    }
    // Another connection starves as well; its round trip lets the kernel notice both.
    let (other_near, other_far) = test.pair();
    let other = test.submit(Op::Receive { conn: other_far });
    assert!(matches!(test.run(Op::Send { conn: other_near, data: vec![9] }), Outcome::Sent { result: Ok(()), .. }));
    while test.rig.driver.counters().enobufs < 2 {
        let deadline = test.rig.driver.now() + std::time::Duration::from_millis(1);
        let mut completions = Vec::new();
        test.rig.driver.wait(Some(deadline), &mut completions).unwrap();
        assert!(completions.is_empty(), "{completions:?}");
    }
    let mut received = Vec::new();
    for chunk in held {
        received.extend_from_slice(test.rig.driver.chunk(&chunk));
        test.rig.driver.release(chunk);
    }
    received.extend(test.receive_bytes(receive, 32));
    assert_eq!(received, (0..64).collect::<Vec<u8>>());
    assert_eq!(test.receive_bytes(other, 1), [9]);
}

#[test]
fn a_held_lock_lasts_as_long_as_the_driver() {
    let directory = directory();
    let open = || OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
    let mut driver = UringDriver::new(Options::default()).unwrap();
    let lock = open();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    driver.hold(lock).unwrap();
    flock(open(), FlockOperation::NonBlockingLockExclusive).unwrap_err();
    drop(driver);
    flock(open(), FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn a_dropped_buffer_gives_its_place_in_the_table_back() {
    let mut test = Harness::new(rig(Options { fixed_buffers: 2, ..Options::default() }));
    let file = test.prepared("a", 1 << 16);
    for seed in 0..20 {
        let Outcome::Written { result, .. } = test.run(Op::Write { file, offset: 0, buf: pattern(seed, 8192) }) else {
            panic!()
        };
        assert_eq!(result.unwrap(), 8192);
        let Outcome::Read { buf, .. } = test.run(Op::Read { file, offset: 0, buf: Buf::zeroed(8192) }) else {
            panic!()
        };
        assert_eq!(buf[..], pattern(seed, 8192)[..]);
    }
    assert!(test.rig.driver.describe().fixed_buffers);
}

#[test]
fn a_buffer_registered_by_one_driver_is_used_by_another() {
    let mut first = Harness::new(rig(Options::default()));
    let mut second = Harness::new(rig(Options::default()));
    let files = [first.prepared("a", 1 << 16), second.prepared("a", 1 << 16)];
    let mut buf = pattern(1, 8192);
    for round in 0..3 {
        for (test, file) in [&mut first, &mut second].into_iter().zip(files) {
            buf[0] = round;
            let Outcome::Written { buf: back, result } = test.run(Op::Write { file, offset: 0, buf }) else { panic!() };
            assert_eq!(result.unwrap(), 8192);
            let Outcome::Read { buf: read, .. } = test.run(Op::Read { file, offset: 0, buf: Buf::zeroed(8192) }) else {
                panic!()
            };
            assert_eq!(read[..], back[..]);
            buf = back;
        }
    }
}

#[test]
fn durable_overwrites_of_written_blocks_use_no_kernel_worker() {
    let mut test = Harness::new(rig(Options::default()));
    let file = test.prepared("a", 4 << 20);
    let writes = |test: &mut Harness<UringRig>| {
        for round in 0..250_u64 {
            let tokens: Vec<_> = (0..4_u64)
                .map(|lane| {
                    let buf = pattern(lane as u8, 4096);
                    test.submit(Op::Write { file, offset: (round * 4 + lane) % 1024 * 4096, buf })
                })
                .collect();
            for token in tokens {
                let Outcome::Written { result, .. } = test.outcome(token) else { panic!() };
                assert_eq!(result.unwrap(), 4096);
            }
        }
    };
    writes(&mut test);
    let workers = kernel_workers_of_this_thread();
    println!("{}; kernel workers: {workers}", test.rig.driver.describe());
    assert_eq!(workers, 0);
}

/// Workers of io_uring are threads of this process, named after the thread whose ring they serve.
fn kernel_workers_of_this_thread() -> usize {
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let name = format!("iou-wrk-{thread}");
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|comm| comm.trim_end() == name).count()
}

#[test]
fn both_ends_of_a_connection_watch_for_a_peer_that_vanishes() {
    let mut driver = UringDriver::new(Options::default()).unwrap();
    driver.set_peer_timeout(std::time::Duration::from_secs(7));
    let (listener, address) = driver.listen(([127, 0, 0, 1], 0).into()).unwrap();
    driver.submit(Token::new(1, 1), Op::Accept { listener });
    driver.submit(Token::new(1, 2), Op::Connect { address });
    let mut completions = Vec::new();
    while completions.len() < 2 {
        driver.wait(None, &mut completions).unwrap();
    }
    for key in driver.connections.keys() {
        let socket = &driver.connections.get(key).unwrap().socket;
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(socket).unwrap(), 7000);
        assert!(rustix::net::sockopt::socket_keepalive(socket).unwrap());
    }
    assert_eq!(driver.connections.keys().len(), 2);
}
