//! What travels between processes: frames, batches of records, messages. `docs/PROTOCOL.md` describes it byte by byte.

mod batch;
mod config;
mod header;
mod message;
mod record_cursor;
mod register;
mod residence;

pub use batch::{Batch, BatchBuilder, InvalidBatch};
pub use config::{LogletConfig, Member, Sequencer};
pub use header::{FrameError, FrameHeader, HEADER_BYTES, Opcode, PROTOCOL_VERSION};
pub use message::{Hello, Message, RejectCode, Role};
pub use record_cursor::RecordCursor;
pub use register::{Ballot, Decision, Fields, RegisterMessage, Vote};
pub use residence::Residence;
