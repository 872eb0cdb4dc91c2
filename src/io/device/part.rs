use std::io;

/// The part of a device that is one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io) struct Part {
    /// Where on the device it begins.
    pub(in crate::io) offset: u64,
    /// Its size.
    pub(in crate::io) bytes: u64,
}

impl Part {
    /// Where on the device to read, and how much: less than asked for at the end, as of a file.
    pub(in crate::io) fn read(self, offset: u64, bytes: usize) -> (u64, usize) {
        let rest = self.bytes.saturating_sub(offset);
        (self.offset + offset.min(self.bytes), usize::try_from(rest).unwrap_or(usize::MAX).min(bytes))
    }

    /// Where on the device to write. A file would grow; what is behind this part is another's.
    ///
    /// # Errors
    /// The write goes beyond the end.
    pub(in crate::io) fn write(self, offset: u64, bytes: usize) -> io::Result<u64> {
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= self.bytes => Ok(self.offset + offset),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Part;

    #[test]
    fn nothing_reaches_beyond_a_part() {
        let part = Part { offset: 1 << 20, bytes: 8192 };
        assert_eq!(part.read(4096, 4096), ((1 << 20) + 4096, 4096));
        assert_eq!(part.read(4096, 8192), ((1 << 20) + 4096, 4096));
        assert_eq!(part.read(8192, 4096).1, 0);
        assert_eq!(part.read(u64::MAX, 4096).1, 0);
        assert_eq!(part.write(4096, 4096).unwrap(), (1 << 20) + 4096);
        for (offset, bytes) in [(4096, 8192), (8192, 512), (u64::MAX, 4096)] {
            part.write(offset, bytes).unwrap_err();
        }
    }
}
