//! Control: every node watches the others, and heals the cluster's logs without being asked.
//!
//! No leader: whoever acts does so by a conditional write, which one of them wins. [`Detector`] says who is missed, [`plan`] what is to
//! be done about it, [`Pacing`] who does it and when; all three are pure. [`Control`] gives them eyes and hands.

mod detector;
mod executor;
mod loads;
mod measuring;
mod pacing;
mod planner;
mod scaling;
mod shaping;
mod sight;
#[cfg(test)]
mod storms;

pub use detector::Detector;
pub use executor::{Control, ControlConfig, Told};
pub use loads::{Load, Loads, NodeLoad, ShardLoad};
pub use pacing::Pacing;
pub use planner::{Action, Aim, Change, Condition, Patience, View, lost, plan};
pub use scaling::{InvalidScaling, Scaling};
