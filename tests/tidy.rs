//! The architecture, held by a test: which layer may import which, and the habits that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and what it may import. `io::op` stands for the vocabulary alone.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("proto", &["base", "wire"]),
    ("ring", &["base"]),
    // The wake flag is an atomic, and atomics live in ring.
    ("io", &["base", "ring"]),
    ("storage", &["base", "wire", "io::op"]),
    ("net", &["base", "wire", "io::op"]),
    ("server", &["base", "wire", "proto", "ring", "io", "storage", "net"]),
    ("client", &["base", "wire", "proto", "ring", "io", "net"]),
    ("control", &["base", "wire", "client", "io"]),
    ("metrics", &[]),
    ("history", &["base"]),
    ("sim", &["base", "wire", "proto", "io", "storage", "net", "server", "client", "history"]),
    // A data directory is born with the anchors of its journals.
    ("node", &["base", "wire", "io", "storage", "server", "client", "control", "net", "metrics"]),
    ("inspect", &["base", "wire", "proto", "storage", "node"]),
    ("loadgen", &["base", "wire", "client", "io::op", "node", "history"]),
    ("fuzzing", &["base", "wire", "io", "storage", "net", "server"]),
    ("cli", &["base", "wire", "io", "client", "node", "inspect", "loadgen", "history", "sim"]),
];

const LINES_MAX: usize = 800;
const MOD_LINES_MAX: usize = 60;

fn source_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The part of a file that is not its unit tests, without comments.
fn production_code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::…` path in the code, as far as two segments.
fn imports(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .map(|(at, _)| {
            let path: String = code[at + "crate::".len()..]
                .chars()
                .take_while(|&c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                .collect();
            path.split("::").filter(|segment| !segment.is_empty()).take(2).collect::<Vec<_>>().join("::")
        })
        .collect()
}

fn is_test_file(path: &Path) -> bool {
    let path = path.strip_prefix(src()).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy();
    let test_folders = ["testing", "tests", "conformance", "fuzzing"];
    let in_test_folder = path.components().any(|part| test_folders.iter().any(|folder| part.as_os_str() == *folder));
    name.contains("test") || name == "conformance" || in_test_folder
}

#[test]
fn imports_run_downwards_only() {
    let mut breaches = Vec::new();
    for (layer, allowed) in LAYERS {
        let directory = src().join(layer);
        assert!(directory.is_dir(), "layer {layer} has moved: update this table and docs/ARCHITECTURE.md");
        for path in source_files(&directory).iter().filter(|path| !is_test_file(path)) {
            for import in imports(&production_code(path)) {
                let top = import.split("::").next().unwrap();
                let fits = top == *layer
                    || allowed
                        .iter()
                        .any(|rule| *rule == top || import == *rule || import.starts_with(&format!("{rule}::")));
                if !fits {
                    breaches.push(format!("{}: {layer} may not import {import}", path.display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_folder_is_a_layer() {
    for entry in fs::read_dir(src()).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(LAYERS.iter().any(|(layer, _)| *layer == name), "src/{name} is in no row of the table");
        }
    }
}

#[test]
fn atomics_live_in_ring_only() {
    for path in source_files(&src()) {
        let in_ring = path.starts_with(src().join("ring"));
        let code = production_code(&path);
        assert!(in_ring || is_test_file(&path) || !code.contains("sync::atomic"), "{} uses atomics", path.display());
    }
}

/// They panic where nobody reads any more, and where a file system is full: what is written goes by `output`.
#[test]
fn the_program_prints_with_nothing_that_panics() {
    for path in source_files(&src().join("cli")) {
        let code = production_code(&path);
        for print in ["println!", "print!", "dbg!"] {
            assert!(!code.contains(print), "{} uses {print}", path.display());
        }
        let is_output = path.file_name().is_some_and(|name| name == "output.rs");
        assert!(is_output || !code.contains("stderr().lock()"), "{} writes by itself", path.display());
    }
}

#[test]
fn files_are_about_one_thing() {
    for path in source_files(&src()) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines and wants a split", path.display());
        if path.file_name().is_some_and(|name| name == "mod.rs") && !is_test_file(&path) {
            assert!(lines <= MOD_LINES_MAX, "{} has {lines} lines: a mod.rs is a table of contents", path.display());
        }
    }
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    for path in source_files(&src()) {
        let code = fs::read_to_string(&path).unwrap();
        for mark in ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "allow(dead_code)"] {
            assert!(!code.contains(mark), "{} contains {mark}", path.display());
        }
    }
}
