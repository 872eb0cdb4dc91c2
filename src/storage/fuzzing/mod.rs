//! Fuzz targets of the journal: bytes on disk, and what starts make of them.

mod damage;
mod history;
mod journal;
mod units;

pub use journal::journal_recovery;
pub use units::unit_decoding;
