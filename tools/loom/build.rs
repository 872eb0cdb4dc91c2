//! Writes the mutants: the sources of `src/ring`, each with one thing changed that the models must notice.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// (mutant, file, what is there, what takes its place)
const MUTANTS: &[(&str, &str, &str, &str)] = &[
    (
        "notifies_without_ordering",
        "wake_flag",
        "self.0.swap(NOTIFIED, Ordering::AcqRel)",
        "self.0.swap(NOTIFIED, Ordering::Relaxed)",
    ),
    (
        "notifies_in_two_steps",
        "wake_flag",
        "self.0.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP",
        "let asleep = self.0.load(Ordering::Acquire) == ASLEEP; self.0.store(NOTIFIED, Ordering::Release); asleep",
    ),
    (
        "sleeps_although_notified",
        "wake_flag",
        "self.0.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()",
        "self.0.swap(ASLEEP, Ordering::AcqRel) != ASLEEP",
    ),
    (
        "looks_once_before_it_waits",
        "completion",
        "let mut waiting = self.waiting.lock().expect(\"no panic while locked\");
        if let Some(value) = self.get() {
            return Poll::Ready(value);
        }",
        "let mut waiting = self.waiting.lock().expect(\"no panic while locked\");",
    ),
    (
        "wakes_before_the_value_is_there",
        "completion",
        "assert!(self.value.set(value).is_ok(), \"an operation ends once\");
        // Whoever registers after this has the lock after us, and finds the value when it looks again.
        std::mem::take(&mut *self.waiting.lock().expect(\"no panic while locked\"))",
        "let waiting = std::mem::take(&mut *self.waiting.lock().expect(\"no panic while locked\"));
        assert!(self.value.set(value).is_ok(), \"an operation ends once\");
        waiting",
    ),
    ("forgets_the_last_sleeper", "work_queue", "let wakes = state.asleep > 0;", "let wakes = state.asleep > 1;"),
    ("ends_one_worker_only", "work_queue", "self.filled.notify_all();", "self.filled.notify_one();"),
    (
        "counts_whom_it_has_woken",
        "work_queue",
        "state.asleep += 1;
            state = self.filled.wait(state).expect(\"no panic while locked\");",
        "state.asleep = 1;
            state = self.filled.wait(state).expect(\"no panic while locked\");",
    ),
    (
        "takes_in_two_steps",
        "ticket",
        "self.word.fetch_add(count, Ordering::Relaxed);",
        "self.word.load(Ordering::Relaxed); self.word.store(word + count, Ordering::Relaxed);",
    ),
    (
        "seals_in_two_steps",
        "ticket",
        "self.word.fetch_or(SEALED, Ordering::Relaxed);",
        "self.word.load(Ordering::Relaxed); self.word.store(word | SEALED, Ordering::Relaxed);",
    ),
    ("grants_what_is_sealed", "ticket", "granted.then_some(word)", "Some(word & !SEALED)"),
    (
        "fills_in_two_steps",
        "ticket",
        "let raised = self.word.compare_exchange(word, end, Ordering::Relaxed, Ordering::Relaxed);",
        "self.word.store(end, Ordering::Relaxed); let raised = Ok::<u64, u64>(word);",
    ),
    (
        "adds_what_was_missing",
        "ticket",
        "let raised = self.word.compare_exchange(word, end, Ordering::Relaxed, Ordering::Relaxed);",
        "word = self.word.fetch_add(end - word, Ordering::Relaxed); let raised = Ok::<u64, u64>(word);",
    ),
    ("fills_what_is_sealed", "ticket", "while word & SEALED == 0 {", "while word != u64::MAX {"),
    (
        "raises_in_two_steps",
        "watermark",
        "self.0.fetch_max(end, Ordering::Release);",
        "if self.0.load(Ordering::Acquire) < end { self.0.store(end, Ordering::Release); }",
    ),
    (
        "raises_without_ordering",
        "watermark",
        "self.0.fetch_max(end, Ordering::Release)",
        "self.0.fetch_max(end, Ordering::Relaxed)",
    ),
    ("reads_without_ordering", "watermark", "self.0.load(Ordering::Acquire)", "self.0.load(Ordering::Relaxed)"),
    (
        "looks_for_room_before_it_announces",
        "relay",
        "self.state.fetch_or(AWAITED, Ordering::AcqRel);
        match self.try_push(bytes) {",
        "let again = self.try_push(bytes);
        self.state.fetch_or(AWAITED, Ordering::AcqRel);
        match again {",
    ),
    (
        "looks_who_waits_before_it_makes_room",
        "relay",
        "self.bytes.fetch_sub(bytes.len(), Ordering::AcqRel);
        let awaited = self.state.fetch_and(!AWAITED, Ordering::AcqRel) & AWAITED != 0;",
        "let awaited = self.state.fetch_and(!AWAITED, Ordering::AcqRel) & AWAITED != 0;
        self.bytes.fetch_sub(bytes.len(), Ordering::AcqRel);",
    ),
    (
        "looks_for_the_close_last",
        "relay",
        "let closed = self.is_closed();
        let popped = self.pieces.pop();",
        "let popped = self.pieces.pop();
        let closed = self.is_closed();",
    ),
];

fn main() {
    let sources = Path::new("../../src/ring");
    println!("cargo::rerun-if-changed={}", sources.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (mutant, file, there, instead) in MUTANTS {
        let source = fs::read_to_string(sources.join(file).with_extension("rs")).expect("the source is there");
        assert_eq!(source.matches(there).count(), 1, "{mutant}: {file}.rs has changed; change the mutant with it");
        let code = source.split("#[cfg(test)]\nmod ").next().expect("there is code before the tests");
        // Inner documentation has no place in an included file.
        let code: String = code.lines().filter(|line| !line.starts_with("//!")).flat_map(|line| [line, "\n"]).collect();
        fs::write(out.join(mutant).with_extension("rs"), code.replace(there, instead))
            .expect("cargo's folder is writable");
    }
}
