//! What the other systems have in common here.

use std::path::Path;

use naxos::base::Offset;

use super::load::{Connection, Load};
use super::options::Shape;

/// What every row of a system says, whatever was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// What an acknowledgement means.
    pub(super) durability: &'static str,
    /// Of every record.
    pub(super) copies: usize,
    /// How its servers are set up, where that is not the default.
    pub(super) settings: &'static str,
    /// What a reader of the row has to know.
    pub(super) note: &'static str,
}

/// Takes a record that was read back, and where it was.
pub(super) type Sink<'a> = dyn FnMut(Offset, &[u8]) + 'a;

/// A system whose servers run; they end when it is dropped.
pub(super) trait Peer: Sized {
    /// Of this system.
    const ABOUT: About;

    /// A connection for load.
    type Connection: Connection + 'static;

    /// Looks for its programs.
    ///
    /// # Errors
    /// [`super::process::Missing`] says what to install.
    fn installed() -> anyhow::Result<()>;

    /// Starts its servers with their data in an empty directory, and waits until they serve.
    async fn start(directory: &Path) -> anyhow::Result<Self>;

    /// Of its servers.
    fn version(&self) -> &str;

    /// What suits it best in this shape.
    fn load(shape: Shape) -> Load;

    /// Makes an empty log.
    async fn create(&mut self, log: &str) -> anyhow::Result<()>;

    /// Connects to where appends to this log are fastest. Connections are numbered from 0.
    async fn connect(&self, log: &str, number: usize) -> anyhow::Result<Self::Connection>;

    /// Reads a whole log back.
    async fn read(&self, log: &str, sink: &mut Sink<'_>) -> anyhow::Result<()>;
}

/// The shapes in which nothing is left to choose, and `batched` for the others.
pub(super) fn load(shape: Shape, batched: Load) -> Load {
    match shape {
        Shape::Single => Load { connections: 1, inflight: 1, records_per_request: 1 },
        Shape::ManyClients => Load { connections: 64, inflight: 1, records_per_request: 1 },
        Shape::Batched | Shape::OpenLoop => batched,
    }
}
