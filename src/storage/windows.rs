//! Stretches of segments as they were read from the disk: a few, in memory, so that a reader who comes back for the next
//! records finds the rest of what was read for the last ones, and the next stretch on its way.

use std::io;

use super::format::{SegmentIdentity, SegmentNumber};
use super::index::{Extent, Index};
use crate::base::{Buf, LogletId, Offset};

/// What one read of the disk fetches at most, a larger unit excepted: at this size a read costs the disk little more than its
/// bytes.
pub(super) const WINDOW_BYTES: u64 = 512 << 10;
/// Bytes of other loglets between two extents that are read over rather than around.
const GAP_BYTES: u64 = 64 << 10;
/// Windows in memory; with their size the bound of what readers from the disk hold.
pub(super) const WINDOWS_MAX: usize = 16;

/// Part of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) segment: SegmentIdentity,
    pub(super) base: u64,
    end: u64,
    /// The offset after the last one in it of the loglet that it was read for.
    pub(super) until: Offset,
}

impl Span {
    /// Around `extent` and those of the same loglet behind it, as far as one read goes.
    pub(super) fn around(
        extent: Extent,
        segment: SegmentIdentity,
        loglet: LogletId,
        index: &Index,
        block: u64,
    ) -> Self {
        let base = extent.position / block * block;
        let (mut last, mut end) = (extent, extent.data_end());
        while let Ok(next) = index.find(loglet, last.end)
            && next.segment == extent.segment
            && next.position >= last.position
            && next.position <= end.saturating_add(GAP_BYTES)
            && next.data_end().saturating_sub(base) <= WINDOW_BYTES
        {
            end = end.max(next.data_end());
            last = next;
        }
        // Positions may come from a disk, whatever they say.
        let end = end.checked_next_multiple_of(block).unwrap_or(u64::MAX);
        Self { segment, base, end, until: last.end }
    }

    fn covers(&self, extent: &Extent, segment: SegmentIdentity) -> bool {
        self.segment == segment && self.base <= extent.position && extent.data_end() <= self.end
    }
}

/// One of them.
pub(super) struct Window<W> {
    pub(super) span: Span,
    state: State<W>,
    /// When it was last of use, by [`Windows::clock`].
    used: u64,
    /// Whether a reader has had anything of it.
    read: bool,
}

enum State<W> {
    /// To be read.
    Wanted { waiting: Vec<W> },
    /// Being read.
    InFlight { token: u64, waiting: Vec<W> },
    /// Its first `len` bytes are in memory.
    Ready { buf: Buf, len: usize },
}

/// What there is of an extent.
pub(super) enum Found<'a> {
    /// Its bytes.
    Bytes(&'a [u8], Span),
    /// It is on its way.
    Pending,
    /// Nothing.
    Nothing,
}

/// All of them. `W` is who waits for one.
pub(super) struct Windows<W> {
    windows: Vec<Window<W>>,
    clock: u64,
    next_token: u64,
    spare: Vec<Buf>,
}

impl<W> Default for Windows<W> {
    fn default() -> Self {
        Self { windows: Vec::new(), clock: 0, next_token: 0, spare: Vec::new() }
    }
}

impl<W> Windows<W> {
    /// Whether anything is to be read, or being read.
    pub(super) fn is_idle(&self) -> bool {
        self.windows.iter().all(|window| matches!(window.state, State::Ready { .. }))
    }

