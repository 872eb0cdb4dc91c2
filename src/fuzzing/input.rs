//! Choices, drawn from the bytes that a fuzzer mutates.

/// When the bytes are used up, every choice is the first one.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Up to `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `bound`, which is at most 65,536.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let drawn = if bound <= 256 { usize::from(self.byte()) } else { usize::from(self.short()) };
        drawn % bound.max(1)
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Mostly a small number, at times any.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            255 => {
                let mut word = [0; 8];
                let taken = self.take(8);
                word[..taken.len()].copy_from_slice(taken);
                u64::from_le_bytes(word)
            }
            small => u64::from(small % 32),
        }
    }
}
