//! Input and output: one vocabulary of operations, one trait, one folder for each implementation.

mod driver;
pub mod op;

pub use driver::Driver;
