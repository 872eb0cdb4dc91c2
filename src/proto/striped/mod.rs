//! StripedLoglet: one loglet made of several, over which its offsets go in turns (RULES P6).

mod layout;

pub use layout::Layout;
