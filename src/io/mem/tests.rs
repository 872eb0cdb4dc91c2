use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{Config, DiskFault, MemDriver, Trace, World};
use crate::base::{Buf, Instant};
use crate::io::Driver;
use crate::io::conformance::{Harness, ReceiveBuffers, Rig, conformance_tests, pattern};
use crate::io::op::{Completion, ConnId, Op, Outcome, Token};

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

struct MemRig {
    world: World,
    driver: MemDriver,
    directory: PathBuf,
}

fn rig(seed: u64) -> MemRig {
    let world = World::new(seed, Config::default());
    let driver = world.node(Ipv4Addr::LOCALHOST.into());
    MemRig { world, driver, directory: PathBuf::from("/data") }
}

impl Rig for MemRig {
    type Driver = MemDriver;

    fn driver(&mut self) -> &mut MemDriver {
        &mut self.driver
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) {
        self.driver.wait(None, completions).unwrap();
        if completions.is_empty() {
            self.world.step().expect("something will happen");
            self.driver.wait(None, completions).unwrap();
        }
    }

    fn advance_to(&mut self, deadline: Instant) {
        self.world.step_until(deadline);
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn restart(&mut self) {
        self.driver = self.world.node(Ipv4Addr::LOCALHOST.into());
    }

    fn another(&self) -> Self {
        rig(1)
    }

    fn receive_buffers(&self) -> Option<ReceiveBuffers> {
        None
    }
}

mod conforms {
    use super::*;
    conformance_tests!(rig(1));
}

/// Runs the world until `driver` has a completion.
fn next(world: &World, driver: &mut MemDriver) -> Outcome {
    let mut completions = Vec::new();
    while completions.is_empty() {
        world.step().expect("something will happen");
        driver.wait(None, &mut completions).unwrap();
    }
    assert_eq!(completions.len(), 1);
    completions.pop().unwrap().outcome
}

fn token(value: u64) -> Token {
    Token::new(1, value)
}

fn prepare(world: &World, driver: &mut MemDriver, bytes: u64) -> Outcome {
    driver.submit(token(1), Op::Prepare { path: "/data/a".into(), bytes });
    next(world, driver)
}

fn connect(world: &World, a: &mut MemDriver, b: &mut MemDriver) -> (ConnId, ConnId) {
    let (listener, address) = b.listen(SocketAddr::new(B, 0)).unwrap();
    b.submit(token(2), Op::Accept { listener });
    a.submit(token(3), Op::Connect { address });
    let Outcome::Accepted { conn: far, .. } = next(world, b) else { panic!() };
    let Outcome::Connected { conn: near } = next(world, a) else { panic!() };
    (near, far)
}

#[test]
fn a_crash_leaves_any_sectors_of_writes_in_flight_and_all_of_completed_ones() {
    let (mut none, mut all, mut some) = (0, 0, 0);
    for seed in 0..100 {
        let world = World::new(seed, Config::default());
        let mut driver = world.node(A);
        let Outcome::Opened { file, .. } = prepare(&world, &mut driver, 16384) else { panic!() };
        driver.submit(token(2), Op::Write { file, offset: 0, buf: pattern(1, 4096) });
        assert!(matches!(next(&world, &mut driver), Outcome::Written { result: Ok(4096), .. }));
        driver.submit(token(3), Op::Write { file, offset: 4096, buf: pattern(2, 4096) });
        world.crash(A);
        driver.wait(None, &mut Vec::new()).unwrap_err();

        let mut driver = world.restart(A);
        driver.submit(token(1), Op::Open { path: "/data/a".into() });
        let Outcome::Opened { file, bytes: 16384 } = next(&world, &mut driver) else { panic!() };
        driver.submit(token(2), Op::Read { file, offset: 0, buf: Buf::zeroed(8192) });
        let Outcome::Read { buf, .. } = next(&world, &mut driver) else { panic!() };
        assert_eq!(buf[..4096], pattern(1, 4096)[..]);
        let expected = pattern(2, 4096);
        let sectors = buf[4096..].chunks(512).zip(expected.chunks(512));
        let landed = sectors.filter(|(found, written)| found == written).count();
        match landed {
            0 => none += 1,
            8 => all += 1,
            _ => some += 1,
        }
    }
    assert!(none > 0 && all > 0 && some > 0, "{none} {all} {some}");
}

#[test]
fn faults_hit_the_next_operation_of_their_kind_once() {
    let world = World::new(1, Config::default());
    let mut driver = world.node(A);
    world.set_free_bytes(A, Some(8192));
    let Outcome::Failed(error) = prepare(&world, &mut driver, 16384) else { panic!() };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let Outcome::Opened { file, .. } = prepare(&world, &mut driver, 8192) else { panic!() };
    for fault in [DiskFault::ReadFails, DiskFault::WriteFails, DiskFault::WriteShort] {
        world.inject(A, fault);
    }
    let mut results = Vec::new();
    for _ in 0..3 {
        driver.submit(token(2), Op::Write { file, offset: 0, buf: pattern(1, 4096) });
        let Outcome::Written { result, .. } = next(&world, &mut driver) else { panic!() };
        results.push(result.ok());
    }
    assert_eq!(results[0], None);
    assert!(results[1].unwrap() < 4096);
    assert_eq!(results[2], Some(4096));
    assert!(world.flip_bit(A, Path::new("/data/a"), 100, 3));
    for expected in [false, true] {
        driver.submit(token(3), Op::Read { file, offset: 0, buf: Buf::zeroed(4096) });
        let Outcome::Read { buf, result } = next(&world, &mut driver) else { panic!() };
        assert_eq!(result.is_ok(), expected);
        assert!(!expected || buf[100] == pattern(1, 4096)[100] ^ 8);
    }
}

#[test]
fn a_crash_ends_or_resets_the_connections_of_the_peers() {
    let (mut ended, mut reset) = (0, 0);
    for seed in 0..40 {
        let world = World::new(seed, Config::default());
        let (mut a, mut b) = (world.node(A), world.node(B));
        let (near, _) = connect(&world, &mut a, &mut b);
        a.submit(token(4), Op::Receive { conn: near });
        world.crash(B);
        match next(&world, &mut a) {
            Outcome::Received { chunk, .. } => {
                assert!(chunk.is_end());
                ended += 1;
            }
            Outcome::Failed(_) => reset += 1,
            outcome => panic!("unexpected {outcome:?}"),
        }
        a.submit(token(5), Op::Connect { address: SocketAddr::new(B, 40_000) });
        assert!(matches!(next(&world, &mut a), Outcome::Failed(_)));
    }
    assert!(ended > 0 && reset > 0);
}

#[test]
fn a_partition_delays_bytes_until_it_heals_and_keeps_their_order() {
    let world = World::new(1, Config::default());
    let (mut a, mut b) = (world.node(A), world.node(B));
    let (near, far) = connect(&world, &mut a, &mut b);
    b.submit(token(4), Op::Receive { conn: far });
    let data = pattern(1, 50_000).to_vec();
    a.submit(token(5), Op::Send { conn: near, data: data.clone() });
    world.partition(A, B);
    assert!(matches!(next(&world, &mut a), Outcome::Sent { result: Ok(()), .. }));
    assert_eq!(world.step(), None);
    a.submit(token(6), Op::Send { conn: near, data: data.clone() });
    world.heal(A, B);
    let mut received = Vec::new();
    while received.len() < 2 * data.len() {
        if world.step() != Some(b.id()) {
            a.wait(None, &mut Vec::new()).unwrap();
            continue;
        }
        let mut completions = Vec::new();
        b.wait(None, &mut completions).unwrap();
        for completion in completions {
            let Outcome::Received { chunk, .. } = completion.outcome else { panic!() };
            received.extend_from_slice(b.chunk(&chunk));
            b.release(chunk);
        }
    }
    assert!(received == [&data[..], &data[..]].concat());
}

#[test]
fn a_wake_up_makes_its_driver_the_next_to_run() {
    let world = World::new(1, Config::default());
    let (_a, b) = (world.node(A), world.node(B));
    assert_eq!(world.step(), None);
    b.waker().wake();
    assert_eq!(world.step(), Some(b.id()));
    assert_eq!(world.step(), None);
}

#[test]
fn deadlines_run_in_order_and_move_time() {
    let world = World::new(1, Config::default());
    let (mut a, mut b) = (world.node(A), world.node(B));
    a.wait(Some(Instant::from_nanos(2000)), &mut Vec::new()).unwrap();
    b.wait(Some(Instant::from_nanos(1000)), &mut Vec::new()).unwrap();
    assert_eq!(world.step_until(Instant::from_nanos(500)), None);
    assert_eq!(world.now(), Instant::from_nanos(500));
    assert_eq!((world.step(), world.now()), (Some(b.id()), Instant::from_nanos(1000)));
    assert_eq!((world.step(), world.now()), (Some(a.id()), Instant::from_nanos(2000)));
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_seed_others() {
    let run = |seed| -> Trace {
        let mut test = Harness::new(rig(seed));
        let file = test.prepared("a", 1 << 16);
        let (near, far) = test.pair();
        let receive = test.submit(Op::Receive { conn: far });
        test.submit(Op::Send { conn: near, data: vec![5; 300_000] });
        for index in 0..16_u64 {
            test.submit(Op::Write { file, offset: index * 4096, buf: pattern(index as u8, 4096) });
        }
        test.receive_bytes(receive, 300_000);
        test.rig.world.crash(Ipv4Addr::LOCALHOST.into());
        test.rig.world.trace()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
