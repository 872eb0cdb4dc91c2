use crate::wire::{FrameError, FrameHeader, HEADER_BYTES, Message};

/// What the receiver of a message wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// The next message.
    Continue,
    /// Not now: this message, and all after it, are kept until [`FrameReader::resume`] hands them out again.
    Hold,
}

/// Cuts a stream of bytes into frames. A frame that lies whole inside a received chunk is read in place; only one that is cut
/// by a chunk's end is copied.
#[derive(Debug)]
pub struct FrameReader {
    body_bytes_max: u32,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// Bytes that came while paused. Bounded: a paused connection stops receiving.
    backlog: Vec<u8>,
    paused: bool,
}

impl FrameReader {
    /// A reader that accepts bodies up to `body_bytes_max`.
    pub fn new(body_bytes_max: u32) -> Self {
        Self { body_bytes_max, partial: Vec::new(), backlog: Vec::new(), paused: false }
    }

    /// Whether messages are held back.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Bytes of memory held for frames that are incomplete or kept back.
    pub fn memory_bytes(&self) -> usize {
        self.partial.capacity() + self.backlog.capacity()
    }

    /// Gives up memory that holds nothing.
    pub fn release_memory(&mut self) {
        for memory in [&mut self.partial, &mut self.backlog] {
            if memory.is_empty() {
                *memory = Vec::new();
            }
        }
    }

    /// Takes out all that was received and not handed out, in order, for whoever goes on reading the stream.
    pub fn take_unread(&mut self) -> Vec<u8> {
        let mut unread = std::mem::take(&mut self.partial);
        unread.append(&mut self.backlog);
        unread
    }

    /// Takes in received bytes and hands out the messages that they complete.
    ///
    /// # Errors
    /// The bytes are no frames of ours; the connection cannot be used any further.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut on_message: impl FnMut(&FrameHeader, Message<'_>) -> Flow,
    ) -> Result<(), FrameError> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.paused {
            rest = if self.partial.is_empty() {
                self.feed_in_place(rest, &mut on_message)?
            } else {
                self.feed_partial(rest, &mut on_message)?
            };
        }
        self.backlog.extend_from_slice(rest);
        Ok(())
    }

    /// Hands out again what [`Flow::Hold`] has kept.
    ///
    /// # Errors
    /// As [`FrameReader::feed`].
    pub fn resume(&mut self, on_message: impl FnMut(&FrameHeader, Message<'_>) -> Flow) -> Result<(), FrameError> {
        self.paused = false;
        let mut backlog = std::mem::take(&mut self.backlog);
        let result = self.feed(&backlog, on_message);
        if self.backlog.is_empty() {
            backlog.clear();
            self.backlog = backlog;
        }
        result
    }

    fn feed_in_place<'b>(
        &mut self,
        bytes: &'b [u8],
        on_message: &mut impl FnMut(&FrameHeader, Message<'_>) -> Flow,
    ) -> Result<&'b [u8], FrameError> {
        if bytes.len() >= HEADER_BYTES {
            let header = FrameHeader::decode(bytes, self.body_bytes_max)?;
            let end = HEADER_BYTES + header.body_bytes.get() as usize;
            if bytes.len() >= end {
                let message = Message::decode(&header, &bytes[HEADER_BYTES..end])?;
                self.paused = on_message(&header, message) == Flow::Hold;
                return Ok(if self.paused { bytes } else { &bytes[end..] });
            }
        }
        self.partial.extend_from_slice(bytes);
        Ok(&[])
    }

    fn feed_partial<'b>(
        &mut self,
        mut bytes: &'b [u8],
        on_message: &mut impl FnMut(&FrameHeader, Message<'_>) -> Flow,
    ) -> Result<&'b [u8], FrameError> {
        take_up_to(&mut self.partial, HEADER_BYTES, &mut bytes);
        if self.partial.len() < HEADER_BYTES {
            return Ok(bytes);
        }
        let header = FrameHeader::decode(&self.partial, self.body_bytes_max)?;
        let end = HEADER_BYTES + header.body_bytes.get() as usize;
        take_up_to(&mut self.partial, end, &mut bytes);
        if self.partial.len() == end {
            let message = Message::decode(&header, &self.partial[HEADER_BYTES..])?;
            self.paused = on_message(&header, message) == Flow::Hold;
            if self.paused {
                self.backlog.extend_from_slice(&self.partial);
            }
            self.partial.clear();
        }
        Ok(bytes)
    }
}

