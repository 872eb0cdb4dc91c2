//! ZooKeeper's encoding: whole numbers with the largest byte first, and bytes behind their length.

use anyhow::Context;

/// Adds a number of 32 bits.
pub(super) fn int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Adds a number of 64 bits.
pub(super) fn long(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Adds bytes or a text.
pub(super) fn buffer(out: &mut Vec<u8>, value: &[u8]) {
    int(out, i32::try_from(value.len()).expect("what is sent is not that large"));
    out.extend_from_slice(value);
}

/// Adds a frame, whose length is known when `body` has written it.
pub(super) fn frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    int(out, 0);
    body(out);
    let bytes = i32::try_from(out.len() - at - 4).expect("what is sent is not that large");
    out[at..at + 4].copy_from_slice(&bytes.to_be_bytes());
}

/// The frame at the start of `input` without its length, if it is whole.
pub(super) fn framed(input: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let mut reader = Reader(input);
    if input.len() < 4 {
        return Ok(None);
    }
    let bytes = usize::try_from(reader.int()?).context("a frame of negative length")?;
    Ok(reader.0.get(..bytes))
}

/// Takes values off what has arrived.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn int(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    pub(super) fn long(&mut self) -> anyhow::Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    pub(super) fn bool(&mut self) -> anyhow::Result<bool> {
        Ok(self.take(1)?[0] != 0)
    }

    /// Bytes or a text; none where the server says that there are none.
    pub(super) fn buffer(&mut self) -> anyhow::Result<&'a [u8]> {
        let bytes = self.int()?;
        self.take(usize::try_from(bytes).unwrap_or(0))
    }

    fn take(&mut self, bytes: usize) -> anyhow::Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes).context("an answer is cut")?;
        self.0 = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_only_when_it_is_whole() {
        let mut out = Vec::new();
        frame(&mut out, |out| {
            int(out, -2);
            long(out, 1 << 40);
            buffer(out, b"path");
            out.push(1);
        });
        for cut in 0..out.len() {
            assert!(framed(&out[..cut]).unwrap().is_none());
        }
        out.extend_from_slice(b"rest");
        let mut reader = Reader(framed(&out).unwrap().unwrap());
        assert_eq!((reader.int().unwrap(), reader.long().unwrap()), (-2, 1 << 40));
        assert_eq!((reader.buffer().unwrap(), reader.bool().unwrap()), (&b"path"[..], true));
        assert!(reader.int().is_err());
    }

    #[test]
    fn no_bytes_and_negative_frames() {
        assert_eq!(Reader(&[0xff; 4]).buffer().unwrap(), b"");
        assert!(framed(&[0xff; 4]).is_err());
    }
}
