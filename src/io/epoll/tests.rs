use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{EpollDriver, Options};
use crate::io::Driver;
use crate::io::conformance::{
    Harness, OnDevice, ReceiveBuffers, Rig, conformance_tests, device_tests, directory, pattern,
};
use crate::io::op::{Completion, Op, Outcome};

struct EpollRig {
    driver: EpollDriver,
    options: Options,
    directory: tempfile::TempDir,
    /// In the place of the directory's files.
    device: Option<OnDevice>,
}

fn rig(options: Options) -> EpollRig {
    EpollRig { driver: EpollDriver::new(options).unwrap(), options, directory: directory(), device: None }
}

/// With its files on a device, or why there is none here.
fn on_device(options: Options) -> Result<EpollRig, String> {
    let mut rig = rig(options);
    let device = OnDevice::new(rig.directory.path())?;
    rig.driver.mount(device.volume(rig.directory.path()));
    Ok(EpollRig { device: Some(device), ..rig })
}

impl Rig for EpollRig {
    type Driver = EpollDriver;

    fn driver(&mut self) -> &mut EpollDriver {
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
        self.driver = EpollDriver::new(self.options).unwrap();
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

/// Every queue and pool as small as can be, so that all of them overflow.
const SMALL: Options =
    Options { events: 1, receive_buffers: 2, receive_buffer_bytes: 1024, write_threads: 1, read_threads: 1 };

mod with_usual_sizes {
    use super::*;
    conformance_tests!(rig(Options::default()));
    conformance_tests!(real: rig(Options::default()));
}

mod on_a_device {
    use super::*;
    device_tests!(on_device(Options::default()));
}

mod with_small_sizes {
    use super::*;
    conformance_tests!(rig(SMALL));
    conformance_tests!(real: rig(SMALL));
}

#[test]
fn a_held_lock_lasts_as_long_as_the_driver() {
    let directory = directory();
    let open = || OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
    let mut driver = EpollDriver::new(Options::default()).unwrap();
    let lock = open();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    driver.hold(lock);
    flock(open(), FlockOperation::NonBlockingLockExclusive).unwrap_err();
    drop(driver);
    flock(open(), FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn a_driver_that_does_no_files_has_no_threads() {
    let mut test = Harness::new(rig(Options::default()));
    let (near, far) = test.pair();
    let receive = test.submit(Op::Receive { conn: far });
    assert!(matches!(test.run(Op::Send { conn: near, data: vec![1] }), Outcome::Sent { result: Ok(()), .. }));
    assert_eq!(test.receive_bytes(receive, 1), [1]);
    assert_eq!(test.rig.driver.threads(), 0);
    let file = test.prepared("a", 1 << 16);
    for _ in 0..20 {
        let Outcome::Written { result, .. } = test.run(Op::Write { file, offset: 0, buf: pattern(1, 4096) }) else {
            panic!()
        };
        assert_eq!(result.unwrap(), 4096);
    }
    assert_eq!(test.rig.driver.threads(), 1, "one at a time needs one thread");
}
