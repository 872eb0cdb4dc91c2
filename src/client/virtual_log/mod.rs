//! A virtual log on the client: one log for ever, whatever loglets are under it.

mod append;
mod handle;
mod session;

pub(super) use append::BatchEnd;
pub use append::{LogAppend, LogAppendError};
pub use handle::{Extended, VirtualLog};
pub(super) use session::{LogSession, Opening};
