//! The contract of [`crate::proto::metastore::contract`] as a test suite: one function for each behaviour, for any [`MetaStoreUnderTest`].
//!
//! Also compiled into `tests/metastore_conformance.rs`, which runs it over real nodes and over files.

use crate::base::{RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId, Versioned};
use crate::wire::Member;

/// A MetaStore with two clients, and two registers that are as they were born.
pub(crate) trait MetaStoreUnderTest {
    /// Hands an operation to a client, 0 or 1.
    fn start(&mut self, client: usize, id: OpId, op: MetaStoreOp);

    /// Waits for the result of this operation.
    fn finish(&mut self, id: OpId) -> MetaStoreResult;

    /// The registers.
    fn registers(&self) -> [RegisterId; 2];

    /// Two memberships that a register may have; the first one is that of its birth.
    fn memberships(&self) -> [Vec<Member>; 2];

    /// The largest value.
    fn value_bytes_max(&self) -> usize;

    /// Stops everything at once and starts it again. Returns false where that cannot be done.
    fn restart(&mut self) -> bool;
}

/// A MetaStore, and the numbers of its operations.
struct Bench<'a> {
    store: &'a mut dyn MetaStoreUnderTest,
    next: u64,
}

impl Bench<'_> {
    fn start(&mut self, client: usize, op: MetaStoreOp) -> OpId {
        self.next += 1;
        self.store.start(client, OpId(self.next), op);
        OpId(self.next)
    }

    fn read(&mut self, client: usize, register: RegisterId) -> Versioned {
        let id = self.start(client, MetaStoreOp::Read { register });
        match self.store.finish(id) {
            MetaStoreResult::Value(value) => value,
            other => panic!("a read returned {other:?}"),
        }
    }

    fn write_op(&self, register: RegisterId, expected: u64, value: &[u8]) -> MetaStoreOp {
        let members = self.store.memberships()[0].clone();
        MetaStoreOp::Write { register, expected: Version(expected), value: value.to_vec(), members }
    }

    fn write(&mut self, client: usize, register: RegisterId, expected: u64, value: &[u8]) -> MetaStoreResult {
        let op = self.write_op(register, expected, value);
        let id = self.start(client, op);
        self.store.finish(id)
    }

    /// A write that succeeds.
    fn must_write(&mut self, client: usize, register: RegisterId, expected: u64, value: &[u8]) {
        let result = self.write(client, register, expected, value);
        let is_written = matches!(result, MetaStoreResult::Written { version, .. } if version.0 == expected + 1);
        assert!(is_written, "{result:?}");
    }
}

type Behaviour = (&'static str, fn(&mut Bench<'_>));

const BEHAVIOURS: &[Behaviour] = &[
    ("a new register holds its birth", a_new_register_holds_its_birth),
    ("a write is read by everybody", a_write_is_read_by_everybody),
    ("a write on an old version conflicts", a_write_on_an_old_version_conflicts),
    ("a write on a version to come conflicts", a_write_on_a_version_to_come_conflicts),
    ("of racing writes one wins", of_racing_writes_one_wins),
    ("equal values are different writes", equal_values_are_different_writes),
    ("registers do not touch each other", registers_do_not_touch_each_other),
    ("members come back and may change", members_come_back_and_may_change),
    ("values of any size up to the limit", values_of_any_size_up_to_the_limit),
    ("what was written survives a restart", what_was_written_survives_a_restart),
];

/// Runs every behaviour on a MetaStore of its own.
pub(crate) fn metastore_conformance<M: MetaStoreUnderTest>(mut make: impl FnMut() -> M) {
    for (name, behaviour) in BEHAVIOURS {
        eprintln!("{name}");
        behaviour(&mut Bench { store: &mut make(), next: 0 });
    }
}

fn a_new_register_holds_its_birth(bench: &mut Bench<'_>) {
    let [register, other] = bench.store.registers();
    let first = bench.read(0, register);
    assert_eq!((first.version, first.members), (Version::BIRTH, bench.store.memberships()[0].clone()));
    assert_eq!(bench.read(1, other).version, Version::BIRTH);
}