    /// The newest window with all of this extent.
    pub(super) fn find(&mut self, extent: &Extent, segment: SegmentIdentity) -> Found<'_> {
        self.clock += 1;
        let Some(window) = self.windows.iter_mut().rev().find(|window| window.span.covers(extent, segment)) else {
            return Found::Nothing;
        };
        window.used = self.clock;
        match &window.state {
            State::Ready { buf, len } => {
                window.read = true;
                Found::Bytes(&buf[..*len], window.span)
            }
            State::Wanted { .. } | State::InFlight { .. } => Found::Pending,
        }
    }

    /// Lets `who` wait for the window that is on its way with this extent.
    pub(super) fn wait(&mut self, extent: &Extent, segment: SegmentIdentity, who: W) {
        let window = self.windows.iter_mut().rev().find(|window| window.span.covers(extent, segment));
        match window.map(|window| &mut window.state) {
            Some(State::Wanted { waiting } | State::InFlight { waiting, .. }) => waiting.push(who),
            Some(State::Ready { .. }) | None => unreachable!("found pending just now"),
        }
    }

    /// How far the window with this extent goes, be it there or on its way; keeps it from giving way soon.
    pub(super) fn until(&mut self, extent: &Extent, segment: SegmentIdentity) -> Option<Offset> {
        self.clock += 1;
        let window = self.windows.iter_mut().rev().find(|window| window.span.covers(extent, segment))?;
        window.used = self.clock;
        Some(window.span.until)
    }

    /// Whether one more may be fetched before anybody asks for it: not where another that waits for its reader would give way.
    pub(super) fn has_room_ahead(&self) -> bool {
        self.windows.len() < WINDOWS_MAX || self.oldest_ready().is_some_and(|window| window.read)
    }

    /// The one that was not of use for the longest time.
    fn oldest_ready(&self) -> Option<&Window<W>> {
        let ready = |window: &&Window<W>| matches!(window.state, State::Ready { .. });
        self.windows.iter().filter(ready).min_by_key(|window| window.used)
    }

    /// How many the disk is working on.
    pub(super) fn in_flight(&self) -> usize {
        self.windows.iter().filter(|window| matches!(window.state, State::InFlight { .. })).count()
    }

    /// How many are on their way.
    pub(super) fn pending(&self) -> usize {
        self.windows.iter().filter(|window| !matches!(window.state, State::Ready { .. })).count()
    }

    /// Puts a stretch on the list of what is to be read, with who waits for it; the least recently used one gives way.
    pub(super) fn want(&mut self, span: Span, waiting: Vec<W>) {
        if self.windows.len() >= WINDOWS_MAX {
            let oldest = self.oldest_ready().expect("there are fewer reads and reads ahead than windows").used;
            self.remove(|window| window.used == oldest);
        }
        self.clock += 1;
        self.windows.push(Window { span, state: State::Wanted { waiting }, used: self.clock, read: false });
    }

    fn remove(&mut self, gone: impl Fn(&Window<W>) -> bool) {
        let Some(at) = self.windows.iter().position(gone) else { return };
        if let State::Ready { buf, .. } = self.windows.remove(at).state
            && self.spare.len() < WINDOWS_MAX
        {
            self.spare.push(buf);
        }
    }

    /// Forgets a window that does not hold what it should, so that the next reader asks the disk again.
    pub(super) fn forget(&mut self, span: Span) {
        self.remove(|window| window.span == span && matches!(window.state, State::Ready { .. }));
    }

    /// What is to be read next.
    pub(super) fn next_wanted(&self) -> Option<Span> {
        self.windows.iter().find(|window| matches!(window.state, State::Wanted { .. })).map(|window| window.span)
    }

    /// Begins the read of [`Windows::next_wanted`] from a file of so many bytes: its token, its place, and memory for it.
    pub(super) fn start(&mut self, file_bytes: u64) -> (u64, u64, Buf) {
        let wanted = |window: &Window<W>| matches!(window.state, State::Wanted { .. });
        let at = self.windows.iter().position(wanted).expect("something is wanted");
        let span = self.windows[at].span;
        let bytes = span.end.min(file_bytes).saturating_sub(span.base) as usize;
        let spare = self.spare.iter().position(|buf| buf.capacity() >= bytes);
        let mut buf = match spare {
            Some(spare) => self.spare.swap_remove(spare),
            None => Buf::zeroed(bytes.max(WINDOW_BYTES as usize)),
        };
        buf.set_len(bytes);
        let token = self.next_token;
        self.next_token += 1;
        let State::Wanted { waiting } = &mut self.windows[at].state else { unreachable!("chosen for its state") };
        self.windows[at].state = State::InFlight { token, waiting: std::mem::take(waiting) };
        (token, span.base, buf)
    }

    /// Gives up a read that was not begun; returns who waits for it.
    pub(super) fn abandon(&mut self, segment: SegmentNumber) -> Vec<W> {
        let gone =
            |window: &Window<W>| window.span.segment.number == segment && matches!(window.state, State::Wanted { .. });
        let mut orphans = Vec::new();
        while let Some(at) = self.windows.iter().position(gone) {
            if let State::Wanted { waiting } = self.windows.remove(at).state {
                orphans.extend(waiting);
            }
        }
        orphans
    }

    /// A read has ended; returns its place, whether it brought all that was wanted, and who waited for it.
    pub(super) fn complete(&mut self, token: u64, buf: Buf, result: io::Result<usize>) -> (Span, bool, Vec<W>) {
        let mine = |window: &&mut Window<W>| matches!(window.state, State::InFlight { token: of, .. } if of == token);
        let window = self.windows.iter_mut().find(mine).expect("a read completes once");
        let len = result.unwrap_or(0).min(buf.len());
        let is_whole = window.span.base + len as u64 >= window.span.end;
        let before = std::mem::replace(&mut window.state, State::Ready { buf, len });
        let State::InFlight { waiting, .. } = before else { unreachable!("chosen for its state") };
        (window.span, is_whole, waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(n: u64) -> Extent {
        Extent { first: Offset(n), end: Offset(n + 1), segment: SegmentNumber(1), position: n * 4096, span: 4096 }
    }

    #[test]
    fn what_is_fetched_ahead_does_not_drive_out_what_nobody_has_read_yet() {
        let segment = SegmentIdentity { number: SegmentNumber(1), ..SegmentIdentity::default() };
        let span = |n: u64| Span { segment, base: n * 4096, end: (n + 1) * 4096, until: Offset(n + 1) };
        let mut windows = Windows::<()>::default();
        for n in 0..WINDOWS_MAX as u64 {
            assert!(windows.has_room_ahead());
            windows.want(span(n), Vec::new());
            let (token, _, buf) = windows.start(u64::MAX);
            windows.complete(token, buf, Ok(4096));
        }
        assert!(!windows.has_room_ahead(), "all of them wait for their readers");
        assert!(matches!(windows.find(&extent(1), segment), Found::Bytes(..)));
        assert!(!windows.has_room_ahead(), "the least recently used one does");
        assert!(matches!(windows.find(&extent(0), segment), Found::Bytes(..)));
        (0..WINDOWS_MAX as u64)
            .rev()
            .for_each(|n| assert!(matches!(windows.find(&extent(n), segment), Found::Bytes(..))));
        assert!(windows.has_room_ahead(), "all of them have been read");
        windows.want(span(100), Vec::new());
        assert!(matches!(windows.find(&extent(15), segment), Found::Nothing), "whoever asks is served all the same");
    }
}
