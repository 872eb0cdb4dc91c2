//! Being asked to end: Ctrl-C, SIGTERM, a closed terminal, or a parent that has gone.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit;

/// Remembers that the program was asked to end. A second signal ends it on the spot, without cleaning up: children notice
/// and follow, files stay.
pub(super) struct Interrupt {
    requests: Receiver<()>,
    sender: Sender<()>,
    requested: Cell<bool>,
}

impl Interrupt {
    /// Takes over the signals of the process.
    pub(super) fn install() -> io::Result<Self> {
        let (sender, requests) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let to_main = sender.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut signals = signals.forever();
            signals.next();
            let _ = to_main.send(());
            signals.next();
            std::process::exit(exit::INTERRUPTED.into());
        })?;
        Ok(Self { requests, sender, requested: Cell::new(false) })
    }

    /// For another source of requests.
    pub(super) fn sender(&self) -> Sender<()> {
        self.sender.clone()
    }

    /// Whether the program was asked to end.
    pub(super) fn requested(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for a request at most so long; says whether there was one, now or before.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        if !self.requested.get() {
            // The sender kept in here means that the channel never closes.
            self.requested.set(self.requests.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout));
        }
        self.requested.get()
    }

    /// An error once the program was asked to end.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.requested() { Err(exit::interrupted()) } else { Ok(()) }
    }
}
