//! The committed corpora of the fuzz targets, replayed: `fuzz/corpus/<target>/`. What a fuzzer has found once stays found.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::base::mutants::{self, Mutant};

const FILES: std::ops::RangeInclusive<usize> = 20..=200;
const FILE_BYTES_MAX: usize = 4096;
const CORPUS_BYTES_MAX: usize = 300 << 10;

/// The inputs of a target, in order of name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

fn passes(body: fn(&[u8]), data: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| body(data))).is_ok()
}

fn replay(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(FILES.contains(&corpus.len()), "{target} has {} inputs", corpus.len());
    let bytes: usize = corpus.iter().map(|(_, data)| data.len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "minimise the corpus of {target}: cargo fuzz cmin");
    for (path, data) in &corpus {
        assert!(data.len() <= FILE_BYTES_MAX, "{} is larger than inputs are meant to be", path.display());
        assert!(passes(body, data), "{} fails", path.display());
    }
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
fn the_replay_notices_a_decoder_that_skips_checksums() {
    mutants::select(Some(Mutant::SkipUnitChecksum));
    let noticed = corpus("unit_decoding").iter().filter(|(_, data)| !passes(super::unit_decoding, data)).count();
    mutants::select(None);
    assert!(noticed > 0);
}
