//! The committed corpora of the fuzz targets, replayed: `fuzz/corpus/<target>/`. What a fuzzer has found once stays found.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::base::mutants::{self, Mutant};

const FILES: std::ops::RangeInclusive<usize> = 20..=200;
const FILE_BYTES_MAX: usize = 4096;
const CORPUS_BYTES_MAX: usize = 300 << 10;

/// The files of a target's corpus, in order of name.
fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs a target on each of them.
fn replay(target: &str, body: fn(&[u8])) {
    let files = corpus(target);
    let mut bytes = 0;
    for path in &files {
        let data = fs::read(path).unwrap();
        assert!(data.len() <= FILE_BYTES_MAX, "{} is larger than inputs are meant to be", path.display());
        bytes += data.len();
        assert!(catch_unwind(AssertUnwindSafe(|| body(&data))).is_ok(), "{} fails", path.display());
    }
    assert!(FILES.contains(&files.len()), "{target} has {} inputs", files.len());
    assert!(bytes <= CORPUS_BYTES_MAX, "minimise the corpus of {target}: cargo fuzz cmin");
}

#[test]
fn frames() {
    replay("frame_decoding", super::frame_decoding);
}

#[test]
fn units() {
    replay("unit_decoding", super::unit_decoding);
}

#[test]
fn journals() {
    replay("journal_recovery", super::journal_recovery);
}

#[test]
fn connections() {
    replay("connection_state_machine", super::connection_state_machine);
}

#[test]
fn a_check_that_is_left_out_fails_the_replay() {
    mutants::select(Some(Mutant::SkipUnitChecksum));
    let fails = |path: &PathBuf| {
        let data = fs::read(path).unwrap();
        catch_unwind(AssertUnwindSafe(|| super::unit_decoding(&data))).is_err()
    };
    let failing = corpus("unit_decoding").iter().filter(|path| fails(path)).count();
    mutants::select(None);
    assert!(failing > 0, "no input has a unit with a changed byte");
}
