//! Files.

use std::collections::BTreeMap;
use std::io;

use super::{Harness, Rig, pattern};
use crate::base::Buf;
use crate::io::op::{FileId, Op, Outcome};

const BLOCK: usize = 4096;

pub(in crate::io) fn written_bytes_are_read_back<R: Rig>(mut test: Harness<R>) {
    let file = test.prepared("a", 1 << 20);
    let mut buf = pattern(3, 3 * BLOCK);
    // The second round uses the same memory, which the driver knows by then.
    for offset in [0, 5 * BLOCK as u64] {
        let Outcome::Written { buf: back, result } = test.run(Op::Write { file, offset, buf }) else { panic!() };
        assert_eq!(result.unwrap(), 3 * BLOCK);
        let read = Op::Read { file, offset: offset + BLOCK as u64, buf: Buf::zeroed(2 * BLOCK) };
        let Outcome::Read { buf: read, result } = test.run(read) else { panic!() };
        assert_eq!(result.unwrap(), 2 * BLOCK);
        assert_eq!(read[..], back[BLOCK..]);
        buf = back;
    }
}

pub(in crate::io) fn many_writes_in_flight_all_land<R: Rig>(mut test: Harness<R>) {
    const WRITES: u64 = 400;
    let file = test.prepared("a", WRITES * BLOCK as u64);
    let mut tokens = BTreeMap::new();
    for index in 0..WRITES {
        let buf = pattern(index as u8, BLOCK);
        tokens.insert(test.submit(Op::Write { file, offset: index * BLOCK as u64, buf }), index);
    }
    while !tokens.is_empty() {
        let completion = test.next_where(|completion| tokens.contains_key(&completion.token));
        let Outcome::Written { result, .. } = completion.outcome else { panic!() };
        assert_eq!(result.unwrap(), BLOCK);
        tokens.remove(&completion.token);
    }
    let read = Op::Read { file, offset: 0, buf: Buf::zeroed(WRITES as usize * BLOCK) };
    let Outcome::Read { buf, result } = test.run(read) else { panic!() };
    assert_eq!(result.unwrap(), buf.len());
    for (index, block) in buf.chunks(BLOCK).enumerate() {
        assert_eq!(block, &pattern(index as u8, BLOCK)[..], "block {index}");
    }
}

pub(in crate::io) fn a_read_across_the_end_is_short<R: Rig>(mut test: Harness<R>) {
    let file = test.prepared("a", 2 * BLOCK as u64);
    for (offset, expected) in [(BLOCK, BLOCK), (2 * BLOCK, 0)] {
        let read = Op::Read { file, offset: offset as u64, buf: Buf::zeroed(4 * BLOCK) };
        let Outcome::Read { buf, result } = test.run(read) else { panic!() };
        assert_eq!(result.unwrap(), expected);
        assert_eq!(buf.len(), 4 * BLOCK);
    }
}

pub(in crate::io) fn files_are_listed_opened_and_removed<R: Rig>(mut test: Harness<R>) {
    assert!(test.names().is_empty());
    let second = test.prepared("b", 2 * BLOCK as u64);
    test.prepared("a", BLOCK as u64);
    assert_eq!(test.names(), [("a".to_owned(), BLOCK as u64), ("b".to_owned(), 2 * BLOCK as u64)]);

    let buf = pattern(9, BLOCK);
    let Outcome::Written { result, .. } = test.run(Op::Write { file: second, offset: 0, buf }) else { panic!() };
    result.unwrap();
    assert!(matches!(test.run(Op::CloseFile { file: second }), Outcome::Done));
    let path = test.rig.directory().join("b");
    let Outcome::Opened { file, bytes } = test.run(Op::Open { path: path.clone() }) else { panic!() };
    assert_eq!(bytes, 2 * BLOCK as u64);
    let read = Op::Read { file, offset: 0, buf: Buf::zeroed(BLOCK) };
    let Outcome::Read { buf, .. } = test.run(read) else { panic!() };
    assert_eq!(buf[..], pattern(9, BLOCK)[..]);

    assert!(matches!(test.run(Op::Remove { path }), Outcome::Done));
    assert_eq!(test.names(), [("a".to_owned(), BLOCK as u64)]);
}

pub(in crate::io) fn an_existing_name_is_not_prepared_again<R: Rig>(mut test: Harness<R>) {
    test.prepared("a", BLOCK as u64);
    let path = test.rig.directory().join("a");
    let Outcome::Failed(error) = test.run(Op::Prepare { path, bytes: 2 * BLOCK as u64 }) else { panic!() };
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(test.names(), [("a".to_owned(), BLOCK as u64)]);
}

pub(in crate::io) fn a_leftover_of_an_interrupted_preparation_is_replaced<R: Rig>(mut test: Harness<R>) {
    test.prepared("a.tmp", BLOCK as u64);
    test.prepared("a", 3 * BLOCK as u64);
    assert_eq!(test.names(), [("a".to_owned(), 3 * BLOCK as u64)]);
}

