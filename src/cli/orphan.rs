//! No child outlives its parent, however the parent ends.
//!
//! Two guards, because each has a hole. The kernel sends SIGTERM at the parent's death (`PR_SET_PDEATHSIG`), but not when
//! the parent died before the child asked for it. Standard input is a pipe of which only the parent holds the other end, so it
//! ends with the parent in every case, but a thread must be there to see it.

use std::io::{self, Read};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::exit;

/// How long a child may take to stop in order after its parent has gone.
const GRACE: Duration = Duration::from_secs(10);

/// Sends a request to end when the parent goes, and ends the process by force if that does not help.
pub(super) fn follow_parent(ended: Sender<()>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let mut ignored = [0; 64];
        let mut stdin = io::stdin().lock();
        while stdin.read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        let _ = ended.send(());
        thread::sleep(GRACE);
        std::process::exit(exit::FAILURE.into());
    })?;
    Ok(())
}
