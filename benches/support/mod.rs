//! What the benches share.

pub(crate) mod floor;
pub(crate) mod rig;
pub(crate) mod undo;

/// Whether this is the real thing (`cargo bench`), or a test that the bench still works, on tiny input.
pub(crate) fn is_real() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The commit of the checkout, marked when the checkout differs from it.
pub(crate) fn commit() -> Option<String> {
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--match="])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let text = String::from_utf8(git.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| git.status.success() && !text.is_empty())
}