pub(in crate::io) fn a_closed_file_takes_nothing_more<R: Rig>(mut test: Harness<R>) {
    let file = test.prepared("a", BLOCK as u64);
    assert!(matches!(test.run(Op::CloseFile { file }), Outcome::Done));
    let buf = Buf::zeroed(BLOCK);
    let Outcome::Written { buf, result } = test.run(Op::Write { file, offset: 0, buf }) else { panic!() };
    assert!(result.is_err());
    let Outcome::Read { buf, result } = test.run(Op::Read { file, offset: 0, buf }) else { panic!() };
    assert!(result.is_err());
    assert_eq!(buf.len(), BLOCK);
}

pub(in crate::io) fn closing_waits_for_the_operations_in_flight<R: Rig>(mut test: Harness<R>) {
    let file = test.prepared("a", BLOCK as u64);
    let write = test.submit(Op::Write { file, offset: 0, buf: pattern(1, BLOCK) });
    assert!(matches!(test.run(Op::CloseFile { file }), Outcome::Done));
    assert!(test.has_arrived(write));
    let Outcome::Written { result, .. } = test.outcome(write) else { panic!() };
    assert_eq!(result.unwrap(), BLOCK);
}

pub(in crate::io) fn what_is_missing_is_not_opened_or_removed<R: Rig>(mut test: Harness<R>) {
    let path = test.rig.directory().join("missing");
    for op in [Op::Open { path: path.clone() }, Op::Remove { path }] {
        let Outcome::Failed(error) = test.run(op) else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

pub(in crate::io) fn memory_comes_back_with_the_completion<R: Rig>(mut test: Harness<R>) {
    let file = test.prepared("a", 4 * BLOCK as u64);
    let nowhere = FileId(u32::MAX);
    for file in [file, nowhere] {
        let mut expected = BTreeMap::new();
        for index in 0..4 {
            let offset = index * BLOCK as u64;
            let written = pattern(index as u8, BLOCK);
            let address = written.as_ptr() as usize;
            expected.insert(test.submit(Op::Write { file, offset, buf: written }), (address, Some(index)));
            let read = Buf::zeroed(BLOCK);
            let address = read.as_ptr() as usize;
            expected.insert(test.submit(Op::Read { file, offset, buf: read }), (address, None));
        }
        while !expected.is_empty() {
            let completion = test.next_where(|completion| expected.contains_key(&completion.token));
            let (address, index) = expected.remove(&completion.token).unwrap();
            let (buf, result) = match completion.outcome {
                Outcome::Written { buf, result } | Outcome::Read { buf, result } => (buf, result),
                outcome => panic!("unexpected {outcome:?}"),
            };
            assert_eq!((buf.as_ptr() as usize, buf.len()), (address, BLOCK));
            assert_eq!(result.is_err(), file == nowhere);
            if let Some(index) = index {
                assert_eq!(buf[..], pattern(index as u8, BLOCK)[..], "what was written stays as it was");
            }
        }
    }
}

pub(in crate::io) fn what_is_beside_a_device_is_in_the_directory<R: Rig>(mut test: Harness<R>) {
    test.prepared("anchor", BLOCK as u64);
    test.prepared("a", 2 * BLOCK as u64);
    let on_disk = |name: &str, test: &Harness<R>| test.rig.directory().join(name).exists();
    assert!(on_disk("anchor", &test) && !on_disk("a", &test));
    std::fs::write(test.rig.directory().join("stray"), "no file of the journal").unwrap();
    assert_eq!(test.names(), [("a".to_owned(), 2 * BLOCK as u64), ("anchor".to_owned(), BLOCK as u64)]);
    let path = test.rig.directory().join("anchor");
    assert!(matches!(test.run(Op::Open { path: path.clone() }), Outcome::Opened { .. }));
    assert!(matches!(test.run(Op::Remove { path }), Outcome::Done));
    assert!(!on_disk("anchor", &test));
    test.rig.restart();
    assert_eq!(test.names(), [("a".to_owned(), 2 * BLOCK as u64)]);
}

pub(in crate::io) fn nothing_is_written_beyond_a_slot<R: Rig>(mut test: Harness<R>) {
    let (first, second) = (test.prepared("a", 4 << 20), test.prepared("b", 4 << 20));
    let buf = pattern(1, BLOCK);
    assert!(matches!(test.run(Op::Write { file: second, offset: 0, buf }), Outcome::Written { result: Ok(_), .. }));
    for (offset, bytes) in [(4 << 20, BLOCK), ((4 << 20) - BLOCK as u64, 2 * BLOCK)] {
        let Outcome::Written { buf, result } = test.run(Op::Write { file: first, offset, buf: pattern(2, bytes) })
        else {
            panic!()
        };
        assert_eq!((result.unwrap_err().kind(), buf.len()), (io::ErrorKind::FileTooLarge, bytes));
    }
    let Outcome::Read { buf, .. } = test.run(Op::Read { file: second, offset: 0, buf: Buf::zeroed(BLOCK) }) else {
        panic!()
    };
    assert_eq!(buf[..], pattern(1, BLOCK)[..]);
}