fn a_write_is_read_by_everybody(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    for version in 0..5 {
        let value = format!("value {version}").into_bytes();
        bench.must_write(version as usize % 2, register, version, &value);
        for client in [0, 1] {
            let read = bench.read(client, register);
            assert_eq!((read.version.0, &read.value), (version + 1, &value));
        }
    }
}

fn a_write_on_an_old_version_conflicts(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    bench.must_write(0, register, 0, b"one");
    bench.must_write(0, register, 1, b"two");
    for expected in [0, 1] {
        let MetaStoreResult::Conflict(current) = bench.write(1, register, expected, b"late") else {
            panic!("the condition does not hold");
        };
        assert!(current.version.0 > expected, "a version that came in between: {current:?}");
    }
    assert_eq!(bench.read(1, register).value, b"two");
}

fn a_write_on_a_version_to_come_conflicts(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    bench.must_write(0, register, 0, b"one");
    let MetaStoreResult::Conflict(current) = bench.write(1, register, 5, b"early") else {
        panic!("the condition does not hold");
    };
    assert_eq!((current.version, current.value), (Version(1), b"one".to_vec()));
}

fn of_racing_writes_one_wins(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    for version in 0..5 {
        let values = [format!("{version} left").into_bytes(), format!("{version} right").into_bytes()];
        let ids = [0, 1].map(|client| {
            let op = bench.write_op(register, version, &values[client]);
            bench.start(client, op)
        });
        let mut winners = Vec::new();
        for (id, value) in ids.into_iter().zip(&values) {
            match bench.store.finish(id) {
                MetaStoreResult::Written { version: written, .. } => {
                    assert_eq!(written.0, version + 1);
                    winners.push(value);
                }
                MetaStoreResult::Conflict(current) => assert!(current.version.0 > version && current.value != *value),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "of version {version}");
        assert_eq!(bench.read(0, register).value, *winners[0]);
    }
}

/// The writer of a value is known by its nonce, not by its bytes (P8).
fn equal_values_are_different_writes(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    let ids = [0, 1].map(|client| {
        let op = bench.write_op(register, 0, b"same");
        bench.start(client, op)
    });
    let results = ids.map(|id| bench.store.finish(id));
    let written = results.iter().filter(|result| matches!(result, MetaStoreResult::Written { .. })).count();
    assert_eq!(written, 1, "{results:?}");
}

fn registers_do_not_touch_each_other(bench: &mut Bench<'_>) {
    let [register, other] = bench.store.registers();
    bench.must_write(0, register, 0, b"one");
    assert_eq!(bench.read(0, other).version, Version::BIRTH);
    bench.must_write(1, other, 0, b"another");
    assert_eq!(bench.read(0, register).value, b"one");
    assert_eq!(bench.read(0, other).value, b"another");
}

fn members_come_back_and_may_change(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    let memberships = bench.store.memberships();
    for version in 0..6 {
        let members = memberships[(version as usize + 1) % 2].clone();
        let op = MetaStoreOp::Write { register, expected: Version(version), value: vec![7], members: members.clone() };
        let id = bench.start(0, op);
        let result = bench.store.finish(id);
        assert!(matches!(result, MetaStoreResult::Written { handed_over: true, .. }), "{result:?}");
        assert_eq!(bench.read(1, register).members, members);
    }
}

fn values_of_any_size_up_to_the_limit(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    let largest = bench.store.value_bytes_max();
    bench.must_write(0, register, 0, b"");
    assert_eq!(bench.read(1, register).value, b"");
    bench.must_write(0, register, 1, &vec![0xa5; largest]);
    assert_eq!(bench.read(1, register).value, vec![0xa5; largest]);
    let too_large = vec![0xa5; largest + 1];
    let expected = MetaStoreResult::TooLarge { limit: largest as u32, value: too_large.clone() };
    assert_eq!(bench.write(0, register, 2, &too_large), expected);
    assert_eq!(bench.read(1, register).version, Version(2));
}

fn what_was_written_survives_a_restart(bench: &mut Bench<'_>) {
    let [register, _] = bench.store.registers();
    bench.must_write(0, register, 0, b"one");
    if !bench.store.restart() {
        return eprintln!("  not checked: this one cannot be restarted");
    }
    assert_eq!(bench.read(1, register).value, b"one");
    bench.must_write(0, register, 1, b"two");
}
