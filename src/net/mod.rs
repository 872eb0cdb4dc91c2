//! Connections: framing and reassembly, hello, coalesced sends, back-pressure, reconnecting. For server and client alike.

mod connection;
mod frames;
mod link;

pub use connection::{Closed, Connection, Traffic};
pub use frames::{Flow, FrameReader};
pub use link::{Link, LinkEvent};
