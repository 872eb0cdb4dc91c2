//! A block device in the place of the segment files of a node's journals.
//!
//! `docs/DATA_FILE.md` gives the layout byte by byte, and why a crash at any moment leaves it usable.
//!
//! - `blocks`: what the rest needs of a device, so that tests can put one into memory and tear its writes.
//! - `claim`, `system`: a real device, opened for this process alone; what the kernel says about it.
//! - `signature`: what a device carries that is not ours.
//! - `superblock`: whose device it is, and how it is divided.
//! - `formatting`: making it the device of a node, and knowing it again.
//! - `slot`, `slots`: the durable table that says which slot has which name.
//! - `part`, `volume`: the operations on files, carried out on slots.
//! - `look`: the files on a device, for people.

mod blocks;
mod claim;
mod error;
mod formatting;
#[cfg(test)]
mod journal_tests;
mod look;
mod part;
mod signature;
mod slot;
mod slots;
mod superblock;
mod system;
#[cfg(test)]
mod tests;
mod volume;

pub use claim::Device;
pub use error::{DeviceError, DeviceReason};
pub use formatting::Binding;
pub use look::{DeviceView, FileOnDevice};
pub(super) use part::Part;
pub use superblock::Superblock;
pub use volume::Volume;
