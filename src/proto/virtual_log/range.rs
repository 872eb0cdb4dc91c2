use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::root::{RootRefusal, Stripes};

/// Over how many stripes the loglets of a log may go. Within a range control chooses, by the load of their sequencers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeRange {
    /// Over the fewest.
    pub least: Stripes,
    /// And at the most: `least.count <= most`.
    pub most: usize,
}

impl From<Stripes> for StripeRange {
    fn from(stripes: Stripes) -> Self {
        Self { least: stripes, most: stripes.count }
    }
}

impl StripeRange {
    /// Whether nobody has anything to choose.
    pub fn is_fixed(self) -> bool {
        self.most == self.least.count
    }

    /// The numbers of stripes.
    pub fn counts(self) -> RangeInclusive<usize> {
        self.least.count..=self.most
    }

    /// So many stripes, or the nearest number that there may be.
    pub fn stripes(self, count: usize) -> Stripes {
        Stripes { count: count.clamp(self.least.count, self.most), ..self.least }
    }

    /// Says whether a log may have such a range.
    ///
    /// # Errors
    /// It has no number in it, or one that no loglet can have.
    pub fn check(self) -> Result<(), RootRefusal> {
        let Self { least: Stripes { count: least, .. }, most } = self;
        match [least, most].into_iter().find(|count| !(1..=Stripes::MAX).contains(count)) {
            Some(count) => Err(RootRefusal::StripeCount(count)),
            None if least > most => Err(RootRefusal::StripeRange { least, most }),
            None => Ok(()),
        }
    }
}

/// As it is asked for: `4`, or `2..8`.
impl fmt::Display for StripeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_fixed() {
            true => write!(f, "{}", self.most),
            false => write!(f, "{}..{}", self.least.count, self.most),
        }
    }
}
