use crate::base::Offset;

/// How the offsets of a striped loglet lie on its stripes: in turns, so that `logical = local * stripes + stripe`. The only place
/// where the two are converted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    stripes: u64,
}

impl Layout {
    /// Most stripes of one loglet.
    pub const STRIPES_MAX: usize = 64;

    /// Over so many stripes.
    ///
    /// # Panics
    /// Of none, or more than [`Layout::STRIPES_MAX`].
    pub fn new(stripes: usize) -> Self {
        assert!((1..=Self::STRIPES_MAX).contains(&stripes), "a loglet of {stripes} stripes");
        Self { stripes: stripes as u64 }
    }

    /// How many.
    pub fn stripes(self) -> usize {
        self.stripes as usize
    }

    /// The offset of a stripe's record; one that is beyond all offsets is the last of them.
    pub fn logical(self, stripe: usize, local: Offset) -> Offset {
        assert!(stripe < self.stripes(), "stripe {stripe} of {}", self.stripes);
        Offset(local.0.saturating_mul(self.stripes).saturating_add(stripe as u64))
    }

    /// Which stripe has the offset, and as which of its own.
    pub fn place(self, logical: Offset) -> (usize, Offset) {
        ((logical.0 % self.stripes) as usize, Offset(logical.0 / self.stripes))
    }

    /// How many offsets of the stripe lie below a logical one: where the stripe ends if the whole ends there, and what its tail has to be
    /// for it to be filled below (P6).
    pub fn below(self, stripe: usize, logical: Offset) -> Offset {
        assert!(stripe < self.stripes(), "stripe {stripe} of {}", self.stripes);
        if logical == Offset::MAX {
            return Offset::MAX;
        }
        Offset(logical.0.saturating_sub(stripe as u64).div_ceil(self.stripes))
    }

    /// The first offset that may still be read, for all that is known of one stripe, which has given up everything below its own
    /// `trim_point`.
    pub fn trimmed_by(self, stripe: usize, trim_point: Offset) -> Offset {
        trim_point.0.checked_sub(1).map_or(Offset::ZERO, |last| self.logical(stripe, Offset(last)) + 1)
    }

    /// The tail of the whole, when these are the tails of the stripes: everything below lies below its stripe's.
    ///
    /// # Panics
    /// Of another number of stripes.
    pub fn tail(self, tails: impl IntoIterator<Item = Offset>) -> Offset {
        let mut stripes = 0..self.stripes();
        let logical = tails.into_iter().map(|tail| self.logical(stripes.next().expect("a tail of each stripe"), tail));
        let tail = logical.min().expect("a loglet has stripes");
        assert!(stripes.is_empty(), "a tail of each stripe");
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_over_the_stripes_in_turns() {
        for stripes in 1..=5 {
            let layout = Layout::new(stripes);
            let mut ends = vec![0; stripes];
            for logical in (0..60).map(Offset) {
                let ended: Vec<u64> = (0..stripes).map(|stripe| layout.below(stripe, logical).0).collect();
                assert_eq!(ended, ends, "below {logical} of {stripes}");
                assert_eq!(layout.tail(ends.iter().map(|end| Offset(*end))), logical, "and nothing more");
                let (stripe, local) = layout.place(logical);
                assert_eq!((layout.logical(stripe, local), local.0), (logical, ends[stripe]));
                ends[stripe] += 1;
            }
        }
    }

    /// P6: the slowest stripe says where the whole ends, however far the others are.
    #[test]
    fn the_tail_is_where_the_first_stripe_lacks_something() {
        let tail = |tails: [u64; 3]| Layout::new(3).tail(tails.map(Offset)).0;
        assert_eq!([tail([0, 9, 9]), tail([9, 0, 9]), tail([9, 9, 0]), tail([4, 4, 3])], [0, 1, 2, 11]);
    }

    #[test]
    fn a_stripes_trim_point_gives_up_all_before_its_last() {
        let layout = Layout::new(3);
        assert_eq!([0, 1, 2].map(|point| layout.trimmed_by(1, Offset(point)).0), [0, 2, 5]);
    }

    #[test]
    fn what_is_beyond_all_offsets_stays_so() {
        let layout = Layout::new(4);
        assert_eq!((0..4).map(|stripe| layout.below(stripe, Offset::MAX)).collect::<Vec<_>>(), [Offset::MAX; 4]);
        assert_eq!(layout.logical(1, Offset::MAX), Offset::MAX);
        assert_eq!(layout.tail([Offset::MAX; 4]), Offset::MAX);
    }
}