/// Moves bytes from the front of `bytes` until `partial` has `len`.
fn take_up_to(partial: &mut Vec<u8>, len: usize, bytes: &mut &[u8]) {
    let missing = len.saturating_sub(partial.len()).min(bytes.len());
    let (taken, rest) = bytes.split_at(missing);
    partial.extend_from_slice(taken);
    *bytes = rest;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LogletId;
    use crate::wire::{Batch, BatchBuilder};

    const LIMIT: u32 = 1 << 16;

    /// A stream of `count` messages, with and without bodies.
    fn stream(count: u64) -> Vec<u8> {
        let (mut out, mut body) = (Vec::new(), Vec::new());
        for request in 0..count {
            let loglet = LogletId::default();
            if request % 3 == 0 {
                Message::Seal { request, loglet }.encode(&mut out);
            } else {
                let mut builder = BatchBuilder::default();
                builder.push(&vec![request as u8; request as usize * 7]);
                body.clear();
                builder.write_to(&mut body);
                Message::Append { request, loglet, batch: Batch::new(1, &body).unwrap() }.encode(&mut out);
            }
        }
        out
    }

    fn request_of(header: &FrameHeader) -> u64 {
        header.request.get()
    }

    #[test]
    fn frames_survive_any_chunking() {
        let stream = stream(40);
        for chunk_bytes in [1, 2, 3, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, 1000, stream.len()] {
            let mut reader = FrameReader::new(LIMIT);
            let mut requests = Vec::new();
            for chunk in stream.chunks(chunk_bytes) {
                reader
                    .feed(chunk, |header, _| {
                        requests.push(request_of(header));
                        Flow::Continue
                    })
                    .unwrap();
            }
            assert_eq!(requests, (0..40).collect::<Vec<_>>(), "chunks of {chunk_bytes}");
        }
    }

    #[test]
    fn a_paused_reader_holds_everything_back_and_loses_nothing() {
        let stream = stream(20);
        for chunk_bytes in [5, 100, stream.len()] {
            let mut reader = FrameReader::new(LIMIT);
            let mut requests = Vec::new();
            let mut holding = true;
            let mut hold_each_once = |header: &FrameHeader, _: Message<'_>| {
                holding = !holding;
                if !holding {
                    return Flow::Hold;
                }
                requests.push(request_of(header));
                Flow::Continue
            };
            for chunk in stream.chunks(chunk_bytes) {
                reader.feed(chunk, &mut hold_each_once).unwrap();
            }
            while reader.is_paused() {
                reader.resume(&mut hold_each_once).unwrap();
            }
            assert_eq!(requests, (0..20).collect::<Vec<_>>(), "chunks of {chunk_bytes}");
        }
    }

    #[test]
    fn garbage_ends_the_stream_with_its_reason() {
        let mut reader = FrameReader::new(LIMIT);
        let garbage = [0x47; 200];
        let error = reader.feed(&garbage, |_, _| panic!("no message")).unwrap_err();
        assert!(matches!(error, FrameError::Magic(_)));
    }

    #[test]
    fn an_announced_body_over_the_limit_is_refused_before_it_is_held() {
        let stream = stream(20);
        let mut reader = FrameReader::new(50);
        let result = stream.chunks(64).try_for_each(|chunk| reader.feed(chunk, |_, _| Flow::Continue));
        assert!(matches!(result, Err(FrameError::TooLarge { limit: 50, .. })));
    }
}
