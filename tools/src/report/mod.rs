//! A sweep as one page that needs nothing else: plots, tables, and what speaks against them.

mod page;
mod peers;
mod plot;
mod plots;
mod scale;
mod stages;

pub(crate) use page::write;
